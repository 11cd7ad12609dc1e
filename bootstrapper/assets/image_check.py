"""Whether an image is here, whole: tag, index, the manifests of the needed architectures and all their layers."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bootstrapper.assets.item import Item
from bootstrapper.assets.manifests import Blob, ImageName, Manifest, choose_children, split_name
from bootstrapper.assets.registry_storage import Storage
from bootstrapper.cluster.model import Arch
from bootstrapper.errors import UserError


@dataclass(frozen=True, slots=True)
class Whole:
    """An image, as far as it is here."""

    digest: str
    manifests: tuple[Manifest, ...]
    "One per platform, then the index, if it has one: the order in which they are linked."

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Everything that is kept of it, each once."""
        found = {blob.digest: blob for manifest in self.manifests for blob in manifest.blobs}
        found |= {each.digest: Blob(each.digest, each.size) for each in self.manifests}
        return tuple(found.values())

    @property
    def size(self) -> int:
        return sum(blob.size for blob in self.blobs)


def find_image_problem(storage: Storage, item: Item) -> str | None:
    """Why machines could not pull `item`; None: they can. Sizes are looked at, hashes of layers are not."""
    try:
        name = split_name(item.name)
        whole = load_whole(storage, item)
        links = [link for each in whole.manifests for link in storage.links_of(name, each)]
        for path, digest in (*links, *storage.tag_links(name, whole.digest)):
            if not path.is_file() or path.read_text().strip() != digest:
                return f"is not linked in {storage.root}"
    except (UserError, OSError) as error:
        return str(error)
    return None


def load_whole(storage: Storage, item: Item) -> Whole:
    """What is here of `item`. Raises UserError that says what is lacking, in words that go behind its name."""
    name = split_name(item.name)
    digest = name.digest or storage.find_tag(name)
    if digest is None:
        raise UserError(f"is not in {storage.root}")
    if item.proof.sha256 is not None and digest != item.proof.sha256:
        raise UserError(f"is there as {digest}, and assets.lock says {item.proof.sha256}")
    manifests = tuple(_manifests(storage, digest, item.arches, item.name))
    whole = Whole(digest, manifests)
    for blob in whole.blobs:
        if not storage.has_blob(blob):
            raise UserError(f"is not complete: {blob.digest} is missing or cut short")
    if not manifests[-1].is_index:
        problem = find_arch_problem(storage, item, manifests[-1])
        if problem is not None:
            raise UserError(problem)
    return whole


def find_arch_problem(storage: Storage, item: Item, manifest: Manifest) -> str | None:
    """An image without an index is for one architecture, which only its configuration names. Raises OSError."""
    try:
        config = json.loads(storage.blob_path(manifest.blobs[0].digest).read_bytes())
    except (ValueError, RecursionError):
        return f"has a configuration that is not JSON: {manifest.blobs[0].digest}"
    found = config.get("architecture") if isinstance(config, dict) else None
    shown = found if isinstance(found, str) and found.isalnum() else repr(found)
    lacking = [str(arch) for arch in item.arches if str(arch) != found]
    return f"is not made for {', '.join(lacking)}; it is for {shown[:40]}" if lacking else None


def link_and_tag(storage: Storage, name: ImageName, whole: Whole) -> None:
    """Make it visible; everything in `whole` is here."""
    for manifest in whole.manifests:
        storage.link(name, manifest)
    storage.tag(name, whole.digest)


def _manifests(storage: Storage, digest: str, arches: Collection[Arch], what: str) -> Iterator[Manifest]:
    manifest = storage.read_manifest(digest)
    if manifest is None:
        raise UserError(f"is not complete: its manifest {digest} is missing or damaged")
    if manifest.is_index:
        for child in choose_children(manifest, arches, what):
            found = storage.read_manifest(child.blob.digest)
            if found is None or found.is_index:
                raise UserError(f"is not complete: its manifest for {child.arch}, {child.blob.digest}, is missing")
            yield found
    yield manifest
