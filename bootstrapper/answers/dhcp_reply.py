"""A reply's bytes. Option order: 53 and 54, times and network, names, boot, echoes, 82 last (reference A1.12)."""

from __future__ import annotations

from collections.abc import Mapping

from bootstrapper.answers.dhcp_ask import Ask
from bootstrapper.answers.dhcp_boot import NOTHING, BootPart
from bootstrapper.wire.dhcp import COOKIE, HEADER, LEAST_BYTES, REPLY, Packet
from bootstrapper.wire.dhcp_options import Message, build_option

HEADER_BYTES = 240
UDP_OVERHEAD = 28
"IPv4 and UDP headers: option 57 counts them, we do not."
LEAST_LIMIT = 576 - UDP_OVERHEAD
"What every client takes (RFC 2131 section 2)."
MOST_LIMIT = 1500 - UDP_OVERHEAD
"edk2 ignores anything longer, whatever its option 57 said."
BOOTP_LIMIT = 300
"RFC 1542 section 2.1: a vendor area of 64 bytes."

LEAST_OPTIONS = HEADER_BYTES + 1
"The header and an END."

INFORM_ACK = 0
"`kind` of the ACK to an INFORM, which leases nothing."


def build_reply(ask: Ask, kind: int, packet: Packet, yiaddr: int, boot: BootPart = NOTHING) -> bytes:
    """`kind` is OFFER, ACK, NAK or INFORM_ACK; `packet` the request with the flags the reply is to have. Empty when the
    client could not take even the least of it."""
    options = packet.options
    plan = ask.plan
    limit = _limit(options.get(57))
    if kind == Message.NAK:
        head = plan.nak if ask.server is None else plan.head(Message.NAK, ask.server)
        return _join(packet, 0, 0, NOTHING, head, b"", _echo(options, 61), options.get(82), limit)
    if ask.server is not None:
        head = plan.head(Message(kind), ask.server) if kind else plan.inform_head(ask.server)
    elif kind == Message.OFFER:
        head = plan.offer
    elif kind == Message.ACK:
        head = plan.ack
    else:
        head = plan.inform
    parameters = options.get(55)
    extras = plan.extras(parameters)
    if ask.known is not None and (parameters is None or 12 in parameters):
        extras += ask.known.host
    tail = boot.options
    if 61 in options or 97 in options:
        tail += _echo(options, 61) + _echo(options, 97)
    relay = options.get(82)
    room = limit - LEAST_OPTIONS - len(head) - len(tail) - (0 if relay is None else len(relay) + 2)
    if len(extras) > room:
        extras = plan.few_extras(parameters, room)
    ciaddr = 0 if kind == Message.OFFER else packet.ciaddr
    return _join(packet, ciaddr, yiaddr, boot, head, extras, tail, relay, limit)


def build_pxe_reply(ask: Ask, boot: BootPart) -> bytes:
    """The ACK of port 4011: what to boot and nothing else, since the address came from port 67 (reference A2)."""
    options = ask.packet.options
    tail = boot.options + _echo(options, 61) + _echo(options, 97)
    limit = _limit(options.get(57))
    return _join(ask.packet, ask.packet.ciaddr, 0, boot, ask.plan.pxe, b"", tail, options.get(82), limit)


def build_bootp_reply(ask: Ask, yiaddr: int) -> bytes:
    """For a client without option 53: no message type, no times, and everything within 64 bytes of options."""
    plan = ask.plan
    host = ask.known.host if ask.known is not None else b""
    room = BOOTP_LIMIT - HEADER_BYTES - 1 - len(plan.where)
    extras = plan.few_extras(None, room - len(host)) + host if len(host) <= room else plan.few_extras(None, room)
    return _join(ask.packet, ask.packet.ciaddr, yiaddr, NOTHING, plan.where, extras, b"", None, BOOTP_LIMIT)


def _join(
    packet: Packet,
    ciaddr: int,
    yiaddr: int,
    boot: BootPart,
    head: bytes,
    extras: bytes,
    tail: bytes,
    relay: bytes | None,
    limit: int,
) -> bytes:
    size = HEADER_BYTES + len(head) + len(extras) + len(tail) + 1
    if relay is not None:
        block = build_option(82, relay)
        # RFC 3046 section 2.2: left out rather than the whole reply lost.
        if size + len(block) <= limit:
            tail += block
            size += len(block)
    if size > limit:
        return b""
    header = HEADER.pack(
        REPLY, packet.htype, packet.hlen, 0, packet.xid, 0, packet.flags, ciaddr, yiaddr, boot.siaddr, packet.giaddr,
        packet.chaddr, boot.sname, boot.file, COOKIE,
    )  # fmt: skip
    return (header + head + extras + tail + b"\xff").ljust(LEAST_BYTES, b"\0")


def _echo(options: Mapping[int, bytes], code: int) -> bytes:
    """61 by RFC 6842 section 3, 97 by RFC 4578 section 2.3: as it came, if it came."""
    value = options.get(code)
    return b"" if value is None else build_option(code, value)


def _limit(size: bytes | None) -> int:
    if size is None or len(size) != 2:
        return LEAST_LIMIT
    return min(max(int.from_bytes(size, "big") - UDP_OVERHEAD, LEAST_LIMIT), MOST_LIMIT)
