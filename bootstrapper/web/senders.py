"""Whose address a request comes from, for what is told of it. It proves nothing: addresses are easily taken."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.state.store import Store


class Senders:
    def __init__(self, cluster: Callable[[], Cluster], store: Store) -> None:
        self._cluster = cluster
        self._store = store

    def find(self, source: str) -> Machine | None:
        """The machine of the description whose address this is, by its `ip` or by its lease."""
        try:
            address = IPv4Address(source)
        except AddressValueError:
            return None
        cluster = self._cluster()
        machine = cluster.by_ip.get(address)
        if machine is None:
            mac = self._store.find_holder(address)
            machine = cluster.by_mac.get(mac) if mac else None
        return machine
