"""A DHCP (and BOOTP) packet as bytes and as a value: the fixed header of RFC 2131 section 2 and the options behind it.

Addresses are plain integers and options are kept as raw bytes by number: a server answers tens of thousands of packets
a second, and turning all of a packet into objects would cost more than answering it. `dhcp_options` knows what the
bytes of an option mean; `dhcp_text` shows a packet to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dhcp_options import build_options, join_options

REQUEST = 1
REPLY = 2
ETHERNET = 1
BROADCAST_FLAG = 0x8000
COOKIE = 0x63825363
HEADER_BYTES = 240
"The fixed header with the magic cookie."
LEAST_BYTES = 300
"RFC 1542 section 2.1: relays and clients may drop anything shorter."
MOST_BYTES = 4096
"No client sends more; bounds the work a datagram can cause."
MOST_HOPS = 16
"RFC 1542 section 4.1.1."

HEADER = Struct("!4BI2H4I16s64s128sI")
SHORT_HEADER = Struct("!4BI2H4I16s")
"""The header without `sname`, `file` and the cookie: all that an ordinary request is asked about."""


class Packet(NamedTuple):
    """One packet. The defaults make an empty DHCP request from an Ethernet client."""

    op: int = REQUEST
    htype: int = ETHERNET
    hlen: int = 6
    hops: int = 0
    xid: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: int = 0
    yiaddr: int = 0
    siaddr: int = 0
    giaddr: int = 0
    chaddr: bytes = bytes(16)
    "Always 16 bytes; the first `hlen` count."
    sname: bytes = bytes(64)
    "Always 64 bytes; zeros when it held options (RFC 2131 section 4.1, overload)."
    file: bytes = bytes(128)
    "Always 128 bytes; zeros when it held options."
    options: Mapping[int, bytes] = {}
    "Number -> value. Repeated options joined (RFC 3396); never holds 0 (pad), 52 (overload) or 255 (end)."

    @property
    def hardware(self) -> bytes:
        return self.chaddr[: self.hlen]


def dotted(address: int) -> str:
    """An address as text. `str(IPv4Address(...))` takes four times as long, and this is wanted for every reply."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def parse_packet(data: bytes) -> Packet:
    """Raises MalformedPacket. What a half-broken packet does hold is never used (reference A1.4)."""
    size = len(data)
    if size < HEADER_BYTES:
        raise MalformedPacket("dhcp-short")
    if size > MOST_BYTES:
        raise MalformedPacket("dhcp-long")
    if data[236:240] != b"\x63\x82\x53\x63":
        raise MalformedPacket("dhcp-cookie")
    op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr = SHORT_HEADER.unpack_from(data)
    if op not in (REQUEST, REPLY):
        raise MalformedPacket("dhcp-op")
    if hlen > 16:
        raise MalformedPacket("dhcp-hlen")
    options: dict[int, bytes] = {}
    join_options(options, data, HEADER_BYTES, size)
    sname, file = data[44:108], data[108:236]
    overload = options.pop(52, None)
    if overload is not None:
        sname, file = _join_overloaded(options, overload, sname, file)
    return Packet(op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, options)


def _join_overloaded(options: dict[int, bytes], overload: bytes, sname: bytes, file: bytes) -> tuple[bytes, bytes]:
    """Read the options that spilt into the fixed fields; the order is options, file, sname (RFC 2131 section 4.1)."""
    if len(overload) != 1 or not 1 <= overload[0] <= 3:
        raise MalformedPacket("dhcp-overload")
    if overload[0] & 1:
        join_options(options, file, 0, 128)
        file = bytes(128)
    if overload[0] & 2:
        join_options(options, sname, 0, 64)
        sname = bytes(64)
    if 52 in options:
        raise MalformedPacket("dhcp-overload")
    return sname, file


def build_packet(packet: Packet) -> bytes:
    """Bytes that `parse_packet` reads back as an equal value: never overloaded, padded only after the END (A1.3)."""
    header = HEADER.pack(*packet[:14], COOKIE)
    return (header + build_options(packet.options) + b"\xff").ljust(LEAST_BYTES, b"\0")
