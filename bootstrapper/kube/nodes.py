"""Node objects, as read: which are Ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from bootstrapper.kube.client import Object

NODES = "/api/v1/nodes"


def name_of(node: Mapping[str, Any]) -> str:
    return str(node["metadata"]["name"])


def is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def explain_readiness(node: Mapping[str, Any]) -> str:
    """What its kubelet gives as the reason; empty when it says nothing."""
    conditions = node.get("status", {}).get("conditions") or ()
    found: Mapping[str, Any] = next((each for each in conditions if each.get("type") == "Ready"), {})
    text = str(found.get("message") or found.get("reason") or "")
    return "".join(char if char.isprintable() else " " for char in text[:300])


def find_ready(nodes: Iterable[Object]) -> frozenset[str]:
    return frozenset(name_of(node) for node in nodes if is_ready(node))


def find_address(node: Mapping[str, Any]) -> IPv4Address | None:
    """The first IPv4 InternalIP."""
    for each in node.get("status", {}).get("addresses") or ():
        if each.get("type") == "InternalIP":
            try:
                return IPv4Address(each.get("address", ""))
            except AddressValueError:
                continue
    return None
