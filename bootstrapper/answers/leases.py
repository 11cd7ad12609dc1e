"""All leases in memory: one pool per subnet of the description, built from what the store kept.

Nothing here writes to disk: a method that changes what must survive a restart returns the Lease to save, and the
caller saves it before it tells the client (design.md rule 4). Reservations (machines with `ip`) have no lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from bootstrapper.answers.lease import Lease, LeaseState
from bootstrapper.answers.pools import Binding, Limits, Pool
from bootstrapper.cluster.model import Cluster, Subnet

__all__ = ["Binding", "Lease", "LeaseState", "LeaseTable", "Limits", "Pool", "Usage"]


class Usage(NamedTuple):
    """How full a subnet's range is."""

    size: int
    bound: int
    "Leases in force or kept for a known machine."
    offered: int
    declined: int


class LeaseTable:
    """Give it the stored leases, then a description (`configure`); it knows no address before that."""

    def __init__(self, leases: Iterable[Lease] = (), limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._pools: dict[IPv4Network, Pool] = {}
        self._homeless = list(leases)
        "Leases outside every present range: kept, in case the description comes back to it."
        self._keep: set[str] = set()
        self._taken: set[int] = set()

    def configure(self, cluster: Cluster) -> None:
        """Take up a description. Leases stay; offers not yet taken up are forgotten if the subnets changed."""
        taken = set(_addresses_in_use(cluster))
        keep = {machine.mac for machine in cluster.machines if machine.ip is None}
        subnets = cluster.network.subnets
        if taken != self._taken or tuple(pool.subnet for pool in self._pools.values()) != subnets:
            self._taken = taken
            self._rebuild(subnets)
        gone = self._keep - keep
        self._keep.clear()
        self._keep |= keep
        for pool in self._pools.values():
            for mac in gone:
                pool.let_go(mac)

    def pool(self, subnet: Subnet) -> Pool:
        return self._pools[subnet.network]

    def find(self, mac: str) -> list[Lease]:
        """The leases of a MAC, at most one per subnet; for a machine of the description, ask with its first MAC."""
        bindings = [pool.by_mac[mac] for pool in self._pools.values() if mac in pool.by_mac]
        return [lease for binding in bindings if (lease := binding.lease()) is not None]

    def find_by_address(self, address: IPv4Address) -> Lease | None:
        number = int(address)
        for pool in self._pools.values():
            binding = pool.by_number.get(number)
            if binding is not None:
                return binding.lease()
        return None

    def leases(self) -> Iterator[Lease]:
        """Every lease, also those that have expired and those outside the present ranges."""
        for pool in self._pools.values():
            yield from pool.leases()
        yield from self._homeless

    def usage(self, subnet: Subnet, now: float) -> Usage:
        pool = self._pools[subnet.network]
        bound = declined = 0
        for lease in pool.leases():
            if lease.expires_at > now or lease.mac in self._keep:
                declined += lease.state is LeaseState.DECLINED
                bound += lease.state is not LeaseState.DECLINED
        return Usage(max(0, pool.last - pool.first + 1), bound, pool.held, declined)

    def candidates(self, subnet: Subnet, count: int, now: float) -> list[IPv4Address]:
        """Up to `count` addresses to probe now, so that no offer has to wait for a probe."""
        return [IPv4Address(number) for number in self._pools[subnet.network].candidates(count, now)]

    def mark_probed(self, address: IPv4Address, at: float, in_use: bool) -> Lease | None:
        """A probe's result; the Lease to save when a stranger has the address."""
        number = int(address)
        for pool in self._pools.values():
            if pool.first <= number <= pool.last:
                binding = pool.mark_probed(number, at, in_use)
                return binding.lease() if binding is not None else None
        return None

    def forget(self, mac: str) -> list[Lease]:
        """An admin had `mac` forgotten. Returns the leases that are gone, to be deleted once more: they may have been
        on their way to the disk."""
        gone = [lease for pool in self._pools.values() if (lease := pool.forget(mac)) is not None]
        gone += [lease for lease in self._homeless if lease.mac == mac]
        self._homeless = [lease for lease in self._homeless if lease.mac != mac]
        return gone

    def move(self, mac: str, new_mac: str) -> list[Lease]:
        """`mac`'s machine is `new_mac` from now on. Returns its leases, to be saved again."""
        moved = [lease for pool in self._pools.values() if (lease := pool.move(mac, new_mac)) is not None]
        homeless = [Lease(each.address, new_mac, each.expires_at, each.state) for each in self._of(mac)]
        self._homeless = [lease for lease in self._homeless if lease.mac not in (mac, new_mac)] + homeless
        return moved + homeless

    def _of(self, mac: str) -> list[Lease]:
        return [lease for lease in self._homeless if lease.mac == mac]

    def shift(self, seconds: float) -> list[Lease]:
        """The wall clock was set by `seconds`: every lease moves with it, for the client counts its time from when it
        got the lease. Returns all leases, to be saved again."""
        for pool in self._pools.values():
            pool.shift(seconds)
        self._homeless = [
            Lease(lease.address, lease.mac, lease.expires_at + seconds, lease.state) for lease in self._homeless
        ]
        return list(self.leases())

    def _rebuild(self, subnets: tuple[Subnet, ...]) -> None:
        # The latest lease of a MAC wins where a store holds two in one subnet.
        leases = sorted(self.leases(), key=lambda lease: -lease.expires_at)
        self._pools = {subnet.network: Pool(subnet, self._taken, self._keep, self._limits) for subnet in subnets}
        self._homeless = [lease for lease in leases if not any(pool.put(lease) for pool in self._pools.values())]


def _addresses_in_use(cluster: Cluster) -> Iterator[int]:
    """Addresses that are never given out from a range."""
    network = cluster.network
    yield int(network.bootstrapper)
    for subnet in network.subnets:
        yield from map(int, (*subnet.routers, subnet.network.network_address, subnet.network.broadcast_address))
    if cluster.kubernetes.api.vip is not None:
        yield int(cluster.kubernetes.api.vip)
    yield from (int(address) for address in network.dns.records.values())
    yield from (int(machine.ip) for machine in cluster.machines if machine.ip is not None)
