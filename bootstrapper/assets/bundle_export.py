"""`bundle export`: everything that a description needs, in one archive or directory, proven while it is read.

Each byte is read once: hashes come from `assets.lock` and the registry's digests, and what does not have its hash stops
the export. A bundle appears under its name, or gets its manifest, only when it is whole.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bootstrapper.assets.bundle_keys import SigningKey, sign
from bootstrapper.assets.bundle_manifest import (
    ASSETS,
    BLOBS,
    DESCRIPTION,
    LOCK,
    MANIFEST,
    SIGNATURE,
    Entry,
    Manifest,
    identify,
    parse_manifest,
    write_manifest,
)
from bootstrapper.assets.bundle_source import is_hash
from bootstrapper.assets.hashing import hash_file
from bootstrapper.assets.image_check import find_image_problem, load_whole
from bootstrapper.assets.item import Item, Kind
from bootstrapper.assets.manifests import split_name
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.assets.sizes import size_words
from bootstrapper.assets.store import find_problem
from bootstrapper.assets.writing import put_in_place, write_atomically
from bootstrapper.errors import UserError

BLOCK = 1 << 20
FETCH_HINT = "run `bootstrapper fetch` first"

Source = Path | bytes
"A file, or what is small and made up here."


@dataclass(frozen=True)
class Export:
    entries: tuple[Entry, ...]
    sources: dict[str, Source]
    "SHA-256 -> where it is."


def collect(root: Path, items: Sequence[Item], description: bytes, lock: bytes) -> Export:
    """What a bundle of `items` holds. Raises UserError that names what is missing, or has no hash yet."""
    entries: list[Entry] = []
    sources: dict[str, Source] = {}
    missing: list[str] = []

    def add(path: str, sha256: str, size: int, source: Source) -> None:
        entries.append(Entry(path, size, sha256))
        sources.setdefault(sha256, source)

    def add_text(path: str, data: bytes) -> None:
        add(path, hashlib.sha256(data).hexdigest(), len(data), data)

    storage = Storage(root / REGISTRY)
    for item in items:
        if item.kind is Kind.IMAGE:
            problem = find_image_problem(storage, item)
            problem = problem or (
                None if item.proof.sha256 or split_name(item.name).digest else "is not in assets.lock"
            )
        else:
            problem = find_problem(root, item.name)
            problem = problem or (None if item.proof.sha256 else "has no hash in assets.lock")
        if problem is not None:
            missing.append(f"{item.name} {problem}")
    if missing:
        shown = "; ".join(missing[:5]) + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(f"not everything is here: {shown}", FETCH_HINT)
    for item in items:
        if item.kind is Kind.FILE:
            file = root / item.name
            add(f"{ASSETS}{item.name}", item.proof.sha256 or "", file.stat().st_size, file)
    for path, sha256, size, source in _image_files(storage, [item for item in items if item.kind is Kind.IMAGE]):
        add(f"{ASSETS}{REGISTRY}/{path.relative_to(storage.root)}", sha256, size, source)
    add_text(LOCK, lock)
    add_text(DESCRIPTION, description)
    return Export(tuple({entry.path: entry for entry in entries}.values()), sources)


def _image_files(storage: Storage, items: Sequence[Item]) -> Iterator[tuple[Path, str, int, Source]]:
    for item in items:
        name, whole = split_name(item.name), load_whole(storage, item)
        for blob in whole.blobs:
            path = storage.blob_path(blob.digest)
            yield path, blob.digest.removeprefix("sha256:"), blob.size, path
        links = [link for manifest in whole.manifests for link in storage.links_of(name, manifest)]
        for path, digest in (*links, *storage.tag_links(name, whole.digest)):
            data = digest.encode()
            yield path, hashlib.sha256(data).hexdigest(), len(data), data


def make_manifest(export: Export, cluster: str, made_at: str, since: bytes | None, where: str = "--since") -> Manifest:
    """With `since`, an earlier manifest, what that one has listed is left out. Raises UserError, naming `where`."""
    earlier: frozenset[str] = frozenset()
    if since is not None:
        earlier = frozenset(entry.sha256 for entry in parse_manifest(since, where).entries)
    carried = frozenset(entry.sha256 for entry in export.entries) - earlier
    return Manifest(made_at, cluster, export.entries, carried, identify(since) if since is not None else "")


def check_room(target: Path, as_directory: bool, manifest: Manifest) -> None:
    """Raises UserError where a bundle of this size has no place: better now than after an hour."""
    place = target if target.is_dir() else target.parent
    if not as_directory and not place.is_dir():
        raise UserError(f"there is no directory {place}", "is the disk mounted?")
    while not place.exists():
        place = place.parent
    there = {path.name for path in (target / BLOBS).glob("*")} if as_directory else set()
    need = sum(entry.size for entry in carried_entries(manifest) if entry.sha256 not in there)
    free = shutil.disk_usage(place).free
    if need > free:
        raise UserError(
            f"{place} has {size_words(free)} free, and the bundle needs {size_words(need)}",
            "take a larger disk, or leave out what an earlier bundle had (--since)",
        )


def write_archive(
    target: Path, export: Export, manifest: Manifest, key: SigningKey, tell: Callable[[int], None]
) -> bytes:
    """The archive, whole or not at all; returns its manifest. `tell` hears of bytes. Raises UserError, OSError."""
    text = write_manifest(manifest)
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as opened, tarfile.open(fileobj=opened, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            for name, data in ((MANIFEST, text), (SIGNATURE, sign(key, text))):
                archive.addfile(_member(name, len(data)), io.BytesIO(data))
            for entry in carried_entries(manifest):
                with _open(export.sources[entry.sha256]) as source:
                    reader = _Proving(source, entry, tell)
                    archive.addfile(_member(f"{BLOBS}/{entry.sha256}", entry.size), reader)  # type: ignore[arg-type]
                    reader.finish()
            archive.close()
            opened.flush()
            os.fsync(opened.fileno())
        put_in_place(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return text


def write_directory(
    target: Path, export: Export, manifest: Manifest, key: SigningKey, tell: Callable[[int], None]
) -> bytes:
    """The same as a directory, manifest last: without one it is no bundle. Goes on where an earlier run ended."""
    text = write_manifest(manifest)
    (target / BLOBS).mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).unlink(missing_ok=True)
    # Of an earlier export: an import refuses what the manifest does not name.
    for path in (target / BLOBS).iterdir():
        if is_hash(path.name) and path.name not in manifest.carried:
            path.unlink()
    for entry in carried_entries(manifest):
        path = target / BLOBS / entry.sha256
        if _is_whole(path, entry):
            tell(entry.size)
            continue
        part = path.with_name(f".{entry.sha256}.part")
        with _open(export.sources[entry.sha256]) as source, part.open("wb") as opened:
            reader = _Proving(source, entry, tell)
            while block := reader.read(BLOCK):
                opened.write(block)
            reader.finish()
            opened.flush()
            os.fsync(opened.fileno())
        put_in_place(part, path)
    write_atomically(target / SIGNATURE, sign(key, text))
    write_atomically(target / MANIFEST, text)
    return text


def _is_whole(path: Path, entry: Entry) -> bool:
    same = path.is_file() and not path.is_symlink() and path.stat().st_size == entry.size
    return same and hash_file(path)["sha256"] == entry.sha256


def carried_entries(manifest: Manifest) -> Iterator[Entry]:
    """One entry for each thing that is carried."""
    by_hash = {entry.sha256: entry for entry in reversed(manifest.entries) if entry.sha256 in manifest.carried}
    yield from sorted(by_hash.values(), key=lambda entry: entry.path)


class _Proving:
    """A file that is what its entry says, or says that it is not."""

    def __init__(self, source: IO[bytes], entry: Entry, tell: Callable[[int], None]) -> None:
        self._source, self._entry, self._tell = source, entry, tell
        self._hash = hashlib.sha256()

    def read(self, count: int) -> bytes:
        block = self._source.read(count)
        if len(block) < count and self._source.tell() < self._entry.size:
            raise UserError(f"{self._entry.path} is shorter than it should be", FETCH_HINT)
        self._hash.update(block)
        self._tell(len(block))
        return block

    def finish(self) -> None:
        found = self._hash.hexdigest()
        if found != self._entry.sha256:
            raise UserError(
                f"{self._entry.path} is not what assets.lock says: expected sha256 {self._entry.sha256}, found {found}",
                "run `bootstrapper fetch --verify`: it is fetched again",
            )


def _open(source: Source) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Nothing of the computer it was made on: no owner, no time."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member
