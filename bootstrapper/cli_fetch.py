"""The verb `fetch`: everything that machines will ask for, onto this disk, proven. Part of `cli`."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from bootstrapper.assets.fetch import Fetcher, save_lock_to
from bootstrapper.assets.fetch_plan import Outcome, Plan, Result, Watcher
from bootstrapper.assets.holding import hold, hold_lock
from bootstrapper.assets.image_check import find_image_problem
from bootstrapper.assets.images import fetch_images
from bootstrapper.assets.item import Item, Kind
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.assets.signing import check_key
from bootstrapper.assets.sizes import size_words
from bootstrapper.assets.sources import list_places, parse_source
from bootstrapper.assets.store import find_problem
from bootstrapper.assets.transfer import Client, find_size
from bootstrapper.cli_endings import STOPPED
from bootstrapper.cli_options import AS_JSON, DESCRIPTION, TEMPLATES, count_of
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates, read_lock, read_text
from bootstrapper.errors import UserError
from bootstrapper.mirroring import advise_addon_images, build_catalogue
from bootstrapper.nodeconfig.asset_lock import FILE_NAME, AssetLock, write_lock


@click.command()
@DESCRIPTION
@click.option(
    "--assets",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the files go: `serve`'s --assets.",
)
@click.option("--list", "only_list", is_flag=True, help="Only list what is needed, from where, and what is here.")
@click.option("--sizes", is_flag=True, help="With --list: ask how large files are of which that is not known yet.")
@AS_JSON
@click.option(
    "--source", "sources", multiple=True, metavar="URL|DIR",
    help="Ask here first: a mirror, or a disk, laid out like DIR or like the publishers' servers. May be repeated.",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, metavar="N", help="Downloads at a time."
)
@click.option("--tries", type=click.IntRange(1, 100), default=5, show_default=True, metavar="N", help="Of each source.")
@click.option("--verify", is_flag=True, help="Hash everything that is here again.")
@click.option(
    "--pin", is_flag=True, help="Take the hashes anew that were pinned at first sight: you know why they changed."
)
@click.option(
    "--key", "keys", multiple=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="A public key that may sign as well, such as Flatcar's next one. May be repeated.",
)  # fmt: skip
@click.option("--only", type=click.Choice(["files", "images"]), help="Only these.")
@TEMPLATES
def fetch(
    desc: Path,
    assets: Path | None,
    only_list: bool,
    sizes: bool,
    as_json: bool,
    sources: tuple[str, ...],
    jobs: int,
    tries: int,
    verify: bool,
    pin: bool,
    keys: tuple[str, ...],
    only: str | None,
    templates: Path | None,
) -> None:
    """Fetch everything that DESC's machines will ask for, prove it genuine, and keep it below --assets.

    Goes on where it was interrupted, and downloads nothing twice. Hashes are written to assets.lock beside DESC.
    Proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Images are copied by skopeo: `skopeo login` signs in,
    and ~/.config/containers/registries.conf names other places for them.

    \b
    Examples:  bootstrapper fetch cluster-desc.yaml --list
               bootstrapper fetch cluster-desc.yaml --assets /var/lib/bootstrapper/assets
               bootstrapper fetch cluster-desc.yaml --assets assets --source /media/usb/assets
    """
    cluster = load(read_text(desc), str(desc))
    texts = load_templates(templates)

    for advice in advise_addon_images(cluster, texts):
        click.echo(f"advice: {advice.text()}", err=True)

    def list_items(lock: AssetLock) -> tuple[Item, ...]:
        return tuple(item for item in build_catalogue(cluster, texts, lock) if only in (None, f"{item.kind}s"))

    if only_list:
        items = list_items(read_lock(desc))
        if sizes:
            items = ask_sizes(items, tuple(find_source(each) for each in sources), jobs)
        show_list(items, assets, as_json)
        return
    if assets is None:
        raise click.UsageError("say where the files go: --assets DIR, or --list to see what is needed")
    for key in keys:
        check_key(key)
    plan = Plan(
        root=assets,
        beside=desc.parent,
        client=Client(time.monotonic, jobs=jobs),
        sources=tuple(find_source(each) for each in sources),
        keys=keys,
        jobs=jobs,
        tries=tries,
        verify=verify,
        pin=pin,
    )
    console = Console(stderr=True)
    with hold(assets), hold_lock(desc.parent), watch(console, quiet=as_json) as watcher:
        lock = read_lock(desc)  # not earlier: another fetch may have been writing it
        wanted = {kind: [item for item in list_items(lock) if item.kind is kind] for kind in Kind}
        save = save_lock_to(desc.parent / FILE_NAME, write_lock)
        fetcher = Fetcher(plan, watcher, save, lock)
        try:
            results = fetcher.run(wanted[Kind.FILE])
            results += fetch_images(wanted[Kind.IMAGE], plan, watcher, save, fetcher.lock)
        except KeyboardInterrupt:
            fetcher.stop()
            click.echo("bootstrapper: stopped; run it again, it goes on from there", err=True)
            sys.exit(STOPPED)
    report(results, as_json)
    if any(result.outcome is Outcome.FAILED for result in results):
        sys.exit(1)


def find_source(text: str) -> str:
    """A directory by its whole path. Raises UserError for one that is not there."""
    if "://" not in text:
        path = Path(text).absolute()
        if not path.is_dir():
            raise UserError(f"--source {text}: there is no such directory", "is the disk mounted?")
        text = str(path)
    return parse_source(text)


def ask_sizes(items: Sequence[Item], sources: tuple[str, ...], jobs: int) -> tuple[Item, ...]:
    """The items with the sizes of files that `assets.lock` does not know yet."""
    client = Client(time.monotonic, read_s=15.0, jobs=jobs)

    def ask(item: Item) -> Item:
        if item.size is not None or item.kind is Kind.IMAGE:
            return item
        return replace(item, size=find_size(client, list_places(item.name, item.url, sources)))

    with ThreadPoolExecutor(jobs) as pool:
        return tuple(pool.map(ask, items))


def show_list(items: Sequence[Item], assets: Path | None, as_json: bool) -> None:
    """Every file and image, where from, and whether it is here."""
    if as_json:
        click.echo(json.dumps([as_record(item, assets) for item in items], indent=2))
        return
    for item in items:
        here = "" if assets is None else f"  [{find_fault(assets, item) or 'here'}]"
        click.echo(f"{size_words(item.size):>9}  {item.name}{here}")
        click.echo(
            f"{'':>9}    {item.use} for {item.needed_by()}; {item.proof.words}; {item.url or 'from nowhere yet'}"
        )
    known = [item.size for item in items if item.size is not None]
    unknown = len(items) - len(known)
    images = sum(item.kind is Kind.IMAGE for item in items)
    sizes = [size_words(sum(known))] if known or not unknown else []
    sizes += [f"{unknown if known else 'all'} of unknown size (--sizes asks)"] if unknown else []
    click.echo(f"{count_of(len(items) - images, 'file')}, {count_of(images, 'image')}: {', and '.join(sizes)}")


def find_fault(assets: Path, item: Item) -> str | None:
    """Why machines could not have it; None: they can."""
    if item.kind is Kind.IMAGE:
        return find_image_problem(Storage(assets / REGISTRY), item)
    return find_problem(assets, item.name)


def as_record(item: Item, assets: Path | None = None) -> dict[str, object]:
    problem = find_fault(assets, item) if assets is not None else None
    return {
        "name": item.name,
        "kind": str(item.kind),
        "use": item.use,
        "url": item.url,
        "proof": item.proof.words,
        "sha256": item.proof.sha256,
        "size": item.size,
        "arches": [str(arch) for arch in item.arches],
        "machines": [machine.host for machine in item.machines],
        "problem": problem,
    }


def report(results: Sequence[Result], as_json: bool) -> None:
    if as_json:
        records = [
            {
                "name": each.item.name,
                "state": str(each.outcome),
                "size": each.size,
                "sha256": each.sha256,
                "first_seen": each.first_seen,
                "message": each.message,
                "hint": each.hint,
            }
            for each in results
        ]
        click.echo(json.dumps({"ok": all(each.outcome is not Outcome.FAILED for each in results), "files": records}))
        return
    by = {outcome: [each for each in results if each.outcome is outcome] for outcome in Outcome}
    for each in by[Outcome.FAILED]:
        click.echo(f"bootstrapper: {each.message}", err=True)
        if each.hint:
            click.echo(f"  hint: {each.hint}", err=True)
    fetched = by[Outcome.FETCHED]
    click.echo(
        f"{len(by[Outcome.PRESENT])} files and images were here, {len(fetched)} fetched "
        f"({size_words(sum(each.size for each in fetched))}), {len(by[Outcome.FAILED])} missing"
    )
    pinned = [each.item.name for each in results if each.first_seen]
    if pinned:
        click.echo(f"pinned at first sight, since no publisher's checksum was had: {', '.join(pinned)}")


@contextmanager
def watch(console: Console, quiet: bool) -> Iterator[Watcher]:
    """Bars on a terminal, a line per file elsewhere."""
    if quiet:
        yield Watcher()
    elif console.is_terminal:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console
        ) as progress:
            yield Bars(progress).watcher()
    else:
        lock = threading.Lock()

        def say(line: str) -> None:
            with lock:
                click.echo(line, err=True)

        yield Watcher(say=say, end=lambda result: say(f"{result.outcome}: {result.item.name}"))


@dataclass
class Bars:
    progress: Progress

    def __post_init__(self) -> None:
        self._tasks: dict[str, TaskID] = {}

    def watcher(self) -> Watcher:
        return Watcher(self._begin, self._progress, self.progress.console.print, self._end)

    def _begin(self, item: Item) -> None:
        if item.name not in self._tasks:
            self._tasks[item.name] = self.progress.add_task(item.name.rpartition("/")[2][:40], total=item.size)

    def _progress(self, item: Item, done: int, whole: int | None) -> None:
        self.progress.update(self._tasks[item.name], completed=done, total=whole or item.size)

    def _end(self, result: Result) -> None:
        task = self._tasks.pop(result.item.name, None)
        if task is not None:
            self.progress.remove_task(task)
        if result.outcome is Outcome.FETCHED:
            self.progress.console.print(f"fetched {result.item.name}", highlight=False)
