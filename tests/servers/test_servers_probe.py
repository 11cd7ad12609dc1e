"""Looking before offering: what is asked on the wire, what an answer and a silence lead to, other servers noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from rack import make_cluster, make_machine

from bootstrapper.answers.leases import Lease, LeaseState, LeaseTable
from bootstrapper.cluster.model import AddressRange, Cluster, Dhcp, DhcpMode, Subnet
from bootstrapper.errors import MalformedPacket
from bootstrapper.servers.interfaces import Link
from bootstrapper.servers.probe import Prober
from bootstrapper.servers.rivals import RivalWatch, build_discover, find_server
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet
from bootstrapper.wire.frames import build_udp_frame

OUR_MAC = bytes.fromhex("5254000000fe")
LINK = Link("eth0", 2, OUR_MAC, IPv4Address("10.10.14.253"), 1500)
STRANGER = bytes.fromhex("525400000077")
NODE1 = "00:25:90:c0:f7:80"


class Wire:
    """A socket's stand-in: keeps what is sent, gives what a test puts in."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent: list[bytes] = []
        self.named: list[str] = []
        self.waiting: list[bytes] = []
        self.broken = False

    def fileno(self) -> int:
        return self.number

    def send(self, data: bytes) -> None:
        if self.broken:
            raise OSError("down")
        self.sent.append(data)

    def sendto(self, data: bytes, name: tuple[str, int]) -> None:
        self.named.append(name[0])

    def recv(self, _size: int) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0)


class Rig:
    def __init__(self, cluster: Cluster, rivals: bool = False) -> None:
        self.table = LeaseTable()
        self.table.configure(cluster)
        self.arp, self.icmp, self.other = Wire(5), Wire(6), Wire(7)
        rival_wire: Any = self.other if rivals else None
        arp: Any = self.arp
        icmp: Any = self.icmp
        self.prober = Prober(cluster, self.table, LINK, arp, icmp, rival_wire)
        self.leases: list[Lease] = []
        self.warnings: list[tuple[str, str]] = []
        self.now = 1_000_000.0

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            leases, events = self.prober.tick(self.now)
            self.leases += leases
            self.warnings += [(event.mac, event.detail) for event in events]
            self.now += 0.1

    def asked(self) -> list[str]:
        """Addresses asked for by ARP, in order."""
        return [str(IPv4Address(frame[38:42])) for frame in self.arp.sent]

    def answer(self, address: str, mac: bytes = STRANGER) -> None:
        body = bytes.fromhex("0001080006040002") + mac + IPv4Address(address).packed + OUR_MAC + bytes(4)
        self.arp.waiting.append(OUR_MAC + mac + b"\x08\x06" + body)
        self.prober.handlers[5]()


@pytest.fixture
def only_pool() -> Cluster:
    """No reservation to look at."""
    return make_cluster(make_machine("52:54:00:00:00:04", "node4", None))


def test_addresses_are_looked_at_ahead_and_found_free(only_pool: Cluster) -> None:
    rig = Rig(only_pool)
    rig.run(0.2)
    assert rig.asked() == [f"10.10.14.{last}" for last in range(100, 132)]
    frame = rig.arp.sent[0]
    assert frame[:14] == b"\xff" * 6 + OUR_MAC + b"\x08\x06"
    assert frame[28:32] == LINK.address.packed, "no probe of RFC 5227: a client that probes too would decline"
    rig.run(2)
    assert rig.asked().count("10.10.14.100") == 2, "a second time, since one may be lost; then it is known for a while"
    assert rig.table.candidates(only_pool.network.link, 32, rig.now) == []
    assert (rig.leases, rig.warnings) == ([], [])


def test_an_address_in_use_rests_and_is_not_offered(only_pool: Cluster) -> None:
    rig = Rig(only_pool)
    rig.run(0.2)
    rig.answer("10.10.14.100")
    rig.run(1)
    ((lease),) = rig.leases
    assert (str(lease.address), lease.state) == ("10.10.14.100", LeaseState.DECLINED)
    assert rig.warnings == [
        ("", "10.10.14.100, in the range to be given out, is in use by 52:54:00:00:00:77: it rests")
    ]
    offered = rig.table.pool(only_pool.network.link).offer("52:54:00:00:00:99", 0, rig.now)
    assert offered is not None
    assert str(IPv4Address(offered.number)) == "10.10.14.101"


def test_answers_nobody_asked_for_are_nothing(only_pool: Cluster) -> None:
    rig = Rig(only_pool)
    rig.run(0.2)
    rig.answer("10.10.14.199")
    rig.answer("10.10.14.5")
    rig.arp.waiting += [b"", b"x" * 60, bytes(2000)]
    rig.prober.handlers[5]()
    rig.icmp.waiting += [b"", b"E" * 40]
    rig.prober.handlers[6]()
    rig.run(1)
    assert (rig.leases, rig.warnings) == ([], [])


def test_behind_relays_by_echo(only_pool: Cluster) -> None:
    more = Subnet(IPv4Network("10.21.0.0/24"), (), AddressRange(IPv4Address("10.21.0.100"), IPv4Address("10.21.0.101")))
    link = replace(only_pool.network.link, range=None)
    rig = Rig(replace(only_pool, network=replace(only_pool.network, link=link, more_subnets=(more,))))
    rig.run(0.2)
    assert rig.icmp.named == ["10.21.0.100", "10.21.0.101"]
    assert rig.arp.sent == []
    # An echo reply as a raw socket gives it: IP header, type 0, our identifier 0x4253, sequence 1, right checksum.
    header = bytes.fromhex("4500001c00000000400100000a1500650a0a0efd")
    rig.icmp.waiting.append(header + bytes.fromhex("0000bdab42530001"))
    rig.prober.handlers[6]()
    rig.run(1)
    assert [str(lease.address) for lease in rig.leases] == ["10.21.0.101"]


def test_a_reservation_in_use_by_another_is_a_warning_only() -> None:
    cluster = make_cluster(make_machine(NODE1, "node1", "10.10.14.11"))
    rig = Rig(replace(cluster, network=replace(cluster.network, link=replace(cluster.network.link, range=None))))
    rig.run(0.2)
    assert rig.asked() == ["10.10.14.11"]
    rig.answer("10.10.14.11")
    rig.run(0.2)
    assert rig.warnings == [
        (NODE1, "its address 10.10.14.11 is in use by 52:54:00:00:00:77: find that machine, or change `ip`")
    ]
    assert rig.leases == []
    rig.run(5)
    rig.answer("10.10.14.11")
    rig.run(0.2)
    assert len(rig.warnings) == 1, "said once an hour"


def test_a_reservation_in_use_by_its_own_machine_is_right() -> None:
    rig = Rig(make_cluster(make_machine(NODE1, "node1", "10.10.14.11")))
    rig.run(0.2)
    rig.answer("10.10.14.11", bytes.fromhex(NODE1.replace(":", "")))
    rig.run(1)
    assert rig.warnings == []


@pytest.mark.parametrize("mode", [DhcpMode.OFF, DhcpMode.PROXY])
def test_silent_where_another_server_gives_addresses(only_pool: Cluster, mode: DhcpMode) -> None:
    rig = Rig(replace(only_pool, network=replace(only_pool.network, dhcp=Dhcp(mode, 3600))), rivals=True)
    rig.run(5)
    assert (rig.arp.sent, rig.icmp.named, rig.other.sent) == ([], [], [])


@pytest.mark.parametrize(("mode", "asked"), [(DhcpMode.AUTHORITATIVE, 1), (DhcpMode.RESERVATIONS, 0)])
def test_other_servers_are_looked_for_where_we_should_be_alone(only_pool: Cluster, mode: DhcpMode, asked: int) -> None:
    rig = Rig(replace(only_pool, network=replace(only_pool.network, dhcp=Dhcp(mode, 3600))), rivals=True)
    rig.run(5)
    assert len(rig.other.sent) == asked


def test_a_link_that_is_down_says_nothing_about_addresses(only_pool: Cluster) -> None:
    rig = Rig(only_pool)
    rig.arp.broken = True
    rig.run(2)
    assert len(rig.table.candidates(only_pool.network.link, 32, rig.now)) == 32, "still not known to be free"


# -- other servers -----------------------------------------------------------------
def make_reply(kind: int, server: str, mac: bytes = STRANGER) -> bytes:
    packet = Packet(
        op=2, xid=1, chaddr=OUR_MAC.ljust(16, b"\0"), options={53: bytes([kind]), 54: IPv4Address(server).packed}
    )
    return build_udp_frame(
        build_packet(packet), mac, b"\xff" * 6, IPv4Address(server), 67, IPv4Address("255.255.255.255"), 68
    )


def test_our_question_is_a_broadcast_discover() -> None:
    frame = build_discover(LINK, 7)
    assert frame[:14] == b"\xff" * 6 + OUR_MAC + b"\x08\x00"
    packet = parse_packet(frame[42:])
    assert (packet.options[53], packet.flags, packet.hardware, packet.xid) == (b"\x01", 0x8000, OUR_MAC, 7)


@pytest.mark.parametrize(
    ("kind", "found"),
    [(2, ("10.10.14.66", "52:54:00:00:00:77")), (5, ("10.10.14.66", "52:54:00:00:00:77")), (6, None), (1, None)],
)
def test_what_tells_a_server(kind: int, found: tuple[str, str] | None) -> None:
    assert find_server(make_reply(kind, "10.10.14.66")) == found


def test_every_truncation_is_refused() -> None:
    whole = make_reply(2, "10.10.14.66")
    for size in range(42 + 240):
        with pytest.raises(MalformedPacket):
            find_server(whole[:size])


def test_a_rival_is_reported_once_an_hour_and_asked_for_hourly() -> None:
    wire: Any = Wire(7)
    watch = RivalWatch(LINK, wire)
    hear: Callable[[str], None] = lambda server: wire.waiting.append(make_reply(2, server))  # noqa: E731
    assert watch.tick(1_000_000.0) == []
    assert len(wire.sent) == 1
    hear("10.10.14.66")
    hear("10.10.14.66")
    hear("10.10.14.253")  # our own
    wire.waiting.append(b"noise" * 20)
    watch.read()
    (event,) = watch.tick(1_000_001.0)
    assert (event.step, event.level, event.mac) == ("rival", "warning", "")
    assert event.detail.startswith("another DHCP server, 10.10.14.66 (52:54:00:00:00:77), answers on eth0: ")
    hear("10.10.14.66")
    watch.read()
    assert watch.tick(1_000_060.0) == []
    assert len(wire.sent) == 1
    hear("10.10.14.66")
    watch.read()
    assert len(watch.tick(1_003_602.0)) == 1
    assert len(wire.sent) == 2
