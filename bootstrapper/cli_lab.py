"""The verb `lab`. Part of `cli`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bootstrapper.cli_options import DESCRIPTION


@click.command()
@DESCRIPTION
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lab-state"),
    show_default=True,
    metavar="DIR",
    help="Of this lab alone: disks, consoles, the server's state.",
)
@click.option(
    "--assets",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="The real images, if at hand.",
)
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where the test system is kept."
)
@click.option("--once", is_flag=True, help="End when every machine got there; status 0 only then.")
@click.option("--keep", is_flag=True, help="Go on with the disks and the state of the last run.")
@click.option("--timeout", type=click.IntRange(min=1), default=1800, show_default=True, metavar="SECONDS")
@click.option("--parallel", type=click.IntRange(min=0), default=0, metavar="N", help="Machines that boot at a time.")
@click.option("--firmware", type=click.Choice(["mixed", "bios", "uefi"]), default="mixed", show_default=True)
@click.option("--only", multiple=True, metavar="HOST", help="Power on this machine only; may be repeated.")
@click.option(
    "--system",
    type=click.Choice(["small", "systemd"]),
    default="small",
    show_default=True,
    help="What takes the place of images that are not at hand: quick, or with the real systemd and Ignition.",
)
def lab(
    desc: Path,
    state: Path,
    assets: Path | None,
    cache: Path | None,
    once: bool,
    keep: bool,
    timeout: int,
    parallel: int,
    firmware: str,
    only: tuple[str, ...],
    system: str,
) -> None:
    """Boot the rack that DESC describes as virtual machines, in network namespaces of their own. Needs root.

    Without the described system's images, a small test system made from the distribution's kernel takes their place:
    the server, the firmware and the boot chain are the real ones.

    \b
    Example:  bootstrapper lab cluster-desc.example.yaml --once
    """
    from bootstrapper.lab.rack import LabSetup, run_lab
    from bootstrapper.lab.test_system import default_cache

    setup = LabSetup(desc, state, assets, cache or default_cache(), once, keep, timeout, parallel, firmware,
                     only=only, system=system)  # fmt: skip
    sys.exit(run_lab(setup))
