"""The verbs `backup` and `restore`. Part of `cli`."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import click

from bootstrapper.cli_options import FORCE, STATE
from bootstrapper.errors import UserError
from bootstrapper.outfile import check_outfile

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
@FORCE
def backup(file: Path, state: Path, passphrase_file: Path | None, force: bool) -> None:
    """Write the whole state, keys included, encrypted, to FILE. The server may go on running.

    Not in it: the description itself (the database holds its revisions), assets.lock, and the images.

    \b
    Example:  bootstrapper backup rack-2026-11-21.backup
              bootstrapper backup rack.backup --passphrase-file /root/backup-passphrase
    """
    from bootstrapper.state.backup import write_backup

    check_outfile(file, force)  # said before a passphrase is typed
    passphrase = read_passphrase(passphrase_file, confirm=True)
    size = write_backup(state, file, passphrase, secrets.token_bytes(16), force)
    click.echo(f"{file}: {size / 1e6:.1f} MB; without the passphrase it is of no use to anybody, you included")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@STATE
@PASSPHRASE
@click.option(
    "--description",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the description that was in force to FILE, which must not exist yet.",
)
def restore(file: Path, state: Path, passphrase_file: Path | None, description: Path | None) -> None:
    """Make the state directory of FILE, a backup: all of it or nothing. It must not exist yet, or be empty.

    A machine that was to be installed again when the backup was made is on hold afterwards: the order is old.

    \b
    Example:  bootstrapper restore rack-2026-11-21.backup --state /var/lib/bootstrapper
              bootstrapper restore rack.backup --description /etc/bootstrapper/cluster-desc.yaml
    """
    from bootstrapper.state.backup import read_backup

    if not os.access(file, os.R_OK):  # said before a passphrase is typed
        raise UserError(f"{file} cannot be read by you" if file.exists() else f"there is no file {file}",
                        "FILE is what `bootstrapper backup FILE` wrote")  # fmt: skip
    if description is not None and description.exists():
        raise UserError(f"{description} exists already", "nothing was restored; give a name that is free")
    restored = read_backup(file, state, read_passphrase(passphrase_file, confirm=False), time.time())
    click.echo(f"{state}: {restored.machines} machines, description revision {restored.revision or 'none'}")
    for mac in restored.held:
        click.echo(f"  {mac} is on hold: it was to be installed again. `bootstrapper reinstall {mac}` if it still is")
    if description is not None:
        write_description(state, description)
    click.echo(f"next: bootstrapper serve {description or 'DESC'} --state {state}")


def write_description(state: Path, file: Path) -> None:
    """The one in force when the backup was made. Raises UserError."""
    from bootstrapper.state.sqlite import SqliteStore

    store = SqliteStore(state / "state.db")
    try:
        kept = store.load_description()
    finally:
        store.close()
    if kept is None:
        raise UserError("the backup has no description", f"the state is restored; write {file} by hand")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(kept[1])
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}", "the state is restored, this is not") from error
    click.echo(f"{file}: the description of revision {kept[0]}; assets.lock is not in a backup: `fetch` makes it anew")


def read_passphrase(file: Path | None, *, confirm: bool) -> str:
    """Raises UserError for one that cannot be read, or is not given, or (`confirm`: a new one) is too short."""
    if file is None:
        try:
            text = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        except click.Abort as abort:
            if isinstance(abort.__context__, KeyboardInterrupt):
                raise
            hint = "type it at a terminal, or give --passphrase-file FILE"
            raise UserError("no passphrase was given: the input has ended", hint) from abort
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
