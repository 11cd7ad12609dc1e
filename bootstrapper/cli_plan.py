"""The verb `plan`: what a new description changes. Part of `cli`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from bootstrapper.admin_client import AdminClient
from bootstrapper.cli_admin import reaches_server
from bootstrapper.cli_options import AS_JSON, TEMPLATES
from bootstrapper.cluster.plan import Changes, Effect, MachineChange
from bootstrapper.description import check_description, load_templates, read_lock, read_text


@click.command()
@click.argument("old", type=click.Path(path_type=Path), metavar="[OLD]")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW", required=False)
@AS_JSON
@click.option("--all", "everything", is_flag=True, help="Also the machines for which nothing changes.")
@TEMPLATES
@reaches_server
def plan(
    client: AdminClient, old: Path, new: Path | None, as_json: bool, everything: bool, templates: Path | None
) -> None:
    """Say what NEW changes for each machine of OLD: nothing, something at once, or only by installing it again.

    Without OLD, of what a running server has in force; it also knows what is still to be installed anyway.

    The machines' whole configurations are compared, so that what one machine's change does to the others is seen, too.

    \b
    Examples:  bootstrapper plan cluster-desc.yaml edited.yaml
               bootstrapper plan edited.yaml
    """
    changes = _ask_server(client, old) if new is None else _compare(old, new, templates)
    if as_json:
        machines = [
            {"mac": each.mac, "host": each.host, "effect": each.effect.value, "changes": list(each.changes)}
            for each in changes.machines
        ]
        click.echo(json.dumps({"machines": machines, "server": list(changes.server)}, indent=2))
        return
    for line in write_plan(changes, everything):
        click.echo(line)


def _compare(old: Path, new: Path, templates: Path | None) -> Changes:
    from bootstrapper.boot.adoption import suppose_holds
    from bootstrapper.planning import plan_changes

    texts = load_templates(templates)
    before = check_description(read_text(old), str(old), texts)
    after = check_description(read_text(new), str(new), texts)
    return suppose_holds(before, after, plan_changes(before, after, texts, read_lock(new)))


def _ask_server(client: AdminClient, new: Path) -> Changes:
    found = client.post("/description/plan", {"text": read_text(new)})
    machines = (
        MachineChange(each["mac"], each["host"], Effect(each["effect"]), tuple(each["changes"]))
        for each in found["machines"]
    )
    return Changes(tuple(machines), tuple(found["server"]), ())


def write_plan(changes: Changes, everything: bool) -> Iterator[str]:
    """For people: the machines that are touched, why, and how many there are of each kind."""
    for line in changes.server:
        yield f"server: {line}"
    shown = [each for each in changes.machines if everything or each.effect is not Effect.NOTHING]
    width = max((len(each.host) for each in shown), default=0)
    for each in shown:
        yield f"{each.host:<{width}}  {each.mac}  {WORDS[each.effect]}"
        for change in each.changes:
            yield f"{'':<{width}}    {change}"
    counts = Counter(each.effect for each in changes.machines)
    yield "; ".join(f"{counts[effect]} {WORDS[effect]}" for effect in Effect if counts[effect]) or "no machines"


WORDS = {
    Effect.NOTHING: "nothing changes",
    Effect.LIVE: "takes effect at once",
    Effect.REINSTALL: "to be installed again",
    Effect.NEW: "new",
    Effect.GONE: "gone from the file",
}
