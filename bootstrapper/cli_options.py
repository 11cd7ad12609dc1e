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
