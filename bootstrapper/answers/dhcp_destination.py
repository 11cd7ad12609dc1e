"""Where a DHCP reply is sent (RFC 2131 section 4.1; reference A3). Pure: the table is the test."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dhcp import BROADCAST_FLAG, ETHERNET, Packet, dotted
from bootstrapper.wire.dhcp_options import Message, Opt, parse_sub_options

SERVER_PORT = 67
CLIENT_PORT = 68
RELAY_PORT = 19
"Sub-option of 82: the relay wants the answer on the port it sent from (RFC 8357)."
MOST_RELAYS = 1024


class Way(Enum):
    RELAY = "relay"
    UNICAST = "unicast"
    "The client has the address and answers ARP."
    BROADCAST = "broadcast"
    LINK = "link"
    """The client does not have `address` yet and cannot answer ARP: a frame to `mac`, or broadcast where no raw frame
    can be sent. iPXE takes this way on every first boot."""
    SOURCE = "source"
    "Back to where the datagram came from (port 4011)."


class Destination(NamedTuple):
    way: Way
    address: str
    port: int
    mac: bytes | None = None
    "For LINK."


EVERYBODY = Destination(Way.BROADCAST, "255.255.255.255", CLIENT_PORT)


def find_destination(packet: Packet, kind: Message | int, yiaddr: int, source: str, source_port: int) -> Destination:
    """Where the reply of type `kind` (negative: BOOTP) to a request on port 67 goes. `yiaddr` is the reply's."""
    if packet.giaddr:
        return _to_relay(packet.giaddr, source_port if _wants_relay_port(packet) else SERVER_PORT)
    if kind == Message.NAK:
        return EVERYBODY
    if packet.ciaddr:
        return Destination(Way.UNICAST, dotted(packet.ciaddr), CLIENT_PORT)
    if not yiaddr:
        # The answer to an INFORM without ciaddr: what the client wrote as the datagram's source is all there is.
        return Destination(Way.UNICAST, source, CLIENT_PORT)
    if packet.flags & BROADCAST_FLAG or packet.htype != ETHERNET or packet.hlen != 6:
        return EVERYBODY
    return Destination(Way.LINK, dotted(yiaddr), CLIENT_PORT, packet.chaddr[:6])


@lru_cache(maxsize=MOST_RELAYS)
def _to_relay(giaddr: int, port: int) -> Destination:
    """One for thousands of clients."""
    return Destination(Way.RELAY, dotted(giaddr), port)


def _wants_relay_port(packet: Packet) -> bool:
    relay = packet.options.get(Opt.RELAY)
    if relay is None:
        return False
    try:
        return RELAY_PORT in parse_sub_options(relay)
    except MalformedPacket:
        return False
