"""Whose address a request comes from, for what is told of it. It proves nothing: addresses are easily taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.state.store import Store


class Senders:
    def __init__(self, cluster: Callable[[], Cluster], store: Store) -> None:
        self._cluster = cluster
        self._store = store
        self._fixed: tuple[Cluster, Mapping[IPv4Address, Machine]] | None = None

    def find(self, source: str) -> Machine | None:
        """The machine of the description whose address this is, by its `ip` or by its lease."""
        try:
            address = IPv4Address(source)
        except AddressValueError:
            return None
        cluster = self._cluster()
        machine = self._list_fixed(cluster).get(address)
        if machine is None:
            mac = self._store.find_holder(address)
            machine = cluster.by_mac.get(mac) if mac else None
        return machine

    def _list_fixed(self, cluster: Cluster) -> Mapping[IPv4Address, Machine]:
        if self._fixed is None or self._fixed[0] is not cluster:
            self._fixed = cluster, {machine.ip: machine for machine in cluster.machines if machine.ip is not None}
        return self._fixed[1]
