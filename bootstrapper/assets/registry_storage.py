"""The registry's storage on disk, as the distribution registry lays it out (registry/storage/paths.go, 2.x and 3.x).

Written here and not by the registry, because it must be whole at any moment: the registry writes manifests and links in
place, and a kill would leave half of one that it takes for whole ever after. Here every file comes by a rename, blobs
first, and an image's tag, which alone makes it visible, last. Nothing is locked: the serving registry only reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bootstrapper.assets.hashing import hash_file
from bootstrapper.assets.manifests import Blob, ImageName, Manifest, digest_of, parse_manifest
from bootstrapper.assets.writing import READABLE, make_directories, put_in_place, write_atomically
from bootstrapper.errors import UserError

REGISTRY = "registry"
"Below the assets directory."
LAYOUT = "docker/registry/v2"


@dataclass(frozen=True, slots=True)
class Storage:
    root: Path
    "`registry` below the assets directory."

    # -- reading --------------------------------------------------------------
    def blob_path(self, digest: str) -> Path:
        value = digest.removeprefix("sha256:")
        return self.root / LAYOUT / "blobs" / "sha256" / value[:2] / value / "data"

    def has_blob(self, blob: Blob) -> bool:
        """By name and size; what is in it is `hash_blob`'s to say."""
        try:
            return self.blob_path(blob.digest).stat().st_size == blob.size
        except OSError:
            return False

    def hash_blob(self, digest: str) -> bool:
        """Whether what is kept under `digest` is that. Raises OSError."""
        return f"sha256:{hash_file(self.blob_path(digest))['sha256']}" == digest

    def read_manifest(self, digest: str) -> Manifest | None:
        """None where it is not, or not what its name says. Manifests are small: they are hashed each time."""
        try:
            data = self.blob_path(digest).read_bytes()
        except OSError:
            return None
        return parse_manifest(data, digest) if digest_of(data) == digest else None

    def find_tag(self, name: ImageName) -> str | None:
        """The digest that a tag stands for."""
        return _read_link(self._tag(name) / "current" / "link")

    def has_revision(self, repository: str, digest: str) -> bool:
        return _read_link(self._revision(repository, digest)) == digest

    def has_layer(self, repository: str, digest: str) -> bool:
        return _read_link(self._layer(repository, digest)) == digest

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        """(digest, bytes) of every blob."""
        for path in sorted((self.root / LAYOUT / "blobs" / "sha256").glob("??/*/data")):
            yield f"sha256:{path.parent.name}", path.stat().st_size

    def list_links(self) -> Iterator[Path]:
        """Every link below the repositories: tags, revisions and layers."""
        yield from sorted((self.root / LAYOUT / "repositories").rglob("link"))

    def links_of(self, name: ImageName, manifest: Manifest) -> list[tuple[Path, str]]:
        """(path, digest) of the links that one manifest needs, in the order they are written; the tag's is not among
        them."""
        repository = name.repository
        layers = [(self._layer(repository, blob.digest), blob.digest) for blob in manifest.blobs]
        return [*layers, (self._revision(repository, manifest.digest), manifest.digest)]

    def tag_links(self, name: ImageName, digest: str) -> list[tuple[Path, str]]:
        """The link that makes an image visible by its tag comes last; none for an image named by its digest."""
        if not name.tag:
            return []
        history = self._tag(name) / "index" / "sha256" / digest.removeprefix("sha256:") / "link"
        return [(history, digest), (self._tag(name) / "current" / "link", digest)]

    # -- writing --------------------------------------------------------------
    def put_blob(self, file: Path, blob: Blob) -> None:
        """Take `file`, of the same filesystem, as `blob`. Raises UserError when it is not that, OSError."""
        path = self.blob_path(blob.digest)
        found = f"sha256:{hash_file(file)['sha256']}"
        if found != blob.digest:
            raise UserError(f"{blob.digest} is not genuine: what came is {found}", "ask another source for the image")
        make_directories(path.parent)
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        file.chmod(READABLE)
        put_in_place(file, path)

    def put_bytes(self, data: bytes) -> str:
        """A manifest; its digest."""
        digest = digest_of(data)
        path = self.blob_path(digest)
        make_directories(path.parent)
        write_atomically(path, data)
        return digest

    def link(self, name: ImageName, manifest: Manifest) -> None:
        _write_links(self.links_of(name, manifest))

    def tag(self, name: ImageName, digest: str) -> None:
        """From now on machines can pull it; everything it consists of must be here."""
        _write_links(self.tag_links(name, digest))

    # -- paths ----------------------------------------------------------------
    def _repository(self, repository: str) -> Path:
        return self.root / LAYOUT / "repositories" / repository

    def _layer(self, repository: str, digest: str) -> Path:
        return self._repository(repository) / "_layers" / "sha256" / digest.removeprefix("sha256:") / "link"

    def _revision(self, repository: str, digest: str) -> Path:
        value = digest.removeprefix("sha256:")
        return self._repository(repository) / "_manifests" / "revisions" / "sha256" / value / "link"

    def _tag(self, name: ImageName) -> Path:
        return self._repository(name.repository) / "_manifests" / "tags" / name.tag


def _read_link(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _write_links(links: list[tuple[Path, str]]) -> None:
    for path, digest in links:
        if _read_link(path) != digest:
            make_directories(path.parent)
            write_atomically(path, digest.encode())
