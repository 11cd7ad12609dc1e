"""An assets directory with every file and image that a description needs, their contents made up."""

from __future__ import annotations

import hashlib
from pathlib import Path

from oci_layout import make_layout, store_layout

from bootstrapper.assets.item import Kind
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import AssetLock, write_lock


def fill(description: Path, assets: Path, layouts: Path, repeat: int = 1) -> AssetLock:
    """Files of `repeat` times their own name, and assets.lock beside `description`."""
    cluster = load(description.read_text(), str(description))
    files, images = {}, {}
    for number, item in enumerate(build_catalogue(cluster, load_templates(None), AssetLock())):
        if item.kind is Kind.FILE:
            path = assets / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            content = item.name.encode() * repeat
            path.write_bytes(content)
            files[item.name] = hashlib.sha256(content).hexdigest()
        else:
            layout = layouts / str(number)
            images[item.name] = make_layout(layout, item.name)
            store_layout(Storage(assets / REGISTRY), item.name, layout, sparse=True)
    lock = AssetLock(files=files, images=images)
    (description.parent / "assets.lock").write_text(write_lock(lock))
    return lock
