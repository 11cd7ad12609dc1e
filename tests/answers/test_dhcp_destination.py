"""Where replies go: reference A3, every combination."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bootstrapper.answers.dhcp_destination import Destination, Way, find_destination
from bootstrapper.wire.dhcp import Packet

OFFER, ACK, NAK, BOOTP = 2, 5, 6, -1
MAC = bytes.fromhex("525400000001")
RELAY = int(IPv4Address("10.20.0.1"))
CLIENT = int(IPv4Address("10.10.14.77"))
YOURS = int(IPv4Address("10.10.14.100"))
EVERYBODY = Destination(Way.BROADCAST, "255.255.255.255", 68)
TO_RELAY = Destination(Way.RELAY, "10.20.0.1", 67)
TO_CLIENT = Destination(Way.UNICAST, "10.10.14.77", 68)
ON_LINK = Destination(Way.LINK, "10.10.14.100", 68, MAC)


@pytest.mark.parametrize(
    ("kind", "fields", "yiaddr", "expected"),
    [
        (OFFER, {"giaddr": RELAY}, YOURS, TO_RELAY),
        (ACK, {"giaddr": RELAY}, YOURS, TO_RELAY),
        (ACK, {"giaddr": RELAY, "ciaddr": CLIENT}, CLIENT, TO_RELAY),
        (ACK, {"giaddr": RELAY, "flags": 0x8000}, YOURS, TO_RELAY),
        (NAK, {"giaddr": RELAY}, 0, TO_RELAY),
        (BOOTP, {"giaddr": RELAY}, YOURS, TO_RELAY),
        (NAK, {}, 0, EVERYBODY),
        (NAK, {"ciaddr": CLIENT}, 0, EVERYBODY),
        (NAK, {"flags": 0x8000}, 0, EVERYBODY),
        (ACK, {"ciaddr": CLIENT}, CLIENT, TO_CLIENT),
        (ACK, {"ciaddr": CLIENT, "flags": 0x8000}, CLIENT, TO_CLIENT),
        (ACK, {"ciaddr": CLIENT}, 0, TO_CLIENT),
        (ACK, {}, 0, Destination(Way.UNICAST, "10.10.14.66", 68)),
        (OFFER, {"flags": 0x8000}, YOURS, EVERYBODY),
        (ACK, {"flags": 0x8000}, YOURS, EVERYBODY),
        (OFFER, {}, YOURS, ON_LINK),
        (ACK, {}, YOURS, ON_LINK),
        (BOOTP, {}, YOURS, ON_LINK),
        (BOOTP, {"flags": 0x8000}, YOURS, EVERYBODY),
        (OFFER, {"htype": 32}, YOURS, EVERYBODY),
        (OFFER, {"hlen": 16}, YOURS, EVERYBODY),
    ],
)
def test_destination(kind: int, fields: dict[str, int], yiaddr: int, expected: Destination) -> None:
    packet = Packet(chaddr=MAC.ljust(16, b"\0"))._replace(**fields)
    assert find_destination(packet, kind, yiaddr, "10.10.14.66", 68) == expected


@pytest.mark.parametrize(
    ("relay", "port"),
    [
        (b"\x13\x00", 4567),
        (b"\x01\x02ab\x13\x00", 4567),
        (b"\x01\x02ab", 67),
        (b"\x13", 67),
        (b"", 67),
    ],
)
def test_a_relay_is_answered_on_port_67_unless_it_asks_for_its_own(relay: bytes, port: int) -> None:
    packet = Packet(giaddr=RELAY, options={82: relay})
    assert find_destination(packet, ACK, YOURS, "10.20.0.1", 4567) == Destination(Way.RELAY, "10.20.0.1", port)
