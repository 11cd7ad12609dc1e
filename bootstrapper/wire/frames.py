"""Frames for what a plain UDP socket cannot do: a reply to a machine that cannot answer ARP yet (RFC 2131 section 4.1),
and the ARP and ICMP probes that tell whether a stranger uses an address."""

from __future__ import annotations

from ipaddress import IPv4Address
from struct import Struct

from bootstrapper.errors import MalformedPacket

BROADCAST_MAC = b"\xff" * 6
IPV4 = b"\x08\x00"
ARP = b"\x08\x06"
IP_HEADER = Struct("!BBHHHBBH4s4s")
UDP_HEADER = Struct("!HHHH")
ARP_BODY = Struct("!HHBBH6s4s6s4s")
ICMP_HEADER = Struct("!BBHHH")
DO_NOT_FRAGMENT = 0x4000
UDP = 17
ICMP_REQUEST, ICMP_REPLY = 8, 0
ARP_REQUEST, ARP_REPLY = 1, 2


def compute_checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071). One's complement addition of 16-bit words is arithmetic modulo 65535, which
    Python does on the whole buffer at once."""
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    remainder = total % 0xFFFF
    if remainder == 0 and total:
        remainder = 0xFFFF
    return remainder ^ 0xFFFF


def build_udp_frame(
    payload: bytes,
    source_mac: bytes,
    target_mac: bytes,
    source: IPv4Address,
    source_port: int,
    target: IPv4Address,
    target_port: int,
) -> bytes:
    """Ethernet, IPv4 and UDP around `payload`, never fragmented: the caller keeps it within the MTU."""
    size = UDP_HEADER.size + len(payload)
    addresses = source.packed + target.packed
    pseudo = addresses + UDP_HEADER.pack(UDP, size, source_port, target_port) + size.to_bytes(2, "big") + b"\0\0"
    # RFC 768: a sum of zero is sent as all ones, since zero means "not computed".
    checksum = compute_checksum(pseudo + payload) or 0xFFFF
    udp = UDP_HEADER.pack(source_port, target_port, size, checksum)
    total = IP_HEADER.size + size
    parts = (0x45, 0x10, total, 0, DO_NOT_FRAGMENT, 64, UDP)
    bare = IP_HEADER.pack(*parts, 0, source.packed, target.packed)
    ip = IP_HEADER.pack(*parts, compute_checksum(bare), source.packed, target.packed)
    return target_mac + source_mac + IPV4 + ip + udp + payload


def build_arp_request(source_mac: bytes, source: IPv4Address, target: IPv4Address) -> bytes:
    """An ordinary request (RFC 826), from an address that is ours.

    Not an ARP Probe (sender address zero): a client that has just been given `target` and probes it itself takes
    another's probe for a conflict and declines its lease (RFC 5227 section 2.1.1; dhcpcd does).
    """
    body = ARP_BODY.pack(1, 0x0800, 6, 4, ARP_REQUEST, source_mac, source.packed, bytes(6), target.packed)
    return (BROADCAST_MAC + source_mac + ARP + body).ljust(60, b"\0")


def parse_arp(frame: bytes) -> tuple[IPv4Address, bytes]:
    """Who says to have which address: (sender's address, sender's MAC). An address of 0.0.0.0 is another's probe.

    Raises MalformedPacket for anything but ARP for IPv4 over Ethernet.
    """
    if len(frame) < 14 + ARP_BODY.size or frame[12:14] != ARP:
        raise MalformedPacket("arp-short")
    hardware, protocol, hlen, plen, operation, mac, address, _, _ = ARP_BODY.unpack_from(frame, 14)
    if (hardware, protocol, hlen, plen) != (1, 0x0800, 6, 4) or operation not in (ARP_REQUEST, ARP_REPLY):
        raise MalformedPacket("arp-kind")
    return IPv4Address(address), mac


def build_echo(identifier: int, sequence: int, payload: bytes = b"") -> bytes:
    """An ICMP echo request, for a raw ICMP socket (the kernel adds the IP header)."""
    bare = ICMP_HEADER.pack(ICMP_REQUEST, 0, 0, identifier, sequence) + payload
    checksum = compute_checksum(bare)
    return ICMP_HEADER.pack(ICMP_REQUEST, 0, checksum, identifier, sequence) + payload


def parse_echo_reply(packet: bytes) -> tuple[IPv4Address, int, int]:
    """(source, identifier, sequence) of an echo reply as a raw ICMP socket delivers it: with its IP header.

    Raises MalformedPacket for anything else, broken checksums included.
    """
    if len(packet) < 28 or packet[0] >> 4 != 4:
        raise MalformedPacket("icmp-short")
    start = (packet[0] & 15) * 4
    if start < 20 or len(packet) < start + ICMP_HEADER.size:
        raise MalformedPacket("icmp-short")
    kind, code, _, identifier, sequence = ICMP_HEADER.unpack_from(packet, start)
    if (kind, code) != (ICMP_REPLY, 0):
        raise MalformedPacket("icmp-kind")
    if compute_checksum(packet[start:]) != 0:
        raise MalformedPacket("icmp-checksum")
    return IPv4Address(packet[12:16]), identifier, sequence
