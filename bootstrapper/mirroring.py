"""The catalogue of a description, add-ons included: what `fetch`, `serve`, `bundle` and `doctor` go by.

Part of the wiring, like `description`: the add-ons' manifests are `kube`'s, and `assets` does not see them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from bootstrapper.assets.advice import advise_items
from bootstrapper.assets.catalogue import list_items
from bootstrapper.assets.item import Item
from bootstrapper.assets.manifests import find_full_name
from bootstrapper.cluster.advice import advise
from bootstrapper.cluster.model import Cluster
from bootstrapper.description import build_context
from bootstrapper.errors import Problem
from bootstrapper.kube.manifests import render_files
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.templating import Templates, build_environment

OTHER_KINDS = ("ConfigMap", "Secret")
"What is in these is text of others, whatever its keys are called."


def build_catalogue(cluster: Cluster, templates: Templates, lock: AssetLock) -> tuple[Item, ...]:
    """Everything that `cluster` needs from `/assets` and from the registry. Raises RenderProblem."""
    context = build_context(cluster, templates, "", lock)
    return list_items(context, find_addon_images(cluster, templates))


def list_advice(cluster: Cluster, templates: Templates, lock: AssetLock, today: date) -> tuple[Problem, ...]:
    """All advice about a description, its files and its images. Raises RenderProblem."""
    items = build_catalogue(cluster, templates, lock)
    return (*advise(cluster, today), *advise_items(items, cluster), *advise_addon_images(cluster, templates))


def find_addon_images(cluster: Cluster, templates: Templates) -> tuple[str, ...]:
    """The images that the add-ons' objects name, each once, with their registry's host and a tag or digest."""
    found = (find_full_name(written) for _, written in _list_images(cluster, templates))
    return tuple(dict.fromkeys(name for name in found if name is not None))


def advise_addon_images(cluster: Cluster, templates: Templates) -> tuple[Problem, ...]:
    """One piece of advice for each image that an add-on names in a way that keeps it from being mirrored."""
    if not cluster.registry.serve:
        return ()
    bad = dict.fromkeys(each for each in _list_images(cluster, templates) if find_full_name(each[1]) is None)
    return tuple(_advise(cluster, file, written) for file, written in bad)


def _advise(cluster: Cluster, file: str, written: str) -> Problem:
    addon = file.split("/")[1]
    path = f"addons[{cluster.addons.index(addon)}]" if addon in cluster.addons else "addons"
    line = cluster.lines.get(path, cluster.lines.get("addons", 0))
    tagged = find_full_name(f"{written}:TAG") is not None
    why = "it has neither tag nor digest, and `latest` is another image every week" if tagged else "it is no full name"
    message = f"templates/{file} names the image {written!r}, which is not mirrored and no machine can pull: {why}"
    shape = f"write {written}:TAG or {written}@sha256:DIGEST" if tagged else (
        "write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST, such as docker.io/library/nginx:1.27"
    )  # fmt: skip
    return Problem(line, path, message, shape, cluster.file)


def _list_images(cluster: Cluster, templates: Templates) -> Iterator[tuple[str, str]]:
    """(template, image as it is written there)"""
    for file, objects in render_files(build_environment(templates), cluster):
        for each in objects:
            if each["kind"] not in OTHER_KINDS:
                yield from ((file, image) for image in _find_images(each))


def _find_images(value: object) -> Iterator[str]:
    """Every value of a key `image`, however deep; of a volume's (`image: {reference: …}`) as well."""
    if isinstance(value, list):
        for each in value:
            yield from _find_images(each)
    elif isinstance(value, dict):
        own = value.get("image")
        own = own.get("reference") if isinstance(own, dict) else own
        if isinstance(own, str) and own:
            yield own
        for each in value.values():
            yield from _find_images(each)
