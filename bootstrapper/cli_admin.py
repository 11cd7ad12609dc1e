"""The verbs that look at and order the machines of a running server, by its admin API. Part of `cli`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bootstrapper.admin_client import AdminClient, find_local, find_remote, write_path
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
        if server is None:
            verb(AdminClient(find_local(state)), **more)
            return
        verb(AdminClient(find_remote(server, _read_token(token_file), ca)), **more)

    return with_client


def _read_token(path: Path | None) -> str:
    if path is None:
        raise UserError("--server needs a token", "give --token-file, a copy of the server's STATE/admin.token")
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "a copy of the server's STATE/admin.token") from error


MACHINE = click.argument("machine", metavar="MACHINE")
REASON = click.option("--reason", default="", metavar="TEXT", help="Why; kept with the machine and in the audit log.")


@click.command()
@click.argument("machine", required=False, metavar="[MACHINE]")
@click.option("-f", "--follow", is_flag=True, help="Go on showing, until Ctrl-C.")
@AS_JSON
@reaches_server
def machines(client: AdminClient, machine: str | None, follow: bool, as_json: bool) -> None:
    """Show the rack at a glance, or one MACHINE (a MAC or host name) with its last boots and what is wrong with it.

    \b
    Examples:  bootstrapper machines
               bootstrapper machines -f
               bootstrapper machines node3
    """
    from bootstrapper.cli_views import show_machine, show_rack, watch

    if machine is not None:
        found = client.get(write_path("machines", machine))
        click.echo(json.dumps(found, indent=2) if as_json else show_machine(found, time.time()))
        return
    if as_json:
        click.echo(json.dumps(client.get("/machines"), indent=2))
        return
    if follow:
        watch(lambda: client.get("/machines"), time.time, lambda: time.sleep(EVERY_S))
        return
    show_rack(client.get("/machines"), time.time())


@click.command()
@click.argument("machine", required=False, metavar="[MACHINE]")
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
    """Every event once, also over a restart of the server."""
    while True:
        try:
            for each in client.follow("/events/stream", machine=machine, after=after):
                after = each["id"]
                yield each
        except UserError as error:
            click.echo(f"bootstrapper: {error.message}; trying again", err=True)
        time.sleep(EVERY_S)


@click.command()
@click.argument("mac", required=False, metavar="[MAC]")
@AS_JSON
@reaches_server
def unknown(client: AdminClient, mac: str | None, as_json: bool) -> None:
    """List the machines that asked and are not in the description; for one MAC, print its lines for the description.

    \b
    Examples:  bootstrapper unknown
               bootstrapper unknown 52:54:00:12:34:56 >> cluster-desc.yaml
    """
    from bootstrapper.cli_views import show_unknown

    listed = client.get("/unknown")
    if mac is not None:
        found = find_unknown(listed, mac)
        click.echo(json.dumps(found, indent=2) if as_json else found["lines"].rstrip("\n"))
        return
    if as_json:
        click.echo(json.dumps(listed, indent=2))
    else:
        show_unknown(listed, time.time())


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
    tell_order(client.post(write_path("machines", machine, "orders"), {"order": order, **body}))


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
        except UserError:  # not in the description any more
            found = {"host": machine}
        confirm(found, f"{found['host']} is forgotten, and its node leaves the cluster.", yes)
    give(client, machine, "forget", reason=reason)


@click.command()
@click.argument("mac", metavar="MAC")
@REASON
@reaches_server
def approve(client: AdminClient, mac: str, reason: str) -> None:
    """Take an unknown machine as a worker (with `unknown_machines: worker` in the description).

    \b
    Example:  bootstrapper approve 52:54:00:12:34:56
    """
    give(client, mac, "approve", reason=reason)


@click.command()
@click.argument("old", metavar="MACHINE")
@click.argument("new", metavar="NEW-MAC")
@reaches_server
def move(client: AdminClient, old: str, new: str) -> None:
    """Go on with MACHINE's life under NEW-MAC: its network card or board was replaced. It is not installed again.

    \b
    Example:  bootstrapper move node3 52:54:00:12:34:56
    """
    tell_order(client.post(write_path("machines", old, "move"), {"to": new}))


def confirm(found: Json, what: str, yes: bool) -> None:
    """The host name, typed: a `y` from habit destroys nothing. Raises UserError."""
    if yes:
        return
    from bootstrapper.cli_views import clean

    click.echo(clean(what), err=True)
    typed = click.prompt("Type its host name to go on", default="", show_default=False, err=True)
    if typed.strip() != found["host"]:
        raise UserError("that is not its host name; nothing was ordered", "--yes does not ask")


VERBS: Sequence[click.Command] = (
    machines, events, unknown, install, reinstall, hold, release, forget, approve, move,
)  # fmt: skip
