"""Checks of what was brought here: files and images, and room for them."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bootstrapper.assets.image_check import find_image_problem, load_whole
from bootstrapper.assets.index import Index
from bootstrapper.assets.item import Item, Kind
from bootstrapper.assets.readiness import Looker
from bootstrapper.assets.registry_storage import LAYOUT, REGISTRY, Storage
from bootstrapper.assets.sizes import size_words
from bootstrapper.assets.systems import KEY
from bootstrapper.assets.transfer import local_path
from bootstrapper.doctor.finding import Described, Finding, Grade
from bootstrapper.mirroring import advise_addon_images, build_catalogue
from bootstrapper.nodeconfig.asset_lock import FILE_NAME as LOCK
from bootstrapper.readying import open_index
from bootstrapper.servers.privileges import Account

SHOWN = 8
STATE_FAIL, STATE_WARN = 100_000_000, 1_000_000_000
"Bytes free for leases, events and keys."


def check_content(site: Described) -> Iterator[Finding]:
    """Everything the machines will ask for is here, and is what assets.lock says."""
    items = build_catalogue(site.cluster, site.templates, site.lock)
    with tempfile.TemporaryDirectory(prefix="bs-doctor-") as directory:
        known = {} if site.verify else open_index(site.assets, site.state).entries
        index = Index(Path(directory) / "index.json", dict(known))
        problems = Looker(site.assets, index, _make_image_look(site)).look(items)
    for kind in Kind:
        mine = [item for item in items if item.kind is kind]
        yield from _tell(site, f"{kind}s", mine, problems)
    for advice in advise_addon_images(site.cluster, site.templates):
        yield Finding("images", Grade.WARN, advice.message, advice.hint)
    yield from _check_own_keys(site, items)
    yield from _check_readable(site, items)
    yield from _check_room(site, [item for item in items if item.name in problems])


def _make_image_look(site: Described) -> Callable[[Item], str | None]:
    storage = Storage(site.assets / REGISTRY)

    def look(item: Item) -> str | None:
        problem = find_image_problem(storage, item)
        if problem is None and site.verify:
            for blob in load_whole(storage, item).blobs:
                if not storage.hash_blob(blob.digest):
                    return f"is not genuine: what is kept as {blob.digest} is something else"
        return problem

    return look


def _tell(site: Described, check: str, items: list[Item], problems: Mapping[str, str]) -> Iterator[Finding]:
    bad = [item for item in items if item.name in problems]
    # An add-on's image keeps no machine from being installed.
    graded = sorted(((Grade.FAIL if item.machines else Grade.WARN, item) for item in bad), key=lambda pair: pair[0])
    for grade, item in graded[:SHOWN]:
        message = f"{item.name} ({item.use}) {problems[item.name]}: needed by {item.needed_by()}"
        yield Finding(check, grade, message, _fetch_hint(site))
    if len(bad) > SHOWN:
        worst = Grade.FAIL if any(item.machines for item in bad) else Grade.WARN
        more = (
            f"and {len(bad) - SHOWN} more {check}: bootstrapper fetch {site.description} --assets {site.assets} --list"
        )
        yield Finding(check, worst, more, _fetch_hint(site))
    if not bad:
        how = "every byte looked at" if site.verify else "as assets.lock has them"
        here = f"all {len(items)} are here, {how}" if items else "none are needed"
        yield Finding(check, Grade.OK, here)


def _check_own_keys(site: Described, items: Sequence[Item]) -> Iterator[Finding]:
    """The description is the admin's word, and machines get the copy of it that `fetch` took up last."""
    for item in items:
        own, here = local_path(item.url), site.assets / item.name
        if item.use == KEY and own.is_file() and here.is_file() and own.read_bytes() != here.read_bytes():
            message = f"{own} is another key than the one that machines get ({item.name})"
            yield Finding("files", Grade.WARN, message, "`bootstrapper fetch` takes it up if it signed the image")


def _check_readable(site: Described, items: Sequence[Item]) -> Iterator[Finding]:
    """Root sees everything, and `serve` is not root for long. Below the state directory it hands all to its user."""
    if site.account.uid == 0:
        return
    state, lock = site.state.resolve(), site.description.with_name(LOCK)
    for path, grade, why in (
        (lock, Grade.FAIL, "as whom files are compared with it"),
        (site.description, Grade.WARN, "as whom `serve` reads it again when it is saved"),
    ):
        closed = _find_closed(path.resolve(), site.account)
        if closed and not path.resolve().is_relative_to(state):
            hint = f"chmod a+{'x' if closed.is_dir() else 'r'} {closed}"
            yield Finding("files", grade, f"{closed} may not be read by the user {site.account.name}, {why}", hint)
    assets = site.assets.resolve()
    if assets.is_relative_to(state):
        return
    layout = assets / REGISTRY / LAYOUT
    places = [assets / item.name for item in items if item.kind is Kind.FILE]
    for place in (*places, layout / "blobs", layout / "repositories"):
        if closed := _find_closed(place, site.account):
            message = f"{closed} may not be read by the user {site.account.name}, as whom files are served"
            hint = f"chmod -R a+rX {assets}" if closed.is_relative_to(assets) else f"chmod a+x {closed}"
            yield Finding("files", Grade.FAIL, message, hint)
            return


def _find_closed(place: Path, account: Account) -> Path | None:
    """What keeps `account` from reading `place`: that itself, or a directory above it."""
    for path in (*reversed(place.parents), place):
        if path.exists() and not may_read(path.stat(), account):
            return path
    return None


def may_read(status: os.stat_result, account: Account) -> bool:
    """By its mode alone, without the user's other groups: those are given up. A directory must be entered."""
    shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
    wanted = 1 if stat.S_ISDIR(status.st_mode) else 4
    return bool(status.st_mode >> shift & wanted)


def _fetch_hint(site: Described) -> str:
    return (
        f"bootstrapper fetch {site.description} --assets {site.assets}, or import a bundle made where there is internet"
    )


def _check_room(site: Described, missing: list[Item]) -> Iterator[Finding]:
    free = _find_free(site.assets)
    need = sum(item.size or 0 for item in missing)
    if need > free:
        message = f"{site.assets} has {size_words(free)} free, and what is missing needs {size_words(need)}"
        yield Finding("disk", Grade.FAIL, message, "make room: bootstrapper assets prune, or a larger disk")
    free = _find_free(site.state)
    message = f"{site.state} has {size_words(free)} free"
    if free < STATE_FAIL:
        yield Finding("disk", Grade.FAIL, message, "leases and machines' history are written there: make room")
    elif free < STATE_WARN:
        yield Finding("disk", Grade.WARN, message, "leases and machines' history are written there: make room soon")
    else:
        yield Finding("disk", Grade.OK, message)


def _find_free(path: Path) -> int:
    """Of the nearest directory that there is."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
