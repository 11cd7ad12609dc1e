"""The DNS zones of a cluster, as plain records: what the description says, never what a client calls itself.

A name from a DHCP client is not published: a machine that names itself `registry` or `wpad` would take it over. Every
record here comes from the description; machines without a name in it are `ip-10-0-0-7.dyn.DOMAIN` (`dns_dynamic`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from bootstrapper.cluster.model import Cluster, Role

ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2379, 2380
SERVER_NAMES = ("bootstrapper", "ns")
"This server's own names below the domain, unless a machine or a record has taken one."


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a zone file; names are complete, lower case, without the dot at the end."""

    name: str
    kind: str
    "`A`, `AAAA`, `PTR`, `SRV`, `NS`, `TXT`."
    data: str


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the name space that is answered here and never forwarded, not even on a miss."""

    origin: str
    records: tuple[Record, ...]
    exact: bool = False
    "Only the very name `origin` is ours; names below it are somebody else's."


def build_zones(cluster: Cluster, leased: Mapping[str, IPv4Address]) -> tuple[Zone, ...]:
    """The domain, the names outside it that the description gives, and the reverse zones of every subnet.

    `leased` gives, by MAC, the addresses of machines that have none in the file.
    """
    addresses = tuple(dict.fromkeys((*_addresses(cluster, leased), *_own_addresses(cluster))))
    inside = [record for record in addresses if _is_below(record.name, cluster.domain)]
    outside = [record for record in addresses if not _is_below(record.name, cluster.domain)]
    server = _name_server(cluster, addresses)
    forward = Zone(cluster.domain, (Record(cluster.domain, "NS", server), *inside, *_etcd_services(cluster)))
    return (forward, *_exact_zones(outside), *_reverse_zones(cluster, addresses, server))


def reverse_name(address: IPv4Address) -> str:
    return address.reverse_pointer


def reverse_origins(network: IPv4Network) -> Iterator[str]:
    """The in-addr.arpa zones that hold a network's addresses: whole octets, so a /22 has four.

    A network smaller than a /24 lies in its /24's zone when that is private space, where nobody else can have the
    rest. In public space each address is a zone of its own: its neighbours' names are not ours to deny.
    """
    if network.prefixlen > 24:
        if not network.is_private:
            yield from (address.reverse_pointer for address in network)
            return
        network = network.supernet(new_prefix=24)
    octets = max(1, -(-network.prefixlen // 8))
    for part in network.subnets(new_prefix=octets * 8):
        kept = str(part.network_address).split(".")[:octets]
        yield ".".join(reversed(kept)) + ".in-addr.arpa"


def _addresses(cluster: Cluster, leased: Mapping[str, IPv4Address]) -> Iterator[Record]:
    """Every name with an address that the description gives, the ones that name an address best first."""
    for machine in cluster.machines:
        address = machine.ip or next((leased[mac] for mac in machine.macs if mac in leased), None)
        if address is not None:
            yield Record(cluster.fqdn(machine).lower(), "A", str(address))
    for address in _api_addresses(cluster):
        yield Record(_complete(cluster.kubernetes.api.host, cluster.domain), "A", str(address))
    for name, address in cluster.network.dns.records.items():
        full = name[:-1] if name.endswith(".") else f"{name}.{cluster.domain}"
        yield Record(full.lower(), "A", str(address))


def _own_addresses(cluster: Cluster) -> Iterator[Record]:
    taken = {cluster.fqdn(machine).lower() for machine in cluster.machines}
    taken |= {f"{name}.{cluster.domain}".lower() for name in cluster.network.dns.records}
    for name in SERVER_NAMES:
        full = f"{name}.{cluster.domain}".lower()
        if full not in taken:
            yield Record(full, "A", str(cluster.network.bootstrapper))


def _api_addresses(cluster: Cluster) -> tuple[IPv4Address, ...]:
    """The virtual address, or the masters' own: one of them, or all, behind a balancer on every node."""
    vip = cluster.kubernetes.api.vip
    if vip is not None:
        return (vip,)
    return tuple(machine.ip for machine in cluster.with_role(Role.MASTER) if machine.ip is not None)


def _etcd_services(cluster: Cluster) -> Iterator[Record]:
    """What etcd's `--discovery-srv` asks for, TLS only: these records say who belongs to the cluster."""
    ports = {"_etcd-server-ssl._tcp": ETCD_PEER_PORT, "_etcd-client-ssl._tcp": ETCD_CLIENT_PORT}
    for service, port in ports.items():
        for machine in cluster.with_role(Role.ETCD):
            yield Record(f"{service}.{cluster.domain}", "SRV", f"0 0 {port} {cluster.fqdn(machine).lower()}")


def _name_server(cluster: Cluster, addresses: Iterable[Record]) -> str:
    """The name in NS and SOA records: the one of ours that leads here."""
    here = str(cluster.network.bootstrapper)
    wanted = [f"{name}.{cluster.domain}".lower() for name in SERVER_NAMES]
    found = {record.name for record in addresses if record.data == here}
    return next((name for name in wanted if name in found), next(iter(sorted(found)), wanted[0]))


def _exact_zones(records: Iterable[Record]) -> Iterator[Zone]:
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    for name, group in by_name.items():
        yield Zone(name, tuple(group), exact=True)


def _reverse_zones(cluster: Cluster, addresses: Iterable[Record], server: str) -> Iterator[Zone]:
    names: dict[str, str] = {}
    for record in addresses:
        names.setdefault(reverse_name(IPv4Address(record.data)), record.name)
    origins = {origin: None for subnet in cluster.network.subnets for origin in reverse_origins(subnet.network)}
    grouped: dict[str, list[Record]] = {origin: [Record(origin, "NS", server)] for origin in origins}
    for pointer, name in names.items():
        origin = _find_origin(pointer, grouped)
        if origin is not None:
            grouped[origin].append(Record(pointer, "PTR", name))
    for origin, records in grouped.items():
        yield Zone(origin, tuple(records))


def _find_origin(name: str, origins: Mapping[str, object]) -> str | None:
    while name not in origins:
        _, dot, name = name.partition(".")
        if not dot:
            return None
    return name


def _complete(name: str, domain: str) -> str:
    """`api.host` is complete; one without any dot is below the domain."""
    name = name.rstrip(".").lower()
    return name if "." in name else f"{name}.{domain}"


def _is_below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")
