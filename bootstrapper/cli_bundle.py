"""The verb `bundle`: everything that a rack needs in one archive, carried to where no internet is. Part of `cli`."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from bootstrapper.assets.sizes import size_words
from bootstrapper.cli_options import DESCRIPTION, FORCE
from bootstrapper.cluster.load import load
from bootstrapper.description import check_description, load_templates, read_lock, read_text
from bootstrapper.errors import UserError
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import parse_lock, write_lock
from bootstrapper.outfile import check_outfile

ASSETS = click.option(
    "--assets",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where files and images are: `fetch`'s and `serve`'s --assets.",
)
TEMPLATES = click.option(
    "--templates",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="BOOTSTRAPPER_TEMPLATES",
    metavar="DIR",
    help="Your own templates, as for `serve`. They are not in the bundle.",
)


@click.group()
def bundle() -> None:
    """Carry everything that a rack needs to where no internet is, signed, and proven when it arrives.

    \b
    Example:  bootstrapper fetch cluster-desc.yaml --assets assets
              bootstrapper bundle export cluster-desc.yaml --assets assets /media/usb/rack.tar
              bootstrapper bundle import /media/usb/rack.tar --assets /var/lib/bootstrapper/assets --key sha256:…
    """


@bundle.command("export")
@DESCRIPTION
@click.argument("where", metavar="FILE|DIR")
@ASSETS
@click.option(
    "--since",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="MANIFEST",
    help="Leave out what this earlier bundle's manifest lists (it is put beside each bundle).",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The private key to sign with, made where there is none. Default: ~/.config/bootstrapper/bundle.key",
)
@FORCE
@TEMPLATES
def export(
    desc: Path, where: str, assets: Path, since: Path | None, key: Path | None, force: bool, templates: Path | None
) -> None:
    """Put DESC, its assets.lock and all files and images that they name into FILE (a tar archive) or DIR.

    Everything is proven against assets.lock on the way. An existing directory, or a name that ends in /, gets a
    directory; a FILE appears when it is whole.

    \b
    Examples:  bootstrapper bundle export cluster-desc.yaml --assets assets /media/usb/rack.tar
               bootstrapper bundle export cluster-desc.yaml --assets assets new.tar --since rack.tar.manifest.json
    """
    from bootstrapper.assets.bundle_export import (
        carried_entries,
        check_room,
        collect,
        make_manifest,
        write_archive,
        write_directory,
    )
    from bootstrapper.assets.bundle_keys import default_directory, load_or_make
    from bootstrapper.assets.holding import hold
    from bootstrapper.assets.writing import write_atomically

    text = read_text(desc)
    cluster = load(text, str(desc))
    lock = read_lock(desc)
    items = build_catalogue(cluster, load_templates(templates), lock)
    if not assets.is_dir():
        raise UserError(f"there is no directory {assets}", "give the one that `bootstrapper fetch` filled")
    target = Path(where)
    as_directory = target.is_dir() or where.endswith("/")
    beside = target.with_name(f"{target.name}.manifest.json")
    for each in () if as_directory else (target, beside):
        check_outfile(each, force)
    with hold(assets), explain(target):
        found = collect(assets, items, text.encode(), write_lock(lock).encode())
        signer = load_or_make(key or default_directory() / "bundle.key")
        if signer.fresh:
            click.echo(f"made a key to sign bundles with: {signer.path}", err=True)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        manifest = make_manifest(found, cluster.name, now, since.read_bytes() if since else None, f"--since {since}")
        check_room(target, as_directory, manifest)
        carried = list(carried_entries(manifest))
        whole = sum(entry.size for entry in carried)
        with progress("packed", whole) as tell:
            write = write_directory if as_directory else write_archive
            written = write(target, found, manifest, signer, tell)
        if not as_directory:
            write_atomically(beside, written)
    left_out = len({entry.sha256 for entry in manifest.entries}) - len(carried)
    without = f", {left_out} left out since {since}" if since else ""
    click.echo(f"{target}: {len(manifest.entries)} files ({size_words(whole)}){without}")
    click.echo(f"signed by {signer.fingerprint}: give it as --key where it is imported, and carry it by another way")


@bundle.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE|DIR")
@ASSETS
@click.option(
    "--desc",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/etc/bootstrapper/cluster-desc.yaml"),
    show_default=True,
    metavar="FILE",
    help="Where the description goes, and assets.lock beside it. One that is there is kept as FILE.before.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="sha256:HEX|FILE",
    help="Who may have signed: a fingerprint that `bundle export` printed, or bundle.pub. Remembered.",
)
@TEMPLATES
def import_(source: Path, assets: Path, desc: Path, keys: tuple[str, ...], templates: Path | None) -> None:
    """Prove everything in a bundle, then put it in place: files, images, and last the lock and the description.

    A changed byte, a strange name or an unknown signer stops it before anything has changed. Goes on where it was
    interrupted.

    \b
    Example:  bootstrapper bundle import /media/usb/rack.tar --assets /var/lib/bootstrapper/assets --key sha256:…
    """
    from bootstrapper.assets.bundle_import import Target, import_bundle
    from bootstrapper.assets.bundle_keys import default_directory, load_trusted, read_key_option, remember
    from bootstrapper.assets.holding import hold, hold_lock

    check_outfile(desc, replace=True)
    known = default_directory() / "trusted-bundle-keys"
    trusted = load_trusted(known)
    named = frozenset(read_key_option(each) for each in keys)

    def check(description: bytes, lock: bytes) -> None:
        check_description(description.decode(), str(source), load_templates(templates))
        parse_lock(lock.decode(), f"{source}: assets.lock")

    size = source.stat().st_size if source.is_file() else None
    with hold(assets), hold_lock(desc.parent), progress("proven", size) as tell:
        done = import_bundle(source, Target(assets, desc, trusted | named, check), tell)
    if done.signer not in trusted:
        remember(known, trusted | {done.signer})
    click.echo(
        f"{done.manifest.cluster}, packed {done.manifest.made_at}: {len(done.manifest.entries)} files proven, "
        f"{done.fresh} put in place ({size_words(done.bytes)})"
    )
    if done.kept is not None:
        click.echo(f"the description that was there is kept as {done.kept}")
    click.echo(f"next: bootstrapper doctor {desc} --assets {assets}")


@contextmanager
def explain(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "is there room, and is it yours? nothing half-written was left under that name"
        if error.errno == errno.EFBIG:
            hint = "its filesystem holds no file as large: a name that ends in / makes a directory of smaller ones"
        raise UserError(f"{error.filename or target} cannot be written or read: {error.strerror}", hint) from error


@contextmanager
def progress(words: str, whole: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda count: None
        return
    columns = (TextColumn(words), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(words, total=whole)
        yield lambda count: bars.advance(task, count)
