"""Arguments and options that several verbs have, each worded once. Part of `cli`."""

from __future__ import annotations

from pathlib import Path

import click

DESCRIPTION = click.argument("desc", type=click.Path(path_type=Path), metavar="DESC")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
TEMPLATES = click.option(
    "--templates",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="BOOTSTRAPPER_TEMPLATES",
    metavar="DIR",
    help="Your own templates; a file here takes the place of the built-in one of the same name.",
)
STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/var/lib/bootstrapper"),
    show_default=True,
    envvar="BOOTSTRAPPER_STATE",
    metavar="DIR",
    help="The server's state directory.",
)
EXISTING_STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("/var/lib/bootstrapper"),
    show_default=True,
    envvar="BOOTSTRAPPER_STATE",
    metavar="DIR",
    help="The server's state directory.",
)
SERVED_ASSETS = click.option(
    "--assets",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Files and images that machines download. Default: assets/ below the state directory.",
)
FORCE = click.option("--force", is_flag=True, help="Write over a file that exists.")
BOOT_FILES = click.option(
    "--boot-files",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/usr/lib/ipxe"),
    show_default=True,
    metavar="DIR",
    help="Where the distribution's ipxe package keeps its binaries.",
)


def count_of(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
