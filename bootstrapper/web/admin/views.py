"""What the desk says of machines, made ready to be seen: one flat row per machine, a boot's steps, orders as forms.

Pure: `now` is an argument, and nothing here is HTML. Templates and the rack's live updates read the same rows.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from bootstrapper.boot.history import MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.errors import Problem

Json: TypeAlias = Mapping[str, Any]

S = MachineState
LABELS: Mapping[str, str] = {S.HELD: "on hold"}
"State -> how people call it, where that is not its name."
TONES: Mapping[str, str] = {
    S.FAILED: "bad",
    S.HELD: "warn",
    S.INSTALLING: "busy",
    S.BOOTING: "start",
    S.INSTALLED: "near",
    S.JOINED: "good",
}
"State -> the class that colours it; the others are `idle`."
ORDER_OF_STATES = (
    S.FAILED, S.HELD, S.BOOTING, S.INSTALLING, S.INSTALLED, S.JOINED, S.ARMED, S.DISCOVERED, S.UNKNOWN,
)  # fmt: skip
"As chips are shown: trouble first, then along a machine's life."
PROGRESS: Mapping[str, str] = {
    "clock": "choosing the disk",
    "disk": "getting its configuration",
    "waits": "waiting for its configuration",
    "config": "preparing the image",
    "image": "writing the image",
}
"The step that was reported last -> what the installer has been at since: all but `image` are reported when done."
ALWAYS_COUNTED = frozenset({S.FAILED, S.HELD, S.INSTALLING, S.JOINED})
LEVEL_TONES: Mapping[str, str] = {"warning": "warn", "error": "bad"}
OUTCOME_TONES: Mapping[str, str] = {
    "failed": "bad",
    "refused": "warn",
    "not finished": "warn",
    "under way": "busy",
    "installed": "near",
    "running": "good",
}
EFFECTS: Mapping[str, tuple[str, str]] = {
    "gone": ("no longer described", "bad"),
    "reinstall": ("needs a reinstall", "warn"),
    "new": ("new", "busy"),
    "live": ("at once", "good"),
    "nothing": ("unchanged", "idle"),
}
"A plan's effect -> (in words, tone), in the order in which they are shown."
MOST_ATTENTION = 6
MINUTE, HOUR, DAY = 60, 3600, 86400


def tell_label(state: str) -> str:
    return LABELS.get(state, state)


def tell_tone(state: str) -> str:
    return TONES.get(state, "idle")


def tell_ago(at: float, now: float) -> str:
    """`3 min ago`, `in 20 days`; the same words as `ago` in static/live.js."""
    seconds = int(now - at)
    text = tell_span(abs(seconds))
    if abs(seconds) < 5:
        return "just now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def tell_span(seconds: float) -> str:
    whole = int(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min"
    return f"{whole // HOUR} h" if whole < 2 * DAY else f"{whole // DAY} days"


def read_time(text: str | None) -> float:
    """ISO 8601 -> wall clock, seconds; 0 for none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def make_digest(value: object) -> str:
    """Changes when `value` does: for what is redrawn only then."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()


# -- the rack -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One machine at a glance."""

    id: str
    "For the page's own use: the MAC without colons."
    mac: str
    host: str
    state: str
    label: str
    tone: str
    at: float
    step: str
    "What is under way; empty: nothing."
    percent: int | None
    doing: str
    why: str
    address: str
    roles: str
    alarm: bool
    "Whether an admin should look at it."


def build_row(machine: Json) -> Row:
    state = machine["state"]
    progress = machine.get("progress")
    step = PROGRESS.get(progress["step"], progress["step"]) if progress else ""
    percent = progress["percent"] if progress else None
    stopped = machine.get("overdue") or find_stop(machine)
    why = tell_why(machine)
    return Row(
        id=machine["mac"].replace(":", ""),
        mac=machine["mac"],
        host=machine["host"],
        state=state,
        label=tell_label(state),
        tone="warn" if stopped and tell_tone(state) != "bad" else tell_tone(state),
        at=machine["state_at"],
        step=step,
        percent=percent,
        doing=f"{step} {percent} %" if percent is not None else step,
        why=why,
        address=machine.get("address") or "",
        roles=", ".join(machine["roles"]),
        alarm=bool(stopped) or state in (S.FAILED, S.HELD),
    )


def find_stop(machine: Json) -> str:
    """The title of the cause of one that stands still; a machine that failed or is on hold says more by its reason."""
    diagnosis = machine.get("diagnosis")
    title = diagnosis["title"] if diagnosis else machine.get("stopped") or ""
    return str(title) if machine["state"] not in (S.FAILED, S.HELD) else ""


def tell_why(machine: Json) -> str:
    """One line: what is wrong where something is, else the reason that is kept."""
    state = machine["state"]
    stopped = find_stop(machine) or machine.get("overdue")
    if stopped:
        return str(stopped)
    if machine.get("progress"):
        return ""
    missing = len(machine.get("missing_assets") or ())
    if missing and state in (S.ARMED, S.BOOTING):
        return f"{missing} file{'' if missing == 1 else 's'} it needs {'is' if missing == 1 else 'are'} missing here"
    if machine.get("older_plan") and not machine.get("held"):
        return OLDER_PLAN
    kept = machine.get("held") or machine.get("reason")
    return str(kept or ("" if machine.get("last_event") else NEVER_HEARD))


def tell_older_plan(machine: Json) -> str:
    changes = machine.get("older_plan") or ()
    return f"{', '.join(changes)}; it needs a reinstall" if changes else ""


OLDER_PLAN = "its disk has an older plan: it needs a reinstall"
NEVER_HEARD = "not heard from yet: switch it on, network first in its boot order"


@dataclass(frozen=True, slots=True)
class Filter:
    """What of the rack is shown; every part empty: all of it."""

    state: str = ""
    role: str = ""
    text: str = ""

    def keeps(self, row: Row) -> bool:
        if self.state and row.state != self.state:
            return False
        if self.role and self.role not in row.roles.split(", "):
            return False
        words = self.text.lower().split()
        told = f"{row.host} {row.mac} {row.address} {row.roles} {row.label} {row.doing} {row.why}".lower()
        return all(word in told for word in words)


@dataclass(frozen=True, slots=True)
class Count:
    state: str
    label: str
    tone: str
    count: int


def count_states(rows: Iterable[Row]) -> list[Count]:
    """How many machines are in which state; the usual ones also where there is none."""
    found = Counter(row.state for row in rows)
    return [
        Count(state.value, tell_label(state), tell_tone(state), found[state.value])
        for state in ORDER_OF_STATES
        if found[state.value] or state in ALWAYS_COUNTED
    ]


@dataclass(frozen=True, slots=True)
class Share:
    """One stretch of the bar above the rack, in thousandths."""

    tone: str
    x: float
    width: float


def share_out(counts: Sequence[Count]) -> list[Share]:
    total = sum(each.count for each in counts)
    shares: list[Share] = []
    x = 0.0
    for each in counts:
        if each.count:
            width = 1000 * each.count / total
            # A gap before the next, also where the colours are hard to tell apart.
            gap = 3 if x + width < 999 else 0
            shares.append(Share(each.tone, round(x, 2), round(max(width - gap, 1), 2)))
            x += width
    return shares


def tell_counts(counts: Sequence[Count]) -> str:
    return ", ".join(f"{each.count} {each.label}" for each in counts if each.count) or "no machines"


# -- one machine ---------------------------------------------------------------------------------------------------


def build_boots(machine: Json) -> list[dict[str, Any]]:
    """The boots as the page shows them, the latest first."""
    boots = [_build_boot(boot) for boot in machine.get("boots") or ()]
    return boots[::-1]


def _build_boot(boot: Json) -> dict[str, Any]:
    began, ended = boot["started_at"], boot.get("ended_at")
    steps = boot["steps"]
    last = ended or (steps[-1]["at"] if steps else began)
    services = dict.fromkeys(step["service"] for step in steps)
    return {
        "id": int(began * 1000),
        "at": began,
        "firmware": boot.get("firmware") or "",
        "phases": list(services),
        "outcome": boot.get("outcome") or "",
        "tone": OUTCOME_TONES.get(boot.get("outcome") or "", "idle"),
        "lasted": tell_span(last - began),
        "steps": [
            {**step, "after": f"+{step['at'] - began:.1f} s", "tone": LEVEL_TONES.get(step["level"], "")}
            for step in steps
        ],
    }


def find_heard(machine: Json) -> float:
    """When the machine itself was heard last; what an admin did to it is no sign of life. 0: never."""
    return max((step["at"] for boot in machine.get("boots") or () for step in boot["steps"]), default=0.0)


def tell_report(machine: Json) -> str:
    """What is wrong with it and its last boot, as text for somebody who does not see the page. Times are UTC."""
    found = machine.get("diagnosis")
    lines = [
        f"{machine['host']}  {', '.join(machine.get('macs') or [machine['mac']])}  {machine.get('address') or '-'}",
        f"{', '.join(machine['roles'])}; {machine.get('os') or '-'}; install {machine['done']} of {machine['wanted']}",
        f"{tell_label(machine['state'])} since {tell_stamp(machine['state_at'])}: {machine.get('reason') or '-'}",
    ]
    if found:
        lines += ["", f"{found['title']} ({found['cause']})", found["what_to_do"]]
        lines += [f"seen: {line}" for line in found["evidence"]]
    for boot in (machine.get("boots") or ())[-1:]:
        lines += ["", f"boot of {tell_stamp(boot['started_at'])}: {boot.get('outcome') or '-'}"]
        lines += [f"{tell_stamp(step['at'])}  {step['service']}  {step['step']}  {step['detail']}".rstrip()
                  for step in boot["steps"]]  # fmt: skip
        lines += [f"  | {line}" for step in boot["steps"] for line in (step.get("more") or "").splitlines()]
    return "\n".join(lines)


def tell_stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "-"


def list_facts(machine: Json) -> list[tuple[str, str, bool]]:
    """(label, value, whether it is in a typewriter's letters)."""
    wanted, done = machine["wanted"], machine["done"]
    generation = f"{done} of {wanted} done" + (", the next may erase other data" if machine["wipe"] else "")
    if machine.get("openings", 0) > 1:
        generation += f", install {machine['openings']} of this order"
    macs = machine.get("macs") or [machine["mac"]]
    facts = [
        ("Address", machine.get("address") or "none yet", True),
        ("MAC" if len(macs) == 1 else "MACs", ", ".join(macs), True),
        ("Roles", ", ".join(machine["roles"]), False),
        ("Profile", machine.get("profile") or "", False),
        ("System", machine.get("os") or "", False),
        ("Install generation", generation, False),
        ("Its disk has an older plan", tell_older_plan(machine), False),
    ]
    return [fact for fact in facts if fact[1]]


@dataclass(frozen=True, slots=True)
class Form:
    """An order as a form."""

    id: str
    label: str
    button: str
    meaning: str
    order: str = ""
    "What is sent as `order`; empty: `move`, which has an address of its own."
    wipe: bool = False
    danger: bool = False
    main: bool = False
    asks_reason: bool = False
    asks_mac: bool = False
    confirms: str = ""
    "What must be typed, `{host}` standing for the machine's host name; empty: nothing."


INSTALL = Form(
    "install", "Install", "Install", "It is installed when it boots over the network next.", Order.INSTALL, main=True
)
REINSTALL = Form(
    "reinstall", "Reinstall", "Reinstall",
    "At its next network boot its disk is written anew: the system and what was kept beside it are lost.",
    Order.REINSTALL, danger=True, confirms="{host}",
)  # fmt: skip
WIPE = Form(
    "wipe", "Reinstall, erasing others' data", "Erase and reinstall",
    "As reinstall, and the installer does not stop at data that is not ours on the install disk: LVM, RAID, Ceph, "
    "another system. For this one install only.",
    Order.REINSTALL, wipe=True, danger=True, confirms="erase {host}",
)  # fmt: skip
HOLD = Form(
    "hold", "Put on hold", "Put on hold", "It is not installed, whatever it asks, until it is released; "
    "a system on its disk goes on running.", Order.HOLD, asks_reason=True,
)  # fmt: skip
CANCEL = Form(
    "cancel", "Take the order back", "Take the order back", "It has not begun: the system on its disk stays.",
    Order.CANCEL, main=True,
)  # fmt: skip
RELEASE = Form("release", "Release", "Release", "It goes on where it was held.", Order.RELEASE, main=True)
APPROVE = Form("approve", "Approve", "Approve", "It becomes a worker.", Order.APPROVE, main=True)
FORGET = Form(
    "forget", "Forget", "Forget",
    "What is known of it is dropped: its node, its etcd member, its tokens and certificates. It stays in the "
    "description, on hold.", Order.FORGET, danger=True, confirms="{host}",
)  # fmt: skip
MOVE = Form(
    "move", "Move to another MAC", "Move",
    "Its card or board was replaced: its life goes on under the new MAC. Change the MAC in the description as well.",
    asks_mac=True,
)  # fmt: skip
FORMS: Mapping[str, tuple[Form, ...]] = {
    Order.INSTALL: (INSTALL,),
    Order.CANCEL: (CANCEL,),
    Order.RELEASE: (RELEASE,),
    Order.APPROVE: (APPROVE,),
    Order.HOLD: (HOLD,),
    Order.REINSTALL: (REINSTALL, WIPE),
    Order.FORGET: (FORGET,),
}
"Order -> its forms, in the order in which the page shows them."


def list_forms(exits: Sequence[str]) -> list[Form]:
    """The ways out as forms: the harmless first, the ones that lose something last."""
    found = [form for order, forms in FORMS.items() if order in exits for form in forms]
    mild = [form for form in found if not form.danger]
    return [*mild, MOVE, *(form for form in found if form.danger)]


def find_form(order: str, wipe: bool) -> Form | None:
    return next((form for form in FORMS.get(order, ()) if form.wipe == wipe), None)


def make_pattern(text: str) -> str:
    """A host name as a regular expression that matches it alone (`pattern` of an input)."""
    return text.replace(".", "[.]")


# -- a plan ----------------------------------------------------------------------------------------------------------


def count_effects(plan: Json) -> list[dict[str, Any]]:
    found = Counter(machine["effect"] for machine in plan["machines"])
    return [
        {"count": found[effect], "label": label, "tone": tone}
        for effect, (label, tone) in EFFECTS.items()
        if found[effect]
    ]


def list_planned(plan: Json) -> list[Json]:
    """The machines that something happens to, what loses most first."""
    rank = {effect: number for number, effect in enumerate(EFFECTS)}
    touched = [machine for machine in plan["machines"] if machine["effect"] != "nothing"]
    return sorted(touched, key=lambda machine: rank.get(machine["effect"], 0))


def tell_verdict(ok: bool, problems: int, advice: int) -> str:
    if not ok:
        return f"{problems} problem{'' if problems == 1 else 's'}"
    return "No problems" + (f", {advice} piece{'' if advice == 1 else 's'} of advice" if advice else "")


def show_problem(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "path": problem.path, "message": problem.message, "hint": problem.hint}


# -- the server ------------------------------------------------------------------------------------------------------


def list_server_facts(status: Json) -> list[tuple[str, str]]:
    """Whatever `status` says that is a plain value and stands nowhere else on the page."""
    left_out = {"states", "versions", "machines", "unknown", "held", "overdue", "now", "since"}
    facts = [(name.replace("_", " "), str(value)) for name, value in status.items()
             if name not in left_out and isinstance(value, str | int | float) and value != ""]  # fmt: skip
    return facts + [(name, str(value)) for name, value in (status.get("versions") or {}).items()]


def tell_hosts(hosts: Sequence[str], most: int = 6) -> str:
    more = len(hosts) - most
    return ", ".join(hosts[:most]) + (f" and {more} more" if more > 0 else "")
