"""The catalogue of a description, add-ons included: what `fetch`, `serve`, `bundle` and `doctor` go by.

Part of the wiring, like `description`: the add-ons' manifests are `kube`'s, and `assets` does not see them.
"""

from __future__ import annotations

from bootstrapper.assets.catalogue import list_items
from bootstrapper.assets.item import Item
from bootstrapper.cluster.model import Cluster
from bootstrapper.description import build_context
from bootstrapper.kube.manifests import render_manifests
from bootstrapper.nodeconfig.asset_lock import AssetLock, is_image_name
from bootstrapper.templating import Templates, build_environment


def build_catalogue(cluster: Cluster, templates: Templates, lock: AssetLock) -> tuple[Item, ...]:
    """Everything that `cluster` needs from `/assets` and from the registry. Raises RenderProblem."""
    context = build_context(cluster, templates, "", lock)
    return list_items(context, find_addon_images(cluster, templates))


def find_addon_images(cluster: Cluster, templates: Templates) -> tuple[str, ...]:
    """The images that the add-ons' objects name, each once."""
    found = (image for each in render_manifests(build_environment(templates), cluster) for image in _images(each))
    return tuple(dict.fromkeys(image for image in found if is_image_name(image)))


def _images(value: object) -> list[str]:
    """Every value of a key `image`, however deep."""
    if isinstance(value, list):
        return [image for each in value for image in _images(each)]
    if not isinstance(value, dict):
        return []
    own = value.get("image")
    return [*([own] if isinstance(own, str) else []), *(image for each in value.values() for image in _images(each))]
