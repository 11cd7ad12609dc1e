"""How the admin verbs show machines and events in a terminal: tables that fit, colours only where there are any.

Whatever a machine said of itself is shown without control characters: a terminal would obey them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bootstrapper.errors import UserError

Json = Mapping[str, Any]

STYLES = {
    "joined": "bold green",
    "installed": "green",
    "installing": "bold cyan",
    "booting": "cyan",
    "armed": "yellow",
    "held": "bold red",
    "failed": "bold red",
}
LEVELS = {"warning": "yellow", "error": "bold red"}
ROLES = 2
"The column of the roles."
UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def clean(text: object) -> str:
    """What may be printed: a client's text could move the cursor or set the window's title."""
    return "".join(char if char.isprintable() else "·" for char in str(text))


FILE_COLUMNS = 240
"Where there is no terminal whose width could be known."


def make_console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=FILE_COLUMNS)


@dataclass(frozen=True, slots=True)
class Seen:
    """The rack as it was at a moment."""

    machines: Sequence[Json]
    warnings: Sequence[Json]
    "Of the server itself."
    at: float


def show_rack(seen: Seen) -> None:
    console = make_console()
    console.print(Group(build_rack(seen.machines, seen.at, console.width), *build_warnings(seen.warnings)))


def build_warnings(warnings: Sequence[Json]) -> list[Text]:
    return [
        Text(f"server: {clean(each['text'])}" + (f" ({clean(each['hint'])})" if each["hint"] else ""), style="yellow")
        for each in warnings
    ]


def needs_attention(each: Json) -> bool:
    """Whether somebody has to do something before it goes on."""
    return bool(each["state"] == "failed" or each["held"] or each["overdue"] or each["stopped"] or lacks_files(each))


def lacks_files(each: Json) -> bool:
    """One that is to be installed; what has a system goes on without them."""
    return bool(each["missing_assets"]) and each["state"] in ("armed", "booting")


def watch(look: Callable[[], Seen], wait: Callable[[], None]) -> None:
    """The rack again and again, in place; ends with KeyboardInterrupt. Raises UserError where there is no server.

    A server that goes away later is waited for: what was seen last stays, and says that it is old.
    """
    console = make_console()
    seen = look()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            stale = ""
            try:
                seen = look()
            except UserError as error:
                stale = f"{error.message}: this is from {tell_time(seen.at)}; waiting for it"
            notes = build_warnings(seen.warnings)
            notes += [Text(clean(stale), style="bold red")] if stale else []
            room = console.height - 5 - sum(1 + len(note.plain) // console.width for note in notes)
            shown, left_out = fit(seen.machines, room) if console.is_terminal else (seen.machines, 0)
            if left_out:
                notes.insert(0, Text(f"{left_out} more: a higher window or --attention shows them", style="dim"))
            live.update(Group(build_rack(shown, seen.at, console.width, seen.machines), *notes), refresh=True)
            wait()


def fit(found: Sequence[Json], room: int) -> tuple[Sequence[Json], int]:
    """As many as have room, those that need somebody first where not all have; and how many are left out."""
    room = max(1, room)
    if len(found) <= room:
        return found, 0
    first = sorted(found, key=lambda each: (not needs_attention(each), each["state"] not in AT_WORK))
    return first[:room], len(found) - room


AT_WORK = ("booting", "installing")


def build_rack(found: Sequence[Json], now: float, width: int, counted: Sequence[Json] | None = None) -> RenderableType:
    """The table for a terminal of `width` columns: the roles and the reason give way where it is narrow.

    `counted`: the machines that the last line counts, where they are more than are shown.
    """
    rows = [
        (clean(each["host"]), clean(each["address"]) or "-", ",".join(each["roles"]), each["state"],
         tell_age(each["state_at"], now)) for each in found
    ]  # fmt: skip
    titles = ("MACHINE", "ADDRESS", "ROLES", "STATE", "SINCE")
    widths = [max(len(cell) for cell in (title, *(row[at] for row in rows))) for at, title in enumerate(titles)]
    widths[ROLES] = min(widths[ROLES], max(5, width // 6))
    room = max(10, width - sum(widths) - len(titles) * 2)
    table = Table(box=None, pad_edge=False)
    for title, least in zip(titles, widths, strict=True):
        table.add_column(title, no_wrap=True, min_width=least)
    table.add_column("WHY", no_wrap=True)
    for each, (host, address, roles, state, since) in zip(found, rows, strict=True):
        shown = Text(state, style=STYLES.get(state, ""))
        told = map(Text, (host, address, shorten(roles, widths[ROLES])))
        table.add_row(*told, shown, since, _tell_why(each, room))
    counts: dict[str, int] = {}
    counted = found if counted is None else counted
    for each in counted:
        counts[each["state"]] = counts.get(each["state"], 0) + 1
    total = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    machines = "machine" if len(counted) == 1 else "machines"
    return Group(table, Text(f"{len(counted)} {machines}: {total}" if counted else "no machines", style="dim"))


def shorten(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _tell_why(each: Json, room: int) -> RenderableType:
    progress = each.get("progress")
    if progress and progress.get("percent") is not None and not each["held"]:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(f"{clean(progress['step'])} {progress['percent']:.0f} %"),
            ProgressBar(total=100, completed=progress["percent"], width=min(24, max(4, room - 14))),
        )
        return bar
    words, style = _find_why(each)
    return Text(shorten(clean(words), room), style=style)


def _find_why(each: Json) -> tuple[str, str]:
    """The most pressing thing to know of a machine, and its style."""
    if each["held"]:
        return each["held"], ""
    if lacks_files(each):
        return f"{len(each['missing_assets'])} files are missing: {each['missing_assets'][0]}", "yellow"
    if each["stopped"] and each["state"] != "failed":
        return each["stopped"], "yellow"
    if each["overdue"]:
        return each["overdue"], "yellow"
    if each["older_plan"]:
        return f"its disk has an older plan, needs a reinstall: {', '.join(each['older_plan'])}", "yellow"
    if each.get("reason"):
        return each["reason"], ""
    last = each.get("last_event")
    return (f"{last['service']}: {last['step']}" if last else NEVER_HEARD), ""


NEVER_HEARD = "not heard from yet: switch it on, network first in its boot order"


def show_machine(found: Json, now: float) -> str:
    """One machine in full, as plain text."""
    lines = [
        f"{clean(found['host'])}  {', '.join(found['macs'])}  {clean(found['address']) or 'no address yet'}",
        f"  roles     {', '.join(found['roles']) or '-'}    {clean(found['os'])}",
        f"  state     {_tell_state(found, now)}",
        f"  installs  {found['done']} done, {found['wanted']} wanted"
        + (", wipes its disk" if found["wipe"] else "")
        + (f", install {found['openings']} of this order" if found["openings"] > 1 else ""),
        f"  orders    {', '.join(found['exits']) or '-'}",
    ]
    if found.get("certificate_until"):
        how = "" if found["renews"] else ", and none is renewed: it was forgotten"
        lines.append(f"  renews    its first certificate ends {found['certificate_until']}{how}")
    lines += [f"  older     its disk has {clean(each)}: needs a reinstall" for each in found.get("older_plan", ())]
    lines += [f"  missing   {clean(each)}" for each in found.get("missing_assets", ())]
    diagnosis = found.get("diagnosis")
    if diagnosis:
        lines += ["", f"What is wrong: {clean(diagnosis['title'])}  ({diagnosis['cause']})"]
        lines.append(f"What to do:    {clean(diagnosis['what_to_do'])}")
        lines += [f"What was seen: {clean(line)}" for line in diagnosis["evidence"]]
    for boot in found.get("boots", ())[-3:]:
        lines += ["", f"Boot of {tell_time(boot['started_at'])}" + _tell_boot(boot)]
        for step in boot["steps"]:
            detail = f": {clean(step['detail'])}" if step["detail"] else ""
            lines.append(f"  {tell_time(step['at'])[11:]}  {step['service']:<9} {clean(step['step'])}{detail}")
            lines += [f"{'':<20}  | {clean(line)}" for line in step["more"].splitlines()[-LOG_LINES:]]
    return "\n".join(lines)


def _tell_state(found: Json, now: float) -> str:
    """`installing for 3m: image 43 %`; the reason of its state, or what is next for it."""
    progress = found.get("progress")
    if progress and progress.get("percent") is not None and not found["held"]:
        words = f"{clean(progress['step'])} {progress['percent']:.0f} %"
    else:
        words = clean(found["reason"] or ("" if found["last_event"] else NEVER_HEARD))
    since = f" for {tell_age(found['state_at'], now)}" if found["state_at"] else ""
    return f"{found['state']}{since}" + (f": {words}" if words else "")


LOG_LINES = 10
"Of a failure, the last; the page shows all that were sent."


def _tell_boot(boot: Json) -> str:
    words = [clean(boot[key]) for key in ("firmware", "outcome") if boot.get(key)]
    return f"  {', '.join(words)}" if words else ""


def show_event(each: Json) -> None:
    name = each["host"] or each["mac"]
    text = f"{clean(each['step'])}: {clean(each['detail'])}" if each["detail"] else clean(each["step"])
    line = Text(f"{tell_time(each['at'])} {clean(name):<18} {clean(each['service']):<9} ")
    line.append(text, style=LEVELS.get(each["level"], ""))
    Console(highlight=False, soft_wrap=True).print(line)


def show_unknown(found: Sequence[Json], now: float) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("MAC", "VENDOR", "CALLS ITSELF", "FIRMWARE", "ADDRESS", "UUID", "SEEN", "TIMES"):
        table.add_column(title)
    for each in found:
        names = ", ".join(each[key] for key in ("host_name", "vendor_class") if each.get(key))
        cells = (each["mac"], each["vendor"], names, each["firmware"] or each["arch"], each["address"], each["uuid"])
        row = (*(clean(cell) or "-" for cell in cells), tell_age(each["last_at"], now), str(each["count"]))
        table.add_row(*map(Text, row))  # a plain str would be read as rich's own markup
    if not found:
        make_console().print("every machine that asked is in the description")
        return
    make_console().print(Group(table, *(Text(line, style=style) for line, style in _tell_next(found))))


def _tell_next(found: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Whose other card one may be, and what to do with the rest; with the style of each line."""
    cards = [each["diagnosis"] for each in found if (each.get("diagnosis") or {}).get("cause") == "other-card"]
    for each in cards:
        yield f"{'; '.join(clean(line) for line in each['evidence'])}: `bootstrapper move` if it was replaced", "yellow"
    if len(cards) < len(found):
        yield "`bootstrapper unknown MAC --add` puts one into the description", "dim"


def tell_age(at: float, now: float) -> str:
    """`3m`, `2d`; a dash when it never was."""
    if not at:
        return "-"
    seconds = max(0.0, now - at)
    for size, unit in UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "0s"


def tell_time(at: float) -> str:
    """The admin's own time zone."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
