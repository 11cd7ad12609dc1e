"""`bundle import`: all of a bundle proven, then put in place by renames; tags, lock and description last.

What comes is written to `.import/` of the assets directory (the same filesystem, never served) under its hash. Until
every file is there and right, nothing of the rack changes. A kill leaves the staged files: the next run goes on.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bootstrapper.assets.bundle_keys import verify
from bootstrapper.assets.bundle_manifest import ASSETS, DESCRIPTION, LOCK, Entry, Manifest, parse_manifest
from bootstrapper.assets.bundle_source import AGAIN, Bundle, open_bundle
from bootstrapper.assets.hashing import hash_file
from bootstrapper.assets.index import FILE_NAME as INDEX
from bootstrapper.assets.index import load_index
from bootstrapper.assets.registry_storage import REGISTRY
from bootstrapper.assets.writing import READABLE, make_directories, put_in_place
from bootstrapper.errors import UserError

STAGING = ".import"
BLOCK = 1 << 20
SPARE = 64 << 20
"Bytes that must stay free: a full disk stops more than this."


@dataclass(frozen=True)
class Target:
    assets: Path
    description: Path
    "Where the description goes; `assets.lock` goes beside it."
    trusted: frozenset[str]
    "Fingerprints."
    check: Callable[[bytes, bytes], None]
    "Told the description and the lock that would come into force; raises UserError when they cannot."

    def place_of(self, entry: Entry) -> Path:
        if entry.path == DESCRIPTION:
            return self.description
        if entry.path == LOCK:
            return self.description.with_name(LOCK)
        return self.assets / entry.path.removeprefix(ASSETS)

    @property
    def staging(self) -> Path:
        return self.assets / STAGING


@dataclass(frozen=True, slots=True)
class Imported:
    manifest: Manifest
    signer: str
    fresh: int
    "Files that were put in place."
    bytes: int
    kept: Path | None
    "Where the description that was there before is kept, if it was another."


def import_bundle(path: Path, target: Target, tell: Callable[[int], None]) -> Imported:
    """The caller holds the assets directory. `tell` hears of bytes read. Raises UserError; nothing was changed then."""
    try:
        with open_bundle(path) as bundle:
            signer = verify(bundle.manifest, bundle.signature, target.trusted)
            manifest = parse_manifest(bundle.manifest, str(path))
            seen: dict[str, os.stat_result] = {}
            needed = _find_needed(manifest, target, seen)
            _stage(bundle, manifest, needed, target, tell)
        target.check(_read(manifest, target, DESCRIPTION), _read(manifest, target, LOCK))
        kept = _put_in_place(needed, target, seen)
        _index(manifest, target, seen)
        shutil.rmtree(target.staging, ignore_errors=True)
        return Imported(manifest, signer, len(needed), sum(entry.size for entry in needed), kept)
    except OSError as error:
        raise _explain(error, target) from error


def _find_needed(manifest: Manifest, target: Target, seen: dict[str, os.stat_result]) -> list[Entry]:
    """What is not in its place already; `seen` gets what is, as it was before it was hashed. Raises UserError for what
    this bundle should build on and is not here."""
    needed = [entry for entry in manifest.entries if not _is_there(target.place_of(entry), entry, seen)]
    lacking = [entry.path for entry in needed if entry.sha256 not in manifest.carried]
    if lacking:
        shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        raise UserError(
            f"this bundle holds only what has changed, and what it builds on is not here: {shown}",
            f"import first the bundle whose manifest has the SHA-256 {manifest.since[:16]}…, or make a whole one",
        )
    return needed


def _is_there(path: Path, entry: Entry, seen: dict[str, os.stat_result]) -> bool:
    try:
        status = seen[entry.path] = path.lstat()
    except OSError:
        return False
    same = stat.S_ISREG(status.st_mode) and status.st_size == entry.size
    return same and hash_file(path)["sha256"] == entry.sha256


def _stage(
    bundle: Bundle, manifest: Manifest, needed: Sequence[Entry], target: Target, tell: Callable[[int], None]
) -> None:
    """Every needed file under its hash in the staging directory. Raises UserError at the first that is not right."""
    make_directories(target.assets)
    target.staging.mkdir(mode=0o700, exist_ok=True)
    entries = {entry.sha256: entry for entry in needed}
    wanted = {sha256 for sha256, entry in entries.items() if not _is_staged(target, entry)}
    _check_room(target, (entries[sha256].size for sha256 in wanted))
    sizes = {entry.sha256: (entry.size, entry.path) for entry in manifest.entries}
    for sha256, size, opened in bundle.contents:
        if sha256 not in manifest.carried:
            raise UserError(f"the bundle holds blobs/{sha256}, which its manifest does not name", AGAIN)
        expected, path = sizes[sha256]
        if size != expected:
            raise UserError(f"{path} is not genuine: it has {size} bytes, the manifest says {expected}", AGAIN)
        if sha256 in wanted:
            _take(opened, entries[sha256], target, tell)
            wanted.discard(sha256)
        else:
            tell(size)
    if wanted:
        names = ", ".join(sorted(entries[sha256].path for sha256 in wanted)[:3])
        raise UserError(f"the bundle ends before {names}", AGAIN)


def _take(opened: IO[bytes], entry: Entry, target: Target, tell: Callable[[int], None]) -> None:
    part = target.staging / f"{entry.sha256}.part"
    digest = hashlib.sha256()
    left = entry.size
    with part.open("wb") as writing:
        while left:
            block = opened.read(min(BLOCK, left))
            if not block:
                raise UserError(f"the bundle ends within {entry.path}", AGAIN)
            digest.update(block)
            writing.write(block)
            left -= len(block)
            tell(len(block))
        writing.flush()
        os.fsync(writing.fileno())
    if digest.hexdigest() != entry.sha256:
        part.unlink()
        raise UserError(f"{entry.path} was changed: expected sha256 {entry.sha256}, found {digest.hexdigest()}", AGAIN)
    part.chmod(READABLE)
    put_in_place(part, target.staging / entry.sha256)


def _put_in_place(needed: Sequence[Entry], target: Target, seen: dict[str, os.stat_result]) -> Path | None:
    kept = None
    for entry in sorted(needed, key=_order):
        place = target.place_of(entry)
        make_directories(place.parent)
        own = place.stat() if entry.path in (DESCRIPTION, LOCK) and place.exists() else None
        if entry.path == DESCRIPTION and own is not None:
            kept = place.with_name(f"{place.name}.before")
            _put_copy(place, kept, own)
        # A second name, then a rename: what is staged stays for the next run until all is done.
        seen[entry.path] = (target.staging / entry.sha256).lstat()
        _put_copy(target.staging / entry.sha256, place, own)
    return kept


def _index(manifest: Manifest, target: Target, seen: Mapping[str, os.stat_result]) -> None:
    """What was proven just now need not be hashed again by `serve` and `fetch`; what was changed since must be."""
    index = load_index(target.assets / INDEX)
    for entry in manifest.entries:
        name = entry.path.removeprefix(ASSETS)
        if entry.path not in (DESCRIPTION, LOCK) and not name.startswith(f"{REGISTRY}/"):
            index.put(target.assets, name, entry.sha256, seen[entry.path])
    index.save()


def _put_copy(source: Path, place: Path, like: os.stat_result | None) -> None:
    """Under another name as well, at once and whole; by a copy where that is another filesystem. `like`: whose owner
    and permissions it gets, since an admin who had closed the old file would not have the new one open."""
    fresh = place.with_name(f".{place.name}.import")
    fresh.unlink(missing_ok=True)
    try:
        os.link(source, fresh)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        with source.open("rb") as reading, fresh.open("wb") as writing:
            shutil.copyfileobj(reading, writing, BLOCK)
            writing.flush()
            os.fchmod(writing.fileno(), READABLE)
            os.fsync(writing.fileno())
    if like is not None:
        if fresh.stat().st_mode != like.st_mode:
            fresh.chmod(stat.S_IMODE(like.st_mode))
        with suppress(PermissionError):  # whoever is not root keeps it as its own
            os.chown(fresh, like.st_uid, like.st_gid)
    put_in_place(fresh, place)


def _order(entry: Entry) -> tuple[int, str]:
    """Blobs and files, then what links them, then what makes an image visible, then the lock, then the description."""
    for number, end in ((4, DESCRIPTION), (3, LOCK), (2, "/current/link"), (1, "/link")):
        if entry.path.endswith(end):
            return number, entry.path
    return 0, entry.path


def _read(manifest: Manifest, target: Target, path: str) -> bytes:
    """A small file of the bundle, staged or in place."""
    entry = next(each for each in manifest.entries if each.path == path)
    staged = target.staging / entry.sha256
    return (staged if staged.exists() else target.place_of(entry)).read_bytes()


def _is_staged(target: Target, entry: Entry) -> bool:
    """Named by its hash only once it was proven and on the disk."""
    try:
        return (target.staging / entry.sha256).stat().st_size == entry.size
    except OSError:
        return False


def _check_room(target: Target, sizes: Iterable[int]) -> None:
    need, free = sum(sizes), shutil.disk_usage(target.staging).free
    if need + SPARE > free:
        raise UserError(
            f"{target.assets} has {free // 1_000_000} MB free, and the bundle needs {(need + SPARE) // 1_000_000} MB",
            "make room (`bootstrapper assets prune` removes what no description needs), and run it again",
        )


def _explain(error: OSError, target: Target) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk of {target.assets} is full", "make room and run it again: it goes on from there")
    return UserError(f"{error.filename or target.assets}: {error.strerror}", "see who owns it, and run it again")
