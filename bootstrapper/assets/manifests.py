"""Image manifests and indexes (OCI image-spec 1.1; Docker's schema 2, which is the same by other names). Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from bootstrapper.cluster.model import Arch
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import is_image_name
from bootstrapper.nodeconfig.roles.containerd import keep_as

INDEXES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
MOST_BYTES = 4 << 20
"Of a manifest: what registries accept (distribution-spec 1.1)."
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    "`sha256:…`"
    size: int


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest that an index names, for one platform."""

    blob: Blob
    os: str
    arch: str


@dataclass(frozen=True, slots=True)
class Manifest:
    digest: str
    size: int
    blobs: tuple[Blob, ...] = ()
    "Configuration first, then the layers; empty for an index."
    children: tuple[Child, ...] = ()
    "Empty for one platform's manifest."

    @property
    def is_index(self) -> bool:
        return not self.blobs


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image's name, taken apart: where it is kept here, and as what."""

    repository: str
    "`<upstream>/<name>`, as our registry keeps it: the part before the first `/` is the upstream's host."
    tag: str
    "Empty: by its digest only."
    digest: str = ""


def split_name(name: str) -> ImageName:
    """`docker.io/nginx:1` is `docker.io/library/nginx:1`, as container engines read it."""
    rest, _, digest = name.partition("@")
    head, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    host, _, path = f"{head}{slash}{last}".partition("/")
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return ImageName(f"{keep_as(host)}/{path}", tag, digest)


def find_full_name(written: str) -> str | None:
    """An image as a pod names it, with its registry's host, as container engines read it (distribution/reference:
    `nginx:1.27` is `docker.io/library/nginx:1.27`); None for what cannot be mirrored under one name: without tag and
    digest it is `:latest`, which is another image every week, and a host without a dot is no registry's."""
    first, slash, rest = written.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost"):
        first, rest = "docker.io", written
    if first in ("docker.io", "index.docker.io"):
        first, rest = "docker.io", rest if "/" in rest else f"library/{rest}"
    full = f"{first}/{rest}"
    return full if is_image_name(full) else None


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse_manifest(data: bytes, what: str) -> Manifest:
    """Raises UserError, naming `what`, for anything that machines could not pull by."""
    try:
        if len(data) > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES} bytes")
        document = json.loads(data)
        found = Manifest(digest_of(data), len(data), *_read(document))
        if not found.blobs and not found.children:
            raise ValueError("it names nothing")
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{what} is no image manifest or index of a kind that is known here: {error}",
            "schema 1 is long gone; copy the image with a newer tool",
        ) from error


def choose_children(index: Manifest, arches: Collection[Arch], what: str) -> tuple[Child, ...]:
    """The index's manifests for these architectures. Raises UserError when one has none."""
    chosen = tuple(each for each in index.children if each.os == "linux" and each.arch in {str(a) for a in arches})
    lacking = [arch for arch in arches if not any(each.arch == str(arch) for each in chosen)]
    if lacking:
        there = ", ".join(sorted({f"{each.os}/{each.arch}" for each in index.children})) or "nothing"
        raise UserError(
            f"{what} is not made for {', '.join(lacking)}; it is for {there}", "name another version of the image"
        )
    return chosen


def _read(document: Any) -> tuple[tuple[Blob, ...], tuple[Child, ...]]:
    if document["schemaVersion"] != 2:
        raise ValueError(f"schemaVersion is {document['schemaVersion']!r}")
    if document.get("mediaType") in INDEXES or "manifests" in document:
        return (), tuple(_child(each) for each in document["manifests"])
    layers = [each for each in document["layers"] if not each.get("urls")]
    return tuple(_blob(each) for each in (document["config"], *layers)), ()


def _child(entry: Any) -> Child:
    platform = entry.get("platform") or {}
    return Child(_blob(entry), str(platform.get("os", "")), str(platform.get("architecture", "")))


def _blob(entry: Any) -> Blob:
    digest, size = entry["digest"], entry["size"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"digest {digest!r:.100}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"size {size!r:.100}")
    return Blob(digest, size)
