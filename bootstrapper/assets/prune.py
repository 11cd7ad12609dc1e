"""`assets prune`: what no description needs any more, files and images, found and removed.

What any given description's catalogue or `assets.lock` names is kept, whole. Of images, first what makes them visible
goes, then what it consisted of: a registry that serves meanwhile finds an image or does not, never half of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bootstrapper.assets.fetch import PARTS
from bootstrapper.assets.holding import HELD
from bootstrapper.assets.index import FILE_NAME as INDEX
from bootstrapper.assets.item import Item, Kind
from bootstrapper.assets.manifests import split_name
from bootstrapper.assets.registry_storage import LAYOUT, REGISTRY, Storage
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock

Value = TypeVar("Value")
OWN = (HELD, INDEX, f"{REGISTRY}/{LAYOUT}")
"One of these is in a directory that was filled here, or carried here whole."
FOREIGN = ("state.db", "pki")


@dataclass
class Needed:
    """What must stay."""

    files: set[str] = field(default_factory=set)
    images: dict[str, set[str]] = field(default_factory=dict)
    "Name -> digests; of several descriptions, perhaps several."

    def add(self, items: Iterable[Item], lock: AssetLock) -> None:
        """One description's: what it names now, and what its lock has named."""
        self.files |= lock.files.keys()
        for name, digest in lock.images.items():
            self.images.setdefault(name, set()).add(digest)
        for item in items:
            if item.kind is Kind.FILE:
                self.files.add(item.name)
            else:
                digests = self.images.setdefault(item.name, set())
                digests |= {each for each in (item.proof.sha256, split_name(item.name).digest) if each}


def check_root(root: Path) -> None:
    """Raises UserError for a directory that was never filled for machines: everything in it would be waste."""
    if any((root / name).exists() for name in FOREIGN):
        message = f"{root} holds a server's state, and nothing is removed from it"
        raise UserError(message, f"give the directory of the files; is it {root / 'assets'}?")
    if not any((root / name).exists() for name in OWN):
        message = f"{root} was not filled by `fetch` or `bundle import`, and nothing is removed from it"
        raise UserError(message, "give the directory that `serve` has as --assets")


def forget_unneeded(items: Iterable[Item], lock: AssetLock) -> AssetLock:
    """The lock without what its description no longer names: an older version's hashes."""
    names = {item.name for item in items}

    def only(entries: Mapping[str, Value]) -> dict[str, Value]:
        return {name: value for name, value in entries.items() if name in names}

    return AssetLock(only(lock.files), only(lock.images), only(lock.sizes), only(lock.first_seen))


@dataclass(frozen=True, slots=True)
class Waste:
    path: Path
    size: int


def find_waste(root: Path, needed: Needed) -> tuple[Waste, ...]:
    """In the order in which it may be removed. Hidden files are the programs' own and stay, save parts of downloads
    that nobody needs. Raises UserError, OSError."""
    return (*_find_files(root, needed.files), *_find_in_registry(Storage(root / REGISTRY), needed.images))


def remove(waste: Iterable[Waste], root: Path) -> None:
    """Raises OSError. A directory that is empty then goes as well."""
    for each in waste:
        each.path.unlink(missing_ok=True)
        for parent in each.path.parents:
            if parent == root:
                break
            with suppress(OSError):
                parent.rmdir()


def _find_files(root: Path, files: set[str]) -> Iterator[Waste]:
    for path in _walk(root, root / REGISTRY):
        if str(path.relative_to(root)) not in files:
            yield Waste(path, path.lstat().st_size)
    starts = tuple(f"{hashlib.sha256(name.encode()).hexdigest()[:16]}-" for name in files)
    for path in sorted((root / PARTS).glob("*")):
        if not path.name.startswith(starts):
            yield Waste(path, path.lstat().st_size)


def _walk(directory: Path, leave: Path) -> Iterator[Path]:
    """Files and links below, without following links; nothing hidden, and nothing below `leave`."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name.startswith(".") or path == leave:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, leave)
        else:
            yield path


@dataclass
class _Kept:
    """Of the registry."""

    storage: Storage
    tags: set[tuple[str, str]] = field(default_factory=set)
    "(repository, tag)"
    manifests: set[tuple[str, str]] = field(default_factory=set)
    layers: set[tuple[str, str]] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)

    def keep(self, repository: str, digest: str) -> None:
        self.blobs.add(digest)
        self.manifests.add((repository, digest))
        manifest = self.storage.read_manifest(digest)
        if manifest is None:
            return
        for blob in manifest.blobs:
            self.blobs.add(blob.digest)
            self.layers.add((repository, blob.digest))
        for child in manifest.children:
            if self.storage.blob_path(child.blob.digest).exists():
                self.keep(repository, child.blob.digest)

    def wants(self, link: Path) -> bool:
        """Whether a link below the repositories is needed."""
        parts = link.parts
        if "_layers" in parts:
            at = parts.index("_layers")
            return ("/".join(parts[:at]), f"sha256:{parts[at + 2]}") in self.layers
        at = parts.index("_manifests")
        repository, rest = "/".join(parts[:at]), parts[at + 1 :]
        if rest[0] == "revisions":
            return (repository, f"sha256:{rest[2]}") in self.manifests
        tagged = (repository, rest[1]) in self.tags
        return tagged and (rest[2] == "current" or (repository, f"sha256:{rest[4]}") in self.manifests)


def _find_in_registry(storage: Storage, images: Mapping[str, set[str]]) -> Iterator[Waste]:
    kept = _Kept(storage)
    for name, digests in images.items():
        image = split_name(name)
        if image.tag:
            kept.tags.add((image.repository, image.tag))
        # What the tag says now is kept too: it would else stand for something that is gone.
        for digest in {*digests, *([storage.find_tag(image)] if image.tag else [])}:
            if digest:
                kept.keep(image.repository, digest)
    repositories = storage.root / LAYOUT / "repositories"
    links = [path for path in storage.list_links() if not kept.wants(path.relative_to(repositories))]
    for path in sorted(links, key=lambda path: ("tags" not in path.parts, str(path))):
        yield Waste(path, path.stat().st_size)
    for digest, size in storage.list_blobs():
        if digest not in kept.blobs:
            yield Waste(storage.blob_path(digest), size)
    # What a write left that was killed before its rename
    for path in sorted((storage.root / LAYOUT).rglob(".*")):
        if path.is_file() and path.suffix in (".new", ".import"):
            yield Waste(path, path.stat().st_size)
