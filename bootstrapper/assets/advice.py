"""Advice about what machines download: registries that the mirror leaves out, and files that nobody has proven yet."""

from __future__ import annotations

from collections.abc import Sequence

from bootstrapper.assets.item import Item, Kind
from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import Problem
from bootstrapper.nodeconfig.asset_lock import FILE_NAME

SHOWN = 3


def advise_items(items: Sequence[Item], cluster: Cluster) -> tuple[Problem, ...]:
    """For `check` and the editor; `items` are the catalogue of `cluster`."""
    return (*_advise_registries(items, cluster), *_advise_hashes(items, cluster))


def _advise_registries(items: Sequence[Item], cluster: Cluster) -> list[Problem]:
    wanted: dict[str, list[str]] = {}
    for item in items:
        if item.kind is Kind.IMAGE:
            wanted.setdefault(item.name.partition("/")[0], []).append(item.name)
    return [
        Problem(
            cluster.lines.get("registry.mirror", 0),
            "registry.mirror",
            f"{registry} is not in it, and machines pull {_name_some(images)}",
            f"add {registry}",
            cluster.file,
        )
        for registry, images in wanted.items()
        if registry not in cluster.registry.mirror
    ]


def _advise_hashes(items: Sequence[Item], cluster: Cluster) -> list[Problem]:
    """One line for all: each is proven by `fetch`, and no machine is installed before it is."""
    unknown = [
        item.name for item in items if item.kind is Kind.FILE and item.use == "program" and not item.proof.sha256
    ]
    if not unknown:
        return []
    words = "1 file has no hash" if len(unknown) == 1 else f"{len(unknown)} files have no hash"
    names = [name.rpartition("/")[2] for name in unknown]
    message = f"{words} in {FILE_NAME} yet ({_name_some(names)}), and nothing is run unproven"
    return [Problem(0, "", message, "`bootstrapper fetch` gets them and writes their hashes down", cluster.file)]


def _name_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
