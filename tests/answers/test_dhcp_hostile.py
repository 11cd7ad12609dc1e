"""No datagram makes the answering code raise, grow without bound, or give one address to two."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from dhcp_world import FAR, FIXED, NOW, OTHER, POOLED, RELAY, STRANGER, make_world_cluster
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.answers.dhcp import Arrival, DhcpAnswers
from bootstrapper.answers.leases import Lease, LeaseTable
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import DhcpMode, UnknownPolicy
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet

ADDRESSES = [
    "0.0.0.0", "10.10.14.11", "10.10.14.100", "10.10.14.253", "10.20.0.50", RELAY, "192.168.1.1", "255.255.255.255",
]  # fmt: skip
MACS = [FIXED, POOLED, FAR, STRANGER, OTHER]

address = st.sampled_from(ADDRESSES).map(lambda text: int(IPv4Address(text))) | st.integers(0, 2**32 - 1)
packed = address.map(lambda number: number.to_bytes(4, "big"))
mac = st.sampled_from(MACS).map(lambda text: bytes.fromhex(text.replace(":", "")).ljust(16, b"\0"))
options = st.fixed_dictionaries(
    {},
    optional={
        53: st.integers(0, 20).map(lambda number: bytes([number])) | st.binary(max_size=2),
        50: packed | st.binary(max_size=5),
        54: packed | st.binary(max_size=5),
        55: st.binary(max_size=40),
        57: st.binary(max_size=3),
        60: st.sampled_from([b"PXEClient", b"PXEClient:Arch:00007", b"HTTPClient:Arch:00016", b"PXEClient:Arch:x"])
        | st.binary(max_size=40),
        61: st.binary(max_size=600),
        77: st.sampled_from([b"iPXE", b"\x04iPXE"]) | st.binary(max_size=10),
        82: st.binary(max_size=300) | packed.map(lambda link: b"\x05\x04" + link + b"\x0b\x04" + link),
        93: st.binary(max_size=5),
        97: st.binary(max_size=20),
        43: st.binary(max_size=20),
        175: st.binary(max_size=20),
        12: st.binary(max_size=40),
    },
)
packets = st.builds(
    lambda **fields: Packet(**fields),
    htype=st.sampled_from([1, 1, 6, 32]),
    hlen=st.sampled_from([6, 6, 6, 0, 16]),
    hops=st.integers(0, 20),
    xid=st.integers(0, 2**32 - 1),
    flags=st.sampled_from([0, 0x8000, 0xFFFF]),
    ciaddr=address,
    giaddr=address,
    chaddr=mac,
    options=options,
)
arrivals = st.builds(
    Arrival,
    source=address.map(IPv4Address),
    source_port=st.integers(1, 65535),
    local=st.sampled_from(["10.10.14.253", "10.20.0.2", "192.168.1.2"]).map(IPv4Address),
    port=st.sampled_from([67, 4011]),
    broadcast=st.booleans(),
)
worlds = st.tuples(
    st.sampled_from(list(UnknownPolicy)),
    st.sampled_from([DhcpMode.AUTHORITATIVE, DhcpMode.AUTHORITATIVE, DhcpMode.RESERVATIONS]),
)


@given(worlds, st.lists(st.tuples(packets, arrivals), max_size=12))
def test_any_conversation(world: tuple[UnknownPolicy, DhcpMode], datagrams: list[tuple[Packet, Arrival]]) -> None:
    """Every reply is a packet of its own right; unknown machines are silent under `ignore`; DROP or REPLY, not both."""
    answers = DhcpAnswers(make_world_cluster(*world), LeaseTable(), lambda _: History())
    known = {FIXED, POOLED, FAR}
    leased: dict[IPv4Address, str] = {}
    for number, (packet, arrival) in enumerate(datagrams):
        outcome = answers.answer(build_packet(packet), arrival, NOW + number)
        assert not (outcome.reply and outcome.drop)
        if outcome.reply is not None:
            reply = parse_packet(outcome.reply.payload)
            assert 300 <= len(outcome.reply.payload) <= 1472
            assert (reply.op, reply.xid, reply.chaddr) == (2, packet.xid, packet.chaddr)
            who = packet.hardware.hex(":")
            assert world[0] is not UnknownPolicy.IGNORE or who in known
            assert world[1] is DhcpMode.AUTHORITATIVE or who in {FIXED, FAR}
        if outcome.lease is not None and outcome.lease.state == "bound":
            assert outcome.reply is not None
            assert leased.get(outcome.lease.address, outcome.lease.mac) == outcome.lease.mac
            leased[outcome.lease.address] = outcome.lease.mac
        elif outcome.lease is not None:
            leased.pop(outcome.lease.address, None)


@given(st.binary(max_size=600), arrivals, st.booleans())
def test_random_bytes(data: bytes, arrival: Arrival, dressed: bool) -> None:
    if dressed:
        data = b"\1\1\6\0" + data[:232].ljust(232, b"\0") + b"\x63\x82\x53\x63" + data[232:]
    answers = DhcpAnswers(make_world_cluster(), LeaseTable(), lambda _: History())
    answers.answer(data, arrival, NOW)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_million_random_datagrams_leave_everything_bounded() -> None:
    source = random.Random(7)
    cluster = make_world_cluster()
    table = LeaseTable()
    answers = DhcpAnswers(cluster, table, lambda _: History())
    arrival = Arrival(IPv4Address("0.0.0.0"), 68, IPv4Address("10.10.14.253"), 67, True)
    base = bytearray(build_packet(Packet(chaddr=bytes(16), options={53: b"\1", 60: b"PXEClient", 55: b"\1\3"})))
    for number in range(1_000_000):
        data = bytearray(base)
        data[28:34] = source.randbytes(6)
        for _ in range(source.randrange(4)):
            data[source.randrange(len(data))] = source.randrange(256)
        answers.answer(bytes(data[: source.randrange(200, 301)] if number % 3 else data), arrival, NOW + number / 1000)
    pool = table.pool(cluster.network.link)
    assert len(pool.by_number) <= 3
    for memory in (answers._sightings._seen_at, answers._notices._last, answers._handouts._given_at):
        assert len(memory) <= 16_384  # type: ignore[arg-type]
    identifier = answers._identifier
    assert len(identifier._firmwares) <= 1024
    assert len(identifier._plans) <= 4096
    assert all(len(plan._extras) <= 256 for plan in identifier._plans.values())


def test_a_reload_in_the_middle_keeps_every_lease() -> None:
    cluster = make_world_cluster()
    stored: list[Lease] = []
    arrival = Arrival(IPv4Address("0.0.0.0"), 68, IPv4Address("10.10.14.253"), 67, True)

    def select(answers: DhcpAnswers, mac_text: str, wanted: str) -> bytes:
        chaddr = bytes.fromhex(mac_text.replace(":", "")).ljust(16, b"\0")
        fields = {53: b"\3", 54: bytes((10, 10, 14, 253)), 50: IPv4Address(wanted).packed}
        outcome = answers.answer(build_packet(Packet(chaddr=chaddr, options=fields)), arrival, NOW)
        assert outcome.reply is not None
        stored.extend([outcome.lease] if outcome.lease else [])
        return parse_packet(outcome.reply.payload).options[53]

    assert select(DhcpAnswers(cluster, LeaseTable(), lambda _: History()), STRANGER, "10.10.14.101") == b"\5"
    edited = replace(cluster, domain="other.example.com", machines=())
    answers = DhcpAnswers(edited, LeaseTable(stored), lambda _: History())
    assert select(answers, OTHER, "10.10.14.101") == b"\6"
    assert select(answers, STRANGER, "10.10.14.101") == b"\5"
