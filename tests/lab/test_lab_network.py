"""The LAN's commands, and which namespaces a killed lab left."""

from __future__ import annotations

from ipaddress import IPv4Interface

from bootstrapper.lab.network import Lan, find_stale, setup_commands, tap_commands
from bootstrapper.lab.router import build_advertisement


def test_the_lan_is_a_bridge_with_the_servers_address() -> None:
    assert [" ".join(each) for each in setup_commands("bslab-7", "eth1", IPv4Interface("10.10.14.253/24"))] == [
        "ip netns add bslab-7",
        "ip -n bslab-7 link set lo up",
        "ip -n bslab-7 link add eth1 address 02:00:00:00:00:01 type bridge forward_delay 0 mcast_snooping 0",
        "ip -n bslab-7 addr add 10.10.14.253/24 dev eth1",
        "ip -n bslab-7 link set eth1 up",
        "ip netns exec bslab-7 ethtool -K eth1 tx off",
    ]


def test_a_tap_is_a_port_of_the_bridge_without_offloading() -> None:
    assert [" ".join(each) for each in tap_commands("bslab-7", "eth1", "t0.0")] == [
        "ip -n bslab-7 tuntap add t0.0 mode tap",
        "ip -n bslab-7 link set t0.0 master eth1 up",
        "ip netns exec bslab-7 ethtool -K t0.0 tx off",
    ]


def test_what_runs_inside_dies_with_the_lab() -> None:
    lan = Lan("eth1", IPv4Interface("10.0.0.1/24"), "bslab-7")
    assert lan.inside(["true"]) == ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", "bslab-7", "true"]


def test_only_the_labs_own_namespaces_are_stale() -> None:
    listed = "bslab-12 (id: 3)\nbslab-13\nbslabx\nbslab-mine\ndocker\n\n"
    assert find_stale(listed, ["bslab-13"]) == ["bslab-12"]


def test_the_router_offers_nothing() -> None:
    assert build_advertisement() == bytes.fromhex("86000000400000000000000000000000")
