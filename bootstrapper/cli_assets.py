"""The verb `assets`: what is kept for machines, and what of it nobody needs any more. Part of `cli`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootstrapper.assets.registry_storage import LAYOUT, REGISTRY
from bootstrapper.assets.sizes import size_words
from bootstrapper.cli_options import TEMPLATES, count_of
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates, read_lock, read_text
from bootstrapper.errors import UserError
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import FILE_NAME, AssetLock, write_lock

if TYPE_CHECKING:
    from bootstrapper.assets.item import Item
    from bootstrapper.assets.prune import Needed

SHOWN = 20


@click.group()
def assets() -> None:
    """The files and images that are kept for machines.

    \b
    Example:  bootstrapper assets prune cluster-desc.yaml --assets /var/lib/bootstrapper/assets --dry-run
    """


@assets.command()
@click.argument("descs", type=click.Path(path_type=Path), metavar="DESC...", nargs=-1, required=True)
@click.option(
    "--assets",
    "root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    metavar="DIR",
    help="Where files and images are.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--forget", is_flag=True, help="First drop from each assets.lock what its DESC no longer names.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; asks nothing: give --dry-run or --yes.")
@TEMPLATES
def prune(
    descs: tuple[Path, ...], root: Path, dry_run: bool, forget: bool, yes: bool, as_json: bool, templates: Path | None
) -> None:
    """Remove what none of these descriptions needs: files, and images with what only they consisted of.

    Whatever a DESC or the assets.lock beside it names stays; with --forget, only what a DESC names. Name every
    description that is served from --assets: what you put there by hand and none of them names goes as well. `serve`
    may run meanwhile.

    \b
    Examples:  bootstrapper assets prune cluster-desc.yaml --assets assets --dry-run
               bootstrapper assets prune rack-a.yaml rack-b.yaml --assets assets --yes
    """
    from bootstrapper.assets.holding import hold, hold_lock
    from bootstrapper.assets.prune import check_root, find_waste, remove
    from bootstrapper.assets.writing import write_atomically

    if as_json and not (dry_run or yes):
        raise click.UsageError("with --json, say --dry-run or --yes")
    check_root(root)
    with ExitStack() as held:
        held.enter_context(hold(root))
        for directory in {desc.parent.resolve() for desc in descs} if forget else ():
            held.enter_context(hold_lock(directory))
        # Read while no `fetch` writes: what it has added meanwhile would be lost.
        needed, fresh = find_needed(descs, templates, forget)
        try:
            waste = find_waste(root, needed)
            size = sum(each.size for each in waste)
            names = [str(each.path.relative_to(root)) for each in waste]
            forgotten = sorted(name for path, lock in fresh.items() for name in list_dropped(read_lock(path), lock))
            if as_json:
                click.echo(json.dumps({"bytes": size, "files": names, "forgotten": forgotten}, indent=2))
            else:
                shown = list_shown(names)
                for name in shown[:SHOWN]:
                    click.echo(f"  {name}")
                if len(shown) > SHOWN:
                    click.echo(f"  and {len(shown) - SHOWN} more (--json lists all)")
            words = f"{count_of(len(waste), 'file')} ({size_words(size)}) that no description needs"
            if forgotten:
                words += f", and {count_of(len(forgotten), 'line')} of assets.lock"
            anything = bool(waste or forgotten)
            if dry_run or not anything:
                if not as_json:
                    click.echo(f"{words}{': nothing was removed' if anything else ''}")
                return
            if not yes:
                click.confirm(f"remove {words}?", abort=True)
            # Before the files: after a kill in between, the next run finds the same ones to remove.
            for path, lock in fresh.items():
                write_atomically(path, write_lock(lock).encode())
            remove(waste, root)
        except OSError as error:
            raise UserError(
                f"{error.filename or root}: {error.strerror}", "see who owns it, and run it again"
            ) from error
    if not as_json:
        click.echo(f"removed {words}")


def find_needed(descs: Sequence[Path], templates: Path | None, forget: bool) -> tuple[Needed, Mapping[Path, AssetLock]]:
    """What must stay, and the locks that change when they `forget`. Descriptions in one directory share their lock:
    it keeps what any of them names. Raises UserError."""
    from bootstrapper.assets.prune import Needed, forget_unneeded

    needed = Needed()
    locks: dict[Path, AssetLock] = {}
    named: dict[Path, list[Item]] = {}
    for desc in descs:
        path = desc.parent.resolve() / FILE_NAME
        lock = locks.setdefault(path, read_lock(desc))
        items = build_catalogue(load(read_text(desc), str(desc)), load_templates(templates), lock)
        named.setdefault(path, []).extend(items)
    fresh: dict[Path, AssetLock] = {}
    for path, lock in locks.items():
        kept = forget_unneeded(named[path], lock) if forget else lock
        if kept != lock:
            fresh[path] = kept
        needed.add(named[path], kept)
    return needed, fresh


def list_dropped(before: AssetLock, after: AssetLock) -> set[str]:
    """Names of files and images that one lock has and the other has not."""
    return {*before.files, *before.images, *before.sizes} - {*after.files, *after.images, *after.sizes}


def list_shown(names: Sequence[str]) -> list[str]:
    """Files by name, images by theirs; what images consist of says nobody anything."""
    start, tag = f"{REGISTRY}/{LAYOUT}/repositories/", "/current/link"
    images = [name.removeprefix(start).removesuffix(tag) for name in names if name.endswith(tag)]
    files = [name for name in names if not name.startswith(f"{REGISTRY}/")]
    return [*files, *(f"image {image.replace('/_manifests/tags/', ':')}" for image in images)]
