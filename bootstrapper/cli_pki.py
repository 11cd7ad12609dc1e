"""The verb `pki`: the certificates there are, and replacing an authority. Part of `cli`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from bootstrapper.cli_options import AS_JSON, DESCRIPTION, EXISTING_STATE
from bootstrapper.cluster.load import load
from bootstrapper.description import read_text


@click.group()
def pki() -> None:
    """Certificates and authorities of the cluster.

    \b
    Example:  bootstrapper pki list cluster-desc.yaml --state /var/lib/bootstrapper
    """


@pki.command("list")
@DESCRIPTION
@EXISTING_STATE
@AS_JSON
def list_certificates(desc: Path, state: Path, as_json: bool) -> None:
    """List every certificate that this server knows of, and how long it still holds.

    \b
    Example:  bootstrapper pki list cluster-desc.yaml
    """
    from bootstrapper.pki.listing import list_rows

    rows = list_rows(state, load(read_text(desc), str(desc)), time.time())
    if as_json:
        records = [
            {
                "name": row.name,
                "machine": row.machine,
                "subject": row.subject,
                "names": row.names,
                "not_after": row.not_after.isoformat(),
                "days_left": row.days_left,
                "authority": row.authority,
                "key_here": row.key_here,
            }
            for row in rows
        ]
        click.echo(json.dumps(records, indent=2))
        return
    click.echo(f"{'MACHINE':<18} {'CERTIFICATE':<26} {'DAYS LEFT':>9}  {'SIGNED BY':<12} NAMES")
    for row in rows:
        names = ", ".join(row.names)
        click.echo(f"{row.machine:<18} {row.name:<26} {row.days_left:>9}  {row.authority:<12} {names}")


@pki.command()
@click.argument("authority", type=click.Choice(["cluster", "etcd", "front-proxy"]))
@EXISTING_STATE
@click.option("--go", is_flag=True, help="Take the next step; without it, only say where the replacement stands.")
@click.option("--force", is_flag=True, help="Take it although something still depends on the old one.")
def rotate(authority: str, state: Path, go: bool, force: bool) -> None:
    """Replace an authority in steps, with old and new trusted in between: announced, switched, done.

    \b
    Examples:  bootstrapper pki rotate etcd          where it stands, and what the next step waits for
               bootstrapper pki rotate etcd --go     take the next step
    """
    from bootstrapper.pki.leaves import Signer
    from bootstrapper.pki.rotation import find_rotation
    from bootstrapper.pki.rotation import rotate as take_step

    directory = state / "pki" / "cluster"
    signer = Signer(authority)
    if go or force:
        found = take_step(directory, signer, time.time(), force)
    else:
        found = find_rotation(directory, signer, time.time())
    click.echo(f"{authority}: {found.step}")
    for blocker in found.blockers:
        click.echo(f"  waits for: {blocker}")
    click.echo(f"  {found.advice}")
