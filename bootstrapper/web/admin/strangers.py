"""Machines that asked and are not in the description: the list, and the lines that would put one into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from bootstrapper.boot.diagnosis import Diagnosis, diagnose_stranger
from bootstrapper.boot.firmware import find_arch
from bootstrapper.boot.rules_system import Lookalikes
from bootstrapper.cluster.fields import Expected, parse_mac
from bootstrapper.cluster.model import Cluster, Role
from bootstrapper.state.store import Sighting
from bootstrapper.web.admin.faults import Conflict, Malformed, NotFound, Unfit
from bootstrapper.web.admin.lines import add_machine, write_machine
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.rack import show_diagnosis
from bootstrapper.web.admin.words import clean

FIXED = frozenset({Role.ETCD, Role.MASTER, Role.CEPH_MON})
"Roles whose machines are found by address, so that it may not change."
AUTO = "auto"


class Strangers:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def list(self) -> list[dict[str, Any]]:
        """The latest seen first; without those that came into the description since."""
        cluster = self._parts.cluster()
        seen = [each for each in self._parts.store.load_sightings() if each.mac not in cluster.by_mac]
        lookalikes = Lookalikes(cluster.machines)
        return [
            self._show(each, host, diagnose_stranger(each, lookalikes, cluster.unknown_machines))
            for each, host in zip(seen, name_hosts(cluster), strict=False)
        ]

    def _show(self, seen: Sighting, host: str, found: Diagnosis | None) -> dict[str, Any]:
        return {
            "mac": seen.mac,
            "vendor": clean(seen.vendor, 100),
            "uuid": clean(seen.uuid, 36),
            "arch": find_arch(seen.arch),
            "firmware": clean(seen.arch, 60),
            "address": clean(seen.address, 45),
            "vendor_class": clean(seen.vendor_class, 64),
            "host_name": clean(seen.host_name, 64),
            "first_at": seen.first_at,
            "last_at": seen.last_at,
            "count": seen.count,
            "lines": write_machine(seen.mac, host, ("worker",), ""),
            "diagnosis": show_diagnosis(found) if found else None,
        }

    def forget(self, mac: str) -> dict[str, Any]:
        wanted = read_mac(mac)
        if not any(each.mac == wanted for each in self._parts.store.load_sightings()):
            raise NotFound(f"no unknown machine {wanted} was seen")
        self._parts.store.delete_sighting(wanted)
        return {"mac": wanted}

    def write(self, mac: str, host: str, roles: Sequence[str], ip: str) -> str:
        """The lines; whether they may stand there, the check says. A MAC that was never seen is as good."""
        cluster, wanted = self._parts.cluster(), read_mac(mac)
        # An approved one is a member already, and the file does not name it.
        if wanted in cluster.by_mac and not self._parts.store.find_history(wanted).approved:
            raise Conflict(f"{wanted} is in the description already, as {cluster.by_mac[wanted].host}")
        names = tuple(roles) or (Role.WORKER.value,)
        if len(names) > len(Role) or any(len(each) > MOST_CHARACTERS for each in (*names, host)):
            raise Malformed("the host name or a role is too long")
        if ip == AUTO or (not ip and FIXED & set(names)):
            ip = str(find_free_address(cluster))
        elif ip:
            try:
                ip = str(IPv4Address(ip))
            except AddressValueError as error:
                raise Malformed(f"ip: {error}", "as in 10.10.14.20, or `auto`") from None
        return write_machine(wanted, host or next(name_hosts(cluster)), names, ip)

    def insert(self, text: str, lines: str) -> str:
        return add_machine(text, lines)


MOST_CHARACTERS = 64


def read_mac(text: str) -> str:
    try:
        return parse_mac(text)
    except Expected as error:
        raise Malformed(f"{clean(text, 60)!r} is not a MAC", f"expected {error.expectation}") from None


def name_hosts(cluster: Cluster) -> Iterator[str]:
    """`node5`, `node6`, ...: those that are free."""
    number = len(cluster.machines)
    while True:
        number += 1
        if f"node{number}" not in cluster.by_host:
            yield f"node{number}"


def find_free_address(cluster: Cluster) -> IPv4Address:
    """The first on our own link that nobody has by the description, after those that machines have. Raises Unfit."""
    network = cluster.network
    taken = {network.bootstrapper, *network.link.routers, *network.dns.records.values()}
    taken |= {machine.ip for machine in cluster.machines if machine.ip}
    if cluster.kubernetes.api.vip:
        taken.add(cluster.kubernetes.api.vip)
    pool = network.link.range
    mine = [machine.ip for machine in cluster.machines if machine.ip and machine.ip in network.link.network]
    first = int(max(mine, default=network.link.network.network_address)) + 1
    size = network.link.network.num_addresses
    start = int(network.link.network.network_address)
    for step in range(min(size, 1 << 16)):
        offset = (first - start + step) % size
        address = IPv4Address(start + offset)
        if 0 < offset < size - 1 and address not in taken and (pool is None or address not in pool):
            return address
    raise Unfit(f"no address of {network.link.network} is free", "give one with `ip`")
