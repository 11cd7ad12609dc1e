"""Container images as OCI layouts, made byte by byte: an index of one small image per platform."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from bootstrapper.assets.image_check import link_and_tag, load_whole
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.manifests import split_name
from bootstrapper.assets.registry_storage import Storage
from bootstrapper.cluster.model import Arch

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
KINDS = {
    # OCI's names, and Docker's for the same things, which most published images still bear.
    False: (f"{OCI}.index.v1+json", f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar+gzip"),
    True: (
        f"{DOCKER}.distribution.manifest.list.v2+json",
        f"{DOCKER}.distribution.manifest.v2+json",
        f"{DOCKER}.container.image.v1+json",
        f"{DOCKER}.image.rootfs.diff.tar.gzip",
    ),
}
PLATFORMS = ("linux/amd64", "linux/arm64", "windows/amd64")


def make_layout(
    directory: Path, text: str, platforms: Sequence[str] = PLATFORMS, docker: bool = False, index: bool = True
) -> str:
    """An image with one file that holds `text`; the digest of its index (of its manifest, without one)."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    index_kind, manifest_kind, config_kind, layer_kind = KINDS[docker]

    def add(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    found = []
    for platform in platforms:
        system, arch = platform.split("/")
        tar = _tar(f"{text} on {platform}")
        layer = add(gzip.compress(tar, mtime=0), layer_kind)
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]}
        config = add(json.dumps({"architecture": arch, "os": system, "rootfs": rootfs}).encode(), config_kind)
        manifest = {"schemaVersion": 2, "mediaType": manifest_kind, "config": config, "layers": [layer]}
        found.append(
            {
                **add(json.dumps(manifest).encode(), manifest_kind),
                "platform": {"os": system, "architecture": arch},
            }
        )
    top = found[0]
    if index:
        top = add(json.dumps({"schemaVersion": 2, "mediaType": index_kind, "manifests": found}).encode(), index_kind)
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(top["digest"])


def _tar(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("what")
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def store_layout(
    storage: Storage, name: str, layout: Path, arches: Sequence[Arch] = (Arch.AMD64,), sparse: bool = False
) -> Item:
    """Put a layout's image into the registry's storage, whole, under `name`; its catalogue item, locked. `sparse`: as
    `fetch` does, without the platforms that are not asked for."""
    blobs = layout / "blobs/sha256"
    top = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    item = Item(name, Kind.IMAGE, "image", f"docker://{name}", Proof(sha256=top), arches=tuple(arches))
    for path in blobs.iterdir():
        storage.put_bytes(path.read_bytes())
    image = split_name(name)
    storage.tag(image, top)
    whole = load_whole(storage, item)
    link_and_tag(storage, image, whole)
    needed = {blob.digest.removeprefix("sha256:") for blob in whole.blobs}
    for path in blobs.iterdir() if sparse else ():
        if path.name not in needed:
            storage.blob_path(path.name).unlink()
            storage.blob_path(path.name).parent.rmdir()
    return item
