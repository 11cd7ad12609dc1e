"""The verbs that look at and order the machines of a running server, by its admin API. Part of `cli`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from textwrap import indent
from typing import Any

import click
from click.shell_completion import CompletionItem

from bootstrapper.admin_client import AdminClient, Place, Unreachable, find_local, find_remote, write_path
from bootstrapper.cli_options import AS_JSON, STATE
from bootstrapper.cluster.fields import Expected, parse_mac
from bootstrapper.errors import UserError

EVERY_S = 1.0
Json = Mapping[str, Any]


def reaches_server(verb: Callable[..., None]) -> Callable[..., None]:
    """Options that say where the server is; the verb gets an AdminClient."""

    @STATE
    @click.option(
        "--server", metavar="URL", envvar="BOOTSTRAPPER_SERVER", help="A server elsewhere: https://HOST:PORT."
    )
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="BOOTSTRAPPER_TOKEN_FILE",
        help="With --server: a copy of the server's STATE/admin.token.",
    )
    @click.option(
        "--ca", type=click.Path(path_type=Path, dir_okay=False), help="With --server: the authority to trust."
    )
    @wraps(verb)
    def with_client(state: Path, server: str | None, token_file: Path | None, ca: Path | None, **more: object) -> None:
        verb(AdminClient(find_place(state, server, token_file, ca)), **more)

    return with_client


def find_place(state: Path, server: str | None, token_file: Path | None, ca: Path | None) -> Place:
    return find_local(state) if server is None else find_remote(server, _read_token(token_file), ca)


def _read_token(path: Path | None) -> str:
    if path is None:
        raise UserError("--server needs a token", "give --token-file, a copy of the server's STATE/admin.token")
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "a copy of the server's STATE/admin.token") from error


COMPLETION_S = 2.0
"A shell that waits for names longer than that is no help."


def complete_machine(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Host names that begin so, with their states; MACs where one was begun."""
    found = _ask_quietly(context, "/machines")
    names = [(each["host"], each) for each in found] + [(mac, each) for each in found for mac in each["macs"] if begun]
    return [CompletionItem(name, help=each["state"]) for name, each in names if name.startswith(begun.lower())]


def complete_stranger(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    found = _ask_quietly(context, "/unknown")
    return [CompletionItem(each["mac"], help=each["vendor"]) for each in found if each["mac"].startswith(begun.lower())]


def _ask_quietly(context: click.Context, path: str) -> list[Json]:
    """Nothing where there is no server: who presses the tab key gets names or none, never an error."""
    given = context.params
    with suppress(UserError):
        place = find_place(given["state"], given["server"], given["token_file"], given["ca"])
        return list(AdminClient(place, COMPLETION_S).get(path))
    return []


def refuse_empty(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    """In a loop over names, one that came out empty means no machine, and not all of them."""
    if given is not None and not given.strip():
        raise click.BadParameter("it is empty: is a variable of your script not set?")
    return given


MACHINE = click.argument("machine", metavar="MACHINE", shell_complete=complete_machine, callback=refuse_empty)
A_MACHINE = click.argument(
    "machine", required=False, metavar="[MACHINE]", shell_complete=complete_machine, callback=refuse_empty
)
REASON = click.option("--reason", default="", metavar="TEXT", help="Why; kept with the machine and in the audit log.")


@click.command()
@A_MACHINE
@click.option("-f", "--follow", is_flag=True, help="Go on showing, until Ctrl-C.")
@click.option(
    "-a", "--attention", is_flag=True, help="Only those that need you: failed, on hold, overdue, or without files."
)
@AS_JSON
@reaches_server
def machines(client: AdminClient, machine: str | None, follow: bool, attention: bool, as_json: bool) -> None:
    """Show the rack at a glance, or one MACHINE (a MAC or host name) with its last boots and what is wrong with it.

    \b
    Examples:  bootstrapper machines
               bootstrapper machines -f
               bootstrapper machines --attention
               bootstrapper machines node3
    """
    from bootstrapper.cli_views import Seen, needs_attention, show_machine, show_rack, watch

    if machine is not None:
        if follow or attention:
            raise click.UsageError("--follow and --attention are for the whole rack; `events MACHINE -f` follows one")
        found = client.get(write_path("machines", machine))
        click.echo(json.dumps(found, indent=2) if as_json else show_machine(found, time.time()))
        return

    def ask() -> list[Json]:
        return [each for each in client.get("/machines") if not attention or needs_attention(each)]

    def look() -> Seen:
        return Seen(ask(), client.get("/status")["warnings"], time.time())

    if as_json:
        click.echo(json.dumps(ask(), indent=2))
    elif follow:
        watch(look, lambda: time.sleep(EVERY_S))
    else:
        show_rack(look())


@click.command()
@A_MACHINE
@click.option("-f", "--follow", is_flag=True, help="Go on showing what comes, until Ctrl-C.")
@click.option(
    "-n", "--last", type=click.IntRange(1, 1000), default=50, show_default=True, help="This many of the latest."
)
@AS_JSON
@reaches_server
def events(client: AdminClient, machine: str | None, follow: bool, last: int, as_json: bool) -> None:
    """Show what happened, of all machines or of one (a MAC or host name).

    \b
    Examples:  bootstrapper events node3
               bootstrapper events -f
    """
    from bootstrapper.cli_views import show_event

    def say(each: Json) -> None:
        if as_json:
            click.echo(json.dumps(each))
        else:
            show_event(each)

    after = 0
    for each in client.get("/events", machine=machine or "", limit=last):
        after = each["id"]
        say(each)
    if follow:
        for each in _follow(client, machine or "", after):
            say(each)


def _follow(client: AdminClient, machine: str, after: int) -> Iterator[Json]:
    """Every event once, also over a restart of the server; that it is away, and is back, is said once each."""
    lost = False
    while True:
        try:
            following = client.follow("/events/stream", machine=machine, after=after)
            if lost:
                client.get("/status")  # raises while it is still away
                click.echo("bootstrapper: the server is back", err=True)
                lost = False
            # Also where it begins: a state that was restored counts from an earlier id on.
            for number, each in following:
                after = number
                if each is not None:
                    yield each
        except UserError as error:
            if not lost:
                click.echo(f"bootstrapper: {error.message}; waiting for it", err=True)
            lost = True
        time.sleep(EVERY_S)


@click.command()
@click.argument("mac", required=False, metavar="[MAC]", shell_complete=complete_stranger, callback=refuse_empty)
@click.option("--add", is_flag=True, help="Put the MAC into the description, and save it.")
@click.option("--host", default="", metavar="NAME", help="With --add: its host name. Default: the next free nodeN.")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="With --add; may be repeated. Default: worker.")
@click.option("--ip", default="", metavar="ADDR|auto", help="With --add: its fixed address; auto: a free one.")
@AS_JSON
@reaches_server
def unknown(
    client: AdminClient, mac: str | None, add: bool, host: str, roles: tuple[str, ...], ip: str, as_json: bool
) -> None:
    """List the machines that asked and are not in the description; for one MAC, its lines, or (--add) put them there.

    \b
    Examples:  bootstrapper unknown
               bootstrapper unknown 52:54:00:12:34:56
               bootstrapper unknown 52:54:00:12:34:56 --add --host node7 --role worker
    """
    from bootstrapper.cli_views import show_unknown

    if not add and (host or roles or ip):
        raise click.UsageError("--host, --role and --ip go with --add")
    if add:
        if mac is None:
            raise click.UsageError("--add needs the MAC of the machine")
        body = {"host": host, "roles": list(roles), "ip": ip, "save": True}
        tell_adopted(client.post(write_path("unknown", mac, "adopt"), body), as_json)
        return
    listed = client.get("/unknown")
    if mac is not None:
        found = find_unknown(listed, mac)
        click.echo(json.dumps(found, indent=2) if as_json else indent_lines(found["lines"]))
        return
    if as_json:
        click.echo(json.dumps(listed, indent=2))
    else:
        show_unknown(listed, time.time())


def tell_adopted(done: Json, as_json: bool) -> None:
    """What was put into the description, and whether it counts already."""
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    click.echo(indent_lines(done["lines"]))
    if done["in_force"]:
        click.echo(f"saved as revision {done['revision']}, and in force", err=True)
    else:
        why = "; ".join(done["restart"]) or "the server's log says why"
        click.echo(f"saved, and not in force yet: {why}", err=True)


def indent_lines(lines: str) -> str:
    """As they stand below `machines:` in the example's form."""
    return indent(lines.rstrip("\n"), "  ")


def find_unknown(listed: Sequence[Json], text: str) -> Json:
    """By MAC in any usual spelling. Raises UserError."""
    try:
        wanted = parse_mac(text)
    except Expected as error:
        raise UserError(f"{text!r} is not a MAC: expected {error.expectation}") from error
    for each in listed:
        if each["mac"] == wanted:
            return each
    raise UserError(f"no unknown machine {wanted} has asked", "`bootstrapper unknown` lists those that have")


# -- orders -------------------------------------------------------------------
def give(client: AdminClient, machine: str, order: str, **body: object) -> None:
    with naming(machine):
        tell_order(client.post(write_path("machines", machine, "orders"), {"order": order, **body}))
    if order in NEXT:
        click.echo(NEXT[order], err=True)


RESTART = "next: restart it; it is installed when it boots over the network"
NEXT = {
    "install": RESTART,
    "reinstall": RESTART,
    "approve": RESTART,
    "forget": "its node, etcd member and keys go as soon as the cluster answers; `events` tells each",
}
"Order -> what there is to do, or to know, after it."


@contextmanager
def naming(machine: str) -> Iterator[None]:
    """A refusal says which machine it is of: orders come from loops, too."""
    try:
        yield
    except Unreachable:
        raise
    except UserError as error:
        if machine in error.message:
            raise
        raise UserError(f"{machine}: {error.message}", error.hint) from error


def tell_order(done: Json) -> None:
    """What an order came to."""
    from bootstrapper.cli_views import clean

    for warning in done["warnings"]:
        click.echo(f"warning: {clean(warning)}", err=True)
    found = done["machine"]
    if found is None:
        click.echo(f"{done['mac']}: done; the description does not have it")
        return
    already = "" if done["changed"] else " already"
    click.echo(f"{clean(found['host'])}: {found['state']}{already}: {clean(found['reason'])}")


@click.command()
@MACHINE
@REASON
@reaches_server
def install(client: AdminClient, machine: str, reason: str) -> None:
    """Let MACHINE install at its next network boot: after a failed or stopped install. Never over an installed system.

    \b
    Example:  bootstrapper install node3
    """
    give(client, machine, "install", reason=reason)


@click.command()
@MACHINE
@click.option("--wipe", is_flag=True, help="Also over data of others on its disk (LVM, RAID, Ceph ...), this once.")
@click.option("--yes", is_flag=True, help="Do not ask for the host name.")
@REASON
@reaches_server
def reinstall(client: AdminClient, machine: str, wipe: bool, yes: bool, reason: str) -> None:
    """Install MACHINE anew at its next network boot, over the system that is on its disk.

    \b
    Examples:  bootstrapper reinstall node3
               bootstrapper reinstall node3 --wipe
    """
    found = client.get(write_path("machines", machine))
    what = "everything on its install disk, whatever it is, is lost" if wipe else "the system on its disk is lost"
    confirm(found, f"{found['host']} ({found['mac']}, {found['state']}) is installed anew: {what}.", yes)
    give(client, machine, "reinstall", wipe=wipe, reason=reason)


@click.command()
@MACHINE
@REASON
@reaches_server
def cancel(client: AdminClient, machine: str, reason: str) -> None:
    """Take an install of MACHINE back that has not begun: it keeps the system that it has. A hold stays.

    \b
    Example:  bootstrapper cancel node3
    """
    give(client, machine, "cancel", reason=reason)


@click.command()
@MACHINE
@REASON
@reaches_server
def hold(client: AdminClient, machine: str, reason: str) -> None:
    """Keep MACHINE from installing anything, until `release`: it boots its disk if it was installed, else nothing.

    \b
    Example:  bootstrapper hold node3 --reason "new memory on Monday"
    """
    give(client, machine, "hold", reason=reason)


@click.command()
@MACHINE
@REASON
@reaches_server
def release(client: AdminClient, machine: str, reason: str) -> None:
    """Take MACHINE off hold. An installed system is taken as it is, an open install goes on at the next boot.

    \b
    Example:  bootstrapper release node3
    """
    give(client, machine, "release", reason=reason)


@click.command()
@MACHINE
@click.option("--yes", is_flag=True, help="Do not ask for the host name.")
@REASON
@reaches_server
def forget(client: AdminClient, machine: str, yes: bool, reason: str) -> None:
    """Forget MACHINE: its history, address, tokens, node and etcd member; one still described is on hold then.

    \b
    Example:  bootstrapper forget node3
    """
    if not yes:
        try:
            found = client.get(write_path("machines", machine))
        except Unreachable:
            raise
        except UserError:  # not in the description any more
            found = {"host": machine}
        confirm(found, f"{found['host']} is forgotten, and its node leaves the cluster.", yes)
    give(client, machine, "forget", reason=reason)


@click.command()
@click.argument("mac", metavar="MAC", shell_complete=complete_stranger, callback=refuse_empty)
@REASON
@reaches_server
def approve(client: AdminClient, mac: str, reason: str) -> None:
    """Take an unknown machine as a worker (with `unknown_machines: worker` in the description).

    \b
    Example:  bootstrapper approve 52:54:00:12:34:56
    """
    give(client, mac, "approve", reason=reason)


@click.command()
@click.argument("old", metavar="MACHINE", shell_complete=complete_machine, callback=refuse_empty)
@click.argument("new", metavar="NEW-MAC", shell_complete=complete_stranger, callback=refuse_empty)
@reaches_server
def move(client: AdminClient, old: str, new: str) -> None:
    """Go on with MACHINE's life under NEW-MAC: its network card or board was replaced. It is not installed again.

    \b
    Example:  bootstrapper move node3 52:54:00:12:34:56
    """
    with naming(old):
        tell_order(client.post(write_path("machines", old, "move"), {"to": new}))


def confirm(found: Json, what: str, yes: bool) -> None:
    """The host name, typed: a `y` from habit destroys nothing. Raises UserError."""
    if yes:
        return
    from bootstrapper.cli_views import clean

    click.echo(clean(what), err=True)
    try:
        typed = click.prompt("Type its host name to go on", default="", show_default=False, err=True)
    except click.Abort:
        click.echo(err=True)
        raise UserError("its host name was not typed; nothing was ordered", "--yes does not ask") from None
    if typed.strip() != found["host"]:
        raise UserError("that is not its host name; nothing was ordered", "--yes does not ask")


VERBS: Sequence[click.Command] = (
    machines, events, unknown, install, reinstall, cancel, hold, release, forget, approve, move,
)  # fmt: skip
