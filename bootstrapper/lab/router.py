"""The lab's LAN has a router that answers IPv6 router solicitations, with nothing to offer: no prefix, no route.

The distribution's iPXE solicits one beside DHCP and waits for both: on a LAN where nobody answers, each of its boots
takes 16 s longer. Run as a program inside the LAN: `python -m bootstrapper.lab.router INTERFACE`.
"""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import IPv6Address

ALL_ROUTERS = IPv6Address("ff02::2")
SOLICITATION, ADVERTISEMENT = 133, 134
"ICMPv6 types (RFC 4861 sections 4.1 and 4.2)."
HOP_LIMIT = 255
"RFC 4861 section 6.1: anything less came from beyond the link and is dropped."


def build_advertisement() -> bytes:
    """Type, code, checksum (the kernel's work), hop limit, flags, and the lifetime 0: not a default router."""
    return struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, 0, 0, 0, 0)


def serve_advertisements(interface: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as opened:
        index = socket.if_nametoindex(interface)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOP_LIMIT)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, ALL_ROUTERS.packed + struct.pack("@I", index))
        while True:
            data, (_host, _port, _flow, scope) = opened.recvfrom(1500)
            if data[:1] == bytes([SOLICITATION]) and scope == index:
                opened.sendto(build_advertisement(), ("ff02::1", 0, 0, index))


if __name__ == "__main__":
    serve_advertisements(sys.argv[1])
