"""Requests that real clients sent (tests/packets, made by tests/interop/capture_dhcp.py while dnsmasq answered), put to
our answers: our replies as golden files, and beside dnsmasq's, where every difference is in the table at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from dhcp_world import FIXED, NOW
from rack import make_cluster, make_machine

from bootstrapper.answers.dhcp import Arrival, DhcpAnswers, Outcome
from bootstrapper.answers.leases import LeaseTable
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import AddressRange, Cluster, Subnet
from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet
from bootstrapper.wire.dhcp_text import describe

PACKETS = Path(__file__).parent.parent / "packets"
CLIENTS = ["dhclient", "dhcpcd", "dhcrelay", "edk2", "ipxe-bios", "networkd", "udhcpc"]
SERVER = IPv4Address("10.10.14.253")


def read_conversation(name: str) -> list[tuple[str, bytes]]:
    lines = (PACKETS / f"{name}.hex").read_text().splitlines()
    return [(line[0], bytes.fromhex(line[2:])) for line in lines]


def make_captured_cluster() -> Cluster:
    """The rack that the capture's dnsmasq was set up for."""
    cluster = make_cluster(make_machine(FIXED, "node1", "10.10.14.11"))
    far = Subnet(
        IPv4Network("10.20.0.0/16"),
        (IPv4Address("10.10.14.254"),),
        AddressRange(IPv4Address("10.20.9.1"), IPv4Address("10.20.9.9")),
    )
    return replace(cluster, network=replace(cluster.network, more_subnets=(far,)))


def make_answers(relayed: bool) -> DhcpAnswers:
    cluster = make_captured_cluster()
    if relayed:
        # dnsmasq gives the machine an address of the relay's range, as it has none of its own there; which one, it
        # works out from the MAC.
        far = AddressRange(IPv4Address("10.20.9.7"), IPv4Address("10.20.9.7"))
        subnets = (replace(cluster.network.more_subnets[0], range=far),)
        machines = (replace(cluster.machines[0], ip=None),)
        cluster = replace(cluster, machines=machines, network=replace(cluster.network, more_subnets=subnets))
    return DhcpAnswers(cluster, LeaseTable(), lambda _: History())


def answer(answers: DhcpAnswers, data: bytes) -> Outcome:
    request = parse_packet(data)
    source = IPv4Address(request.giaddr or request.ciaddr)
    arrival = Arrival(source, 67 if request.giaddr else 68, SERVER, 67, not int(source))
    return answers.answer(data, arrival, NOW)


def replay(name: str) -> list[tuple[Packet, Packet | None, Packet | None]]:
    """(request, our reply, dnsmasq's reply) in order; of repeated requests each has its own."""
    answers = make_answers(name == "dhcrelay")
    conversation = read_conversation(name)
    theirs = [parse_packet(data) for way, data in conversation if way == "<"]
    found = []
    for way, data in conversation:
        if way == ">":
            request = parse_packet(data)
            outcome = answer(answers, data)
            ours = parse_packet(outcome.reply.payload) if outcome.reply else None
            match = next((reply for reply in theirs if reply.xid == request.xid and _fits(request, reply)), None)
            found.append((request, ours, match))
    return found


def _boot_file(packet: Packet) -> bytes:
    """dnsmasq uses option 67 alone for a client that lists it, and the header for others."""
    return packet.file.rstrip(b"\0") or packet.options.get(67, b"").rstrip(b"\0")


def _fits(request: Packet, reply: Packet) -> bool:
    expected = {b"\1": b"\2", b"\3": b"\5", b"\x08": b"\5"}
    return reply.options[53] == expected.get(request.options[53])


@pytest.mark.parametrize("name", CLIENTS)
def test_replies_to_real_clients(name: str, golden: Callable[[str, str], None]) -> None:
    texts = []
    for request, ours, _ in replay(name):
        texts.append("\n".join([*describe(request), "", *(describe(ours) if ours else ["no answer"])]))
    assert len(texts) >= 2
    golden(f"packets/{name}.txt", "\n\n---\n\n".join(texts) + "\n")


@pytest.mark.parametrize("name", CLIENTS)
def test_replies_agree_with_dnsmasq(name: str) -> None:
    compared = 0
    for request, ours, theirs in replay(name):
        if theirs is None:
            assert ours is None or request.options[53] not in (b"\4", b"\7")
            continue
        assert ours is not None, describe(request)
        compared += 1
        for field in ("op", "htype", "hlen", "xid", "flags", "giaddr", "chaddr", "yiaddr", "ciaddr"):
            assert getattr(ours, field) == getattr(theirs, field), (field, describe(request))
        names = {_boot_file(ours), _boot_file(theirs)}
        assert len(names) == 1 or all(each.startswith(b"http://10.10.14.253/boot.ipxe") for each in names)
        differing = {
            code for code in {*ours.options, *theirs.options} if ours.options.get(code) != theirs.options.get(code)
        }
        if request.options[53] == b"\x08":
            differing -= {
                51
            }  # dnsmasq sends a lease time in the ACK to an INFORM, which RFC 2131 section 4.3.5 forbids
        assert differing <= set(DIFFERENCES), (differing - set(DIFFERENCES), describe(ours), describe(theirs))
    assert compared >= 2


@pytest.mark.parametrize("name", CLIENTS)
def test_every_packet_is_read_back_and_every_truncation_is_survived(name: str) -> None:
    answers = make_answers(False)
    arrival = Arrival(IPv4Address("0.0.0.0"), 68, SERVER, 67, True)
    for _, data in read_conversation(name):
        packet = parse_packet(data)
        assert parse_packet(build_packet(packet)) == packet
        for size in range(len(data)):
            try:
                parse_packet(data[:size])
            except MalformedPacket as fault:
                assert answers.answer(data[:size], arrival, NOW).drop == fault.reason


DIFFERENCES = {
    12: "dnsmasq names a host by what it knows; we send ours to whoever lists 12",
    15: "dnsmasq sends the domain in an ACK only when it is listed; so do we, and also when there is no list",
    28: "we send the broadcast address only to who lists it",
    42: "dnsmasq sends what is configured and listed; we also to a client without a list",
    43: "we send PXE's 43.6 = 8 to firmware, so that it need not ask on port 4011 (reference A6)",
    58: "dnsmasq subtracts some seconds at random from T1",
    59: "dnsmasq subtracts some seconds at random from T2",
    60: "we send PXEClient to firmware (reference A6)",
    61: "we echo it always (RFC 6842 section 3)",
    66: "we name the boot server in every place (reference A5)",
    67: "we name the file in the option as well as in the header (reference A5)",
    81: "we do not take part in dynamic DNS",
    97: "dnsmasq echoes it to PXE clients only when it runs a PXE service; we always (RFC 4578 section 2.3)",
    175: "we tell iPXE not to wait for a proxyDHCP server",
}
"Option -> why ours may differ from dnsmasq's."
