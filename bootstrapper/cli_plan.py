"""The verb `plan`: what a new description changes. Part of `cli`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from bootstrapper.cli_options import AS_JSON, TEMPLATES
from bootstrapper.cluster.plan import Changes, Effect
from bootstrapper.description import check_description, load_templates, read_lock, read_text


@click.command()
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW")
@AS_JSON
@click.option("--all", "everything", is_flag=True, help="Also the machines for which nothing changes.")
@TEMPLATES
def plan(old: Path, new: Path, as_json: bool, everything: bool, templates: Path | None) -> None:
    """Say what NEW changes for each machine of OLD: nothing, something at once, or only by installing it again.

    The machines' whole configurations are compared, so that what one machine's change does to the others is seen, too.

    \b
    Example:  bootstrapper plan cluster-desc.yaml edited.yaml
    """
    from bootstrapper.boot.adoption import suppose_holds
    from bootstrapper.planning import plan_changes

    texts = load_templates(templates)
    before = check_description(read_text(old), str(old), texts)
    after = check_description(read_text(new), str(new), texts)
    changes = suppose_holds(before, after, plan_changes(before, after, texts, read_lock(new)))
    if as_json:
        machines = [
            {"mac": each.mac, "host": each.host, "effect": each.effect.value, "changes": list(each.changes)}
            for each in changes.machines
        ]
        click.echo(json.dumps({"machines": machines, "server": list(changes.server)}, indent=2))
        return
    for line in write_plan(changes, everything):
        click.echo(line)


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
