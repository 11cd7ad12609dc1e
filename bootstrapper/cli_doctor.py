"""The verb `doctor`: whether this rack could install now, and what to do where it could not. Part of `cli`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from bootstrapper.cli_options import AS_JSON, BOOT_FILES, DESCRIPTION, SERVED_ASSETS, STATE, TEMPLATES, count_of
from bootstrapper.description import load_templates

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


@click.command()
@DESCRIPTION
@STATE
@SERVED_ASSETS
@AS_JSON
@click.option("--verify", is_flag=True, help="Hash every file and image again: minutes, for some ten GB.")
@click.option("--user", metavar="NAME", help="The user that `serve` runs as, if not its default.")
@click.option("--admin", default="127.0.0.1:8480", show_default=True, metavar="ADDR:PORT", help="As given to `serve`.")
@BOOT_FILES
@click.option(
    "--wait",
    type=click.FloatRange(0.1, 60),
    default=4.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen for other DHCP servers.",
)
@TEMPLATES
def doctor(
    desc: Path,
    state: Path,
    assets: Path | None,
    as_json: bool,
    verify: bool,
    user: str | None,
    admin: str,
    boot_files: Path,
    wait: float,
    templates: Path | None,
) -> None:
    """Say whether the rack that DESC describes could install now. Exit status 1 when it could not.

    Looks at the description, files and images, programs, the state directory, certificates, the clock, the interface,
    ports (those of our own running server are fine) and other DHCP servers. Changes nothing. As root it sees most.

    \b
    Examples:  bootstrapper doctor /etc/bootstrapper/cluster-desc.yaml
               bootstrapper doctor cluster-desc.yaml --state state --assets assets --json
    """
    from bootstrapper.doctor.finding import Finding, Grade, Site
    from bootstrapper.doctor.run import examine
    from bootstrapper.servers.admin_sockets import parse_place
    from bootstrapper.servers.privileges import default_account, find_account

    place = parse_place(admin)
    site = Site(
        description=desc,
        state=state,
        assets=assets or state / "assets",
        templates=load_templates(templates),
        boot_files=boot_files,
        account=find_account(user) if user else default_account(),
        now=time.time(),
        admin=(str(place.address), place.port) if place else None,
        verify=verify,
        rivals_wait_s=wait,
    )
    found: list[Finding] = []
    hint = ""
    for finding in examine(site):
        found.append(finding)
        if not as_json:
            if finding.hint != hint:
                say_hint(hint)
            hint = finding.hint
            word = "FAIL" if finding.grade is Grade.FAIL else finding.grade.value
            grade = click.style(f"{word:<5}", COLOURS[finding.grade])
            click.echo(f"{grade} {finding.check:<13} {finding.message}")
    if not as_json:
        say_hint(hint)
    # Many files are missing, and one thing is to do.
    fails = len({finding.hint for finding in found if finding.grade is Grade.FAIL})
    if as_json:
        click.echo(json.dumps({"ok": fails == 0, "findings": [asdict(finding) for finding in found]}, indent=2))
    elif fails:
        click.echo(f"{count_of(fails, 'thing')} to do before machines can be installed")
    else:
        click.echo("machines can be installed")
    sys.exit(1 if fails else 0)


def say_hint(hint: str) -> None:
    """Behind the last finding that it is for: once, however many files are missing."""
    if hint:
        click.echo(f"{'':<19} -> {hint}")
