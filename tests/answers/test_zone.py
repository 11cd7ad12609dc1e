"""The zones that a description makes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from rack import NODE4_MAC, make_cluster, make_machine

from bootstrapper.answers.dns_dynamic import dynamic_names
from bootstrapper.answers.zone import Record, Zone, build_zones, reverse_origins
from bootstrapper.cluster.model import AddressRange, Cluster, Role, Subnet
from bootstrapper.wire.dns_names import parse_text

MASTERS = (
    make_machine("00:00:00:00:00:01", "node1", "10.10.14.11", roles=frozenset({Role.ETCD, Role.MASTER})),
    make_machine("00:00:00:00:00:02", "node2", "10.10.14.12", roles=frozenset({Role.ETCD, Role.MASTER})),
)


def with_network(cluster: Cluster, **changes: object) -> Cluster:
    return replace(cluster, network=replace(cluster.network, **changes))  # type: ignore[arg-type]


def with_api(cluster: Cluster, **changes: object) -> Cluster:
    api = replace(cluster.kubernetes.api, **changes)  # type: ignore[arg-type]
    return replace(cluster, kubernetes=replace(cluster.kubernetes, api=api))


def with_records(cluster: Cluster, **records: str) -> Cluster:
    named = {name.replace("_", "."): IPv4Address(address) for name, address in records.items()}
    return with_network(cluster, dns=replace(cluster.network.dns, records=named))


def addresses(zones: tuple[Zone, ...], name: str) -> list[str]:
    return [each.data for zone in zones for each in zone.records if (each.name, each.kind) == (name, "A")]


def pointer(zones: tuple[Zone, ...], name: str) -> list[str]:
    return [each.data for zone in zones for each in zone.records if (each.name, each.kind) == (name, "PTR")]


def test_the_example_in_full() -> None:
    cluster = with_records(make_cluster(*MASTERS), nas="10.10.14.9")
    assert build_zones(cluster, {}) == (
        Zone(
            "prod.example.com",
            (
                Record("prod.example.com", "NS", "bootstrapper.prod.example.com"),
                Record("node1.prod.example.com", "A", "10.10.14.11"),
                Record("node2.prod.example.com", "A", "10.10.14.12"),
                Record("k8s.prod.example.com", "A", "10.10.14.11"),
                Record("k8s.prod.example.com", "A", "10.10.14.12"),
                Record("nas.prod.example.com", "A", "10.10.14.9"),
                Record("bootstrapper.prod.example.com", "A", "10.10.14.253"),
                Record("ns.prod.example.com", "A", "10.10.14.253"),
                Record("_etcd-server-ssl._tcp.prod.example.com", "SRV", "0 0 2380 node1.prod.example.com"),
                Record("_etcd-server-ssl._tcp.prod.example.com", "SRV", "0 0 2380 node2.prod.example.com"),
                Record("_etcd-client-ssl._tcp.prod.example.com", "SRV", "0 0 2379 node1.prod.example.com"),
                Record("_etcd-client-ssl._tcp.prod.example.com", "SRV", "0 0 2379 node2.prod.example.com"),
            ),
        ),
        Zone(
            "14.10.10.in-addr.arpa",
            (
                Record("14.10.10.in-addr.arpa", "NS", "bootstrapper.prod.example.com"),
                Record("11.14.10.10.in-addr.arpa", "PTR", "node1.prod.example.com"),
                Record("12.14.10.10.in-addr.arpa", "PTR", "node2.prod.example.com"),
                Record("9.14.10.10.in-addr.arpa", "PTR", "nas.prod.example.com"),
                Record("253.14.10.10.in-addr.arpa", "PTR", "bootstrapper.prod.example.com"),
            ),
        ),
    )


def test_a_machine_without_a_fixed_address_has_its_leased_one() -> None:
    cluster = make_cluster()
    assert addresses(build_zones(cluster, {}), "node4.prod.example.com") == []
    zones = build_zones(cluster, {NODE4_MAC: IPv4Address("10.10.14.120")})
    assert addresses(zones, "node4.prod.example.com") == ["10.10.14.120"]
    assert pointer(zones, "120.14.10.10.in-addr.arpa") == ["node4.prod.example.com"]


def test_a_lease_of_somebody_else_makes_no_name() -> None:
    assert build_zones(make_cluster(), {"02:00:00:00:00:99": IPv4Address("10.10.14.130")}) == build_zones(
        make_cluster(), {}
    )


def test_the_api_is_the_virtual_address_when_there_is_one() -> None:
    zones = build_zones(with_api(make_cluster(*MASTERS), vip=IPv4Address("10.10.14.250")), {})
    assert addresses(zones, "k8s.prod.example.com") == ["10.10.14.250"]
    assert pointer(zones, "250.14.10.10.in-addr.arpa") == ["k8s.prod.example.com"]


def test_an_api_host_that_is_the_master_itself_is_said_once() -> None:
    zones = build_zones(with_api(make_cluster(MASTERS[0]), host="node1.prod.example.com"), {})
    assert addresses(zones, "node1.prod.example.com") == ["10.10.14.11"]


def test_names_outside_the_domain_are_zones_of_their_own() -> None:
    cluster = with_api(
        with_records(make_cluster(*MASTERS), mirror_corp_net_="10.9.9.9"), host="API.example.org", vip=None
    )
    zones = {zone.origin: zone for zone in build_zones(cluster, {})}
    assert zones["api.example.org"].exact
    assert [each.data for each in zones["api.example.org"].records] == ["10.10.14.11", "10.10.14.12"]
    assert zones["mirror.corp.net"] == Zone("mirror.corp.net", (Record("mirror.corp.net", "A", "10.9.9.9"),), True)


@pytest.mark.parametrize("taken", ["bootstrapper", "ns"])
def test_the_description_may_take_our_own_names(taken: str) -> None:
    cluster = with_records(make_cluster(), **{taken: "10.10.14.7"})
    zones = build_zones(cluster, {})
    assert addresses(zones, f"{taken}.prod.example.com") == ["10.10.14.7"]
    other = {"bootstrapper": "ns", "ns": "bootstrapper"}[taken]
    assert Record("prod.example.com", "NS", f"{other}.prod.example.com") in zones[0].records


@pytest.mark.parametrize(
    ("network", "origins"),
    [
        ("10.10.14.0/24", ["14.10.10.in-addr.arpa"]),
        ("10.10.12.0/22", [f"{octet}.10.10.in-addr.arpa" for octet in (12, 13, 14, 15)]),
        ("10.10.0.0/16", ["10.10.in-addr.arpa"]),
        ("10.64.0.0/15", ["64.10.in-addr.arpa", "65.10.in-addr.arpa"]),
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("10.10.14.128/25", ["14.10.10.in-addr.arpa"]),
        ("8.8.8.252/30", [f"{octet}.8.8.8.in-addr.arpa" for octet in (252, 253, 254, 255)]),
        ("8.8.8.0/24", ["8.8.8.in-addr.arpa"]),
    ],
)
def test_reverse_zones(network: str, origins: list[str]) -> None:
    assert list(reverse_origins(IPv4Network(network))) == origins


def test_every_subnet_has_its_reverse_zone() -> None:
    more = Subnet(IPv4Network("10.20.0.0/23"), (), AddressRange(IPv4Address("10.20.1.1"), IPv4Address("10.20.1.9")))
    cluster = with_network(make_cluster(make_machine(ip="10.20.1.200")), more_subnets=(more,))
    zones = build_zones(cluster, {})
    assert [zone.origin for zone in zones] == [
        "prod.example.com",
        "14.10.10.in-addr.arpa",
        "0.20.10.in-addr.arpa",
        "1.20.10.in-addr.arpa",
    ]
    assert pointer(zones, "200.1.20.10.in-addr.arpa") == ["node1.prod.example.com"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("ip-10-10-14-100.dyn.prod.example.com", "10.10.14.100"),
        ("ip-10-10-14-199.dyn.prod.example.com", "10.10.14.199"),
        ("ip-10-10-14-200.dyn.prod.example.com", None),
        ("ip-10-10-14-0100.dyn.prod.example.com", None),
        ("ip-10-10-14-100.prod.example.com", None),
        ("x.ip-10-10-14-100.dyn.prod.example.com", None),
        ("ip-10-10-14-999.dyn.prod.example.com", None),
        ("dyn.prod.example.com", None),
        (".", None),
    ],
)
def test_dynamic_names(name: str, address: str | None) -> None:
    found = dynamic_names(make_cluster()).find_address(parse_text(name))
    assert (str(found) if found else None) == address


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("150.14.10.10.in-addr.arpa", "ip-10-10-14-150.dyn.prod.example.com"),
        ("50.14.10.10.in-addr.arpa", None),
        ("0150.14.10.10.in-addr.arpa", None),
        ("14.10.10.in-addr.arpa", None),
        ("in-addr.arpa", None),
        ("150.14.10.10.example.com", None),
    ],
)
def test_dynamic_pointers(name: str, found: str | None) -> None:
    assert dynamic_names(make_cluster()).find_name(parse_text(name)) == found
