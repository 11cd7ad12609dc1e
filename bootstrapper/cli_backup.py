"""The verbs `backup` and `restore`. Part of `cli`."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import click

from bootstrapper.cli_options import STATE
from bootstrapper.errors import UserError

LEAST_CHARACTERS = 10
PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Its first line is the passphrase; without it you are asked.",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@STATE
@PASSPHRASE
def backup(file: Path, state: Path, passphrase_file: Path | None) -> None:
    """Write the whole state, keys included, encrypted, to FILE. The server may go on running.

    Not in it: the description itself (the database holds its revisions), assets.lock, and the images.

    \b
    Example:  bootstrapper backup rack-2026-11-21.backup
              bootstrapper backup rack.backup --passphrase-file /root/backup-passphrase
    """
    from bootstrapper.state.backup import write_backup

    passphrase = read_passphrase(passphrase_file, confirm=True)
    size = write_backup(state, file, passphrase, secrets.token_bytes(16))
    click.echo(f"{file}: {size / 1e6:.1f} MB; without the passphrase it is of no use to anybody, you included")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@STATE
@PASSPHRASE
def restore(file: Path, state: Path, passphrase_file: Path | None) -> None:
    """Make the state directory of FILE, a backup: all of it or nothing. It must not exist yet, or be empty.

    A machine that was to be installed again when the backup was made is on hold afterwards: the order is old.

    \b
    Example:  bootstrapper restore rack-2026-11-21.backup --state /var/lib/bootstrapper
    """
    from bootstrapper.state.backup import read_backup

    restored = read_backup(file, state, read_passphrase(passphrase_file, confirm=False), time.time())
    click.echo(f"{state}: {restored.machines} machines, description revision {restored.revision or 'none'}")
    for mac in restored.held:
        click.echo(f"  {mac} is on hold: it was to be installed again. `bootstrapper reinstall {mac}` if it still is")
    click.echo("next: bootstrapper serve DESC --state " + str(state))


def read_passphrase(file: Path | None, *, confirm: bool) -> str:
    """Raises UserError for one that cannot be read, or (`confirm`: a new one) is too short."""
    if file is None:
        text = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    else:
        try:
            text = file.read_text().partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} cannot be read: {error}", "its first line is the passphrase") from error
    if confirm and len(text) < LEAST_CHARACTERS:
        raise UserError(
            f"the passphrase has {len(text)} characters: the file would hold every key of the cluster",
            f"use {LEAST_CHARACTERS} or more, best several words",
        )
    return str(text)
