"""Labels that kubelets may not set on their own Node: a role's, and others of Kubernetes' own prefixes.

Applied as ours, so that a label that the description no longer has goes away by itself, and nobody else's is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bootstrapper.cluster.model import Machine
from bootstrapper.kube.client import MANAGER, Object
from bootstrapper.kube.nodes import name_of
from bootstrapper.nodeconfig.node_labels import split_labels


def plan_labels(nodes: Iterable[Object], by_host: Mapping[str, Machine]) -> Iterator[Object]:
    """What to apply: for each node whose labels of ours are not those of its machine."""
    for node in nodes:
        machine = by_host.get(name_of(node))
        if machine is None:
            continue
        _, wanted = split_labels(machine)
        there = node["metadata"].get("labels") or {}
        if any(there.get(key) != value for key, value in wanted.items()) or find_ours(node) - set(wanted):
            yield build_labels(node, wanted)


def build_labels(node: Mapping[str, Any], labels: Mapping[str, str]) -> Object:
    # The uid: without it, labels of a Node that was just deleted would make a new one.
    metadata = {"name": name_of(node), "uid": node["metadata"]["uid"], "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def find_ours(node: Mapping[str, Any]) -> set[str]:
    """The labels that the API keeps as set by us."""
    found: set[str] = set()
    for entry in node["metadata"].get("managedFields") or ():
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply":
            fields = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:labels", {})
            found.update(key.removeprefix("f:") for key in fields if key.startswith("f:"))
    return found
