"""A DHCP packet as lines for people: `simulate`, the debug log and the readable half of each golden packet.

What a client wrote is shown as printable ASCII, everything else escaped: it cannot move a terminal's cursor.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire import pxe
from bootstrapper.wire.dhcp import BROADCAST_FLAG, REPLY, Packet, dotted
from bootstrapper.wire.dhcp_options import Message, Opt, Value, parse_sub_options, parse_value


def describe(packet: Packet) -> list[str]:
    """The kind of packet first, then each header field that is not zero, then each option in the packet's order."""
    way = "to" if packet.op == REPLY else "from"
    flags = ", broadcast" if packet.flags & BROADCAST_FLAG else ""
    lines = [f"{find_kind(packet)} {way} {packet.hardware.hex(':')}, xid {packet.xid:08x}{flags}"]
    for name in ("ciaddr", "yiaddr", "siaddr", "giaddr"):
        address = getattr(packet, name)
        if address:
            lines.append(f"  {name}: {dotted(address)}")
    for name, field in (("sname", packet.sname), ("file", packet.file)):
        text = field.split(b"\0", 1)[0]
        if text:
            lines.append(f"  {name}: {quote(text)}")
    for label in ("hops", "secs"):
        if getattr(packet, label):
            lines.append(f"  {label}: {getattr(packet, label)}")
    for code, value in packet.options.items():
        lines.append(f"  {code:3} {NAMES.get(code, 'option')}: {describe_option(code, value)}")
    return lines


def find_kind(packet: Packet) -> str:
    """`DISCOVER`, `ACK`, ..., or BOOTP's words for a packet without option 53."""
    value = packet.options.get(Opt.MESSAGE_TYPE)
    if value is None:
        return "BOOTREPLY" if packet.op == REPLY else "BOOTREQUEST"
    return _message(value)


def describe_option(code: int, data: bytes) -> str:
    special = SPECIAL.get(code)
    if special is not None:
        return special(data)
    try:
        return _plain(parse_value(code, data))
    except MalformedPacket:
        return f"{data.hex(' ')} (not the shape of this option)"


def quote(data: bytes) -> str:
    return '"' + "".join(chr(each) if 32 <= each < 127 and each != 34 else f"\\x{each:02x}" for each in data) + '"'


def _plain(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value)
    if isinstance(value, str):
        return quote(value.encode("latin-1"))
    if isinstance(value, bytes):
        return value.hex(" ") or "(empty)"
    return str(value)


def _message(data: bytes) -> str:
    try:
        return Message(data[0]).name if len(data) == 1 else data.hex(" ")
    except ValueError:
        return f"message {data[0]}"


def _sub_options(data: bytes) -> str:
    try:
        parts = parse_sub_options(data)
    except MalformedPacket:
        return data.hex(" ")
    return "; ".join(f"{code} = {value.hex(' ') or '(empty)'}" for code, value in parts.items()) or "(empty)"


def _user_class(data: bytes) -> str:
    return quote(pxe.parse_user_class(data).encode("latin-1"))


def _uuid(data: bytes) -> str:
    return pxe.find_uuid(data) or data.hex(" ")


def _address(data: bytes) -> str:
    return str(IPv4Address(data)) if len(data) == 4 else data.hex(" ")


SPECIAL = {
    int(Opt.MESSAGE_TYPE): _message,
    int(Opt.VENDOR): _sub_options,
    int(Opt.RELAY): _sub_options,
    int(Opt.IPXE): _sub_options,
    int(Opt.USER_CLASS): _user_class,
    int(Opt.UUID): _uuid,
    int(Opt.REQUESTED): _address,
}

NAMES = {
    1: "subnet mask",
    3: "routers",
    6: "name servers",
    12: "host name",
    13: "boot file size",
    15: "domain",
    26: "MTU",
    28: "broadcast address",
    42: "time servers",
    43: "vendor options",
    50: "requested address",
    51: "lease time",
    53: "message type",
    54: "server",
    55: "wants options",
    56: "message",
    57: "largest message",
    58: "renew after",
    59: "rebind after",
    60: "vendor class",
    61: "client id",
    66: "boot server",
    67: "boot file",
    77: "user class",
    80: "rapid commit",
    81: "full name",
    82: "relay",
    93: "architecture",
    94: "UNDI version",
    97: "machine UUID",
    108: "IPv6 only",
    118: "subnet selection",
    119: "search list",
    175: "iPXE options",
}
