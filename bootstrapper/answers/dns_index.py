"""The zones of a description, arranged for look-up by wire name.

A name is found, or is an empty non-terminal (it exists, with nothing on it: RFC 8020), or does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType

import dnslib

from bootstrapper.answers.dns_dynamic import DynamicNames, dynamic_names
from bootstrapper.answers.dns_special import special_zones
from bootstrapper.answers.zone import Zone, build_zones, reverse_origins
from bootstrapper.cluster.model import Cluster
from bootstrapper.wire import dns as wire
from bootstrapper.wire.dns_names import parents_of, parse_text

Node = Mapping[int, tuple[dnslib.RD, ...]]
"What a name has, by record type."
NOTHING: Node = MappingProxyType({})
"An empty non-terminal's records."

TTL_S = 60
NEGATIVE_S = 10
"How long a 'no' may be remembered (RFC 2308): machines appear while others wait for them."
_REFRESH_S, _RETRY_S, _EXPIRE_S = 3600, 600, 604800


@dataclass(frozen=True, slots=True)
class ZoneIndex:
    origin: bytes
    soa: dnslib.SOA
    nodes: Mapping[bytes, Node]
    wildcard: Node | None


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that is answered here."""

    zones: Mapping[bytes, ZoneIndex]
    exact: Mapping[bytes, ZoneIndex]
    dynamic: DynamicNames

    def find_zone(self, name: bytes) -> ZoneIndex | None:
        """The zone that decides about `name`; None: it is not ours."""
        found = self.exact.get(name)
        if found is not None:
            return found
        zones = self.zones
        for parent in parents_of(name):
            if parent in zones:
                return zones[parent]
        return None

    def find_node(self, zone: ZoneIndex, name: bytes) -> Node | None:
        """What `name` has; None: it does not exist."""
        node = zone.nodes.get(name)
        if node is not None:
            return node
        if zone.wildcard is not None:
            return zone.wildcard
        address = self.dynamic.find_address(name)
        if address is not None:
            return {wire.A: (dnslib.A(str(address)),)}
        pointer = self.dynamic.find_name(name)
        if pointer is not None:
            return {wire.PTR: (dnslib.PTR(pointer),)}
        return NOTHING if self.dynamic.holds_below(name) else None

    def find_addresses(self, name: bytes) -> tuple[dnslib.RD, ...]:
        """IPv4 addresses of a name of ours, for the additional section."""
        zone = self.find_zone(name)
        node = self.find_node(zone, name) if zone is not None else None
        return node.get(wire.A, ()) if node else ()


def build_names(cluster: Cluster, leased: Mapping[str, IPv4Address], serial: int) -> Names:
    """`leased`: MAC -> address, for machines that have none in the file. `serial`: the zones' (RFC 1982), rising."""
    own = build_zones(cluster, leased)
    dynamic = dynamic_names(cluster)
    server = next(record.data for record in own[0].records if record.kind == "NS")
    zones: dict[str, Zone] = {}
    for zone in (*special_zones(), *_pod_names(cluster), *own):
        zones[zone.origin.lower()] = zone
    origins = {parse_text(origin) for origin, zone in zones.items() if not zone.exact}
    below = [*origins, parse_text(dynamic.domain), *_reverse_cuts(cluster)]
    soa = dnslib.SOA(
        server, f"hostmaster.{cluster.domain}", (serial % 2**32, _REFRESH_S, _RETRY_S, _EXPIRE_S, NEGATIVE_S)
    )
    indexed = {zone: _index(zone, soa, origins, below) for zone in zones.values()}
    return Names(
        {index.origin: index for zone, index in indexed.items() if not zone.exact},
        {index.origin: index for zone, index in indexed.items() if zone.exact},
        dynamic,
    )


def _pod_names(cluster: Cluster) -> tuple[Zone, ...]:
    """Names of Services exist inside the cluster only; a node that asks for one is told so at once."""
    pods = cluster.kubernetes.dns_domain.lower()
    holds_ours = cluster.domain == pods or cluster.domain.endswith(f".{pods}")
    return () if holds_ours else (Zone(pods, ()),)


def _reverse_cuts(cluster: Cluster) -> Iterable[bytes]:
    """A reverse zone's parents exist: 10.in-addr.arpa must not deny 10.10.in-addr.arpa above our 14.10.10."""
    for subnet in cluster.network.subnets:
        for origin in reverse_origins(subnet.network):
            yield parse_text(origin)


def _index(zone: Zone, soa: dnslib.SOA, origins: set[bytes], below: Iterable[bytes]) -> ZoneIndex:
    origin = parse_text(zone.origin)
    nodes: dict[bytes, dict[int, list[dnslib.RD]]] = {origin: {wire.SOA: [soa]}}
    for record in zone.records:
        rtype = dnslib.QTYPE.reverse[record.kind]
        values = nodes.setdefault(parse_text(record.name), {}).setdefault(rtype, [])
        values.append(getattr(dnslib, record.kind).fromZone(record.data.split(" ")))
    if not zone.exact:
        for name in (*nodes, *below):
            _add_parents(nodes, name, origin, origins)
    wildcard = nodes.pop(b"\x01*" + origin, None)
    return ZoneIndex(
        origin,
        soa,
        {name: {rtype: tuple(values) for rtype, values in node.items()} for name, node in nodes.items()},
        {rtype: tuple(values) for rtype, values in wildcard.items()} if wildcard else None,
    )


def _add_parents(
    nodes: dict[bytes, dict[int, list[dnslib.RD]]], name: bytes, origin: bytes, origins: set[bytes]
) -> None:
    """Make every name between `name` and the zone's top exist."""
    if not name.endswith(origin) or name == origin:
        return
    path: list[bytes] = []
    for parent in parents_of(name):
        if parent == origin:
            for between in path:
                nodes.setdefault(between, {})
            return
        if parent not in origins:
            path.append(parent)
