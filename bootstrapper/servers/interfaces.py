"""The interface we serve on: found by its name or by our address, with what the rest needs to know of it."""

from __future__ import annotations

import fcntl
import socket
import struct
from array import array
from dataclasses import dataclass
from ipaddress import IPv4Address

from bootstrapper.cluster.model import Network
from bootstrapper.errors import UserError

# From linux/sockios.h and linux/if.h; Python has no names for them.
_SIOCGIFCONF, _SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFHWADDR = 0x8912, 0x8913, 0x8921, 0x8927
_IFF_UP = 1
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_IFREQ_BYTES = 40


@dataclass(frozen=True, slots=True)
class Link:
    name: str
    index: int
    mac: bytes
    "Six bytes."
    address: IPv4Address
    "Ours on it: the description's `bootstrapper`."
    mtu: int


def find_link(network: Network) -> Link:
    """The interface that `network` says we stand on. Raises UserError with what there is instead."""
    found = list_addresses()
    names = [name for _, name in socket.if_nameindex()]
    holders = [name for name, addresses in found.items() if network.bootstrapper in addresses]
    name = network.interface
    if name is None:
        if not holders:
            raise UserError(
                f"no interface has the address {network.bootstrapper} (network.bootstrapper)",
                f"give it to one (ip address add {network.bootstrapper}/{network.link.network.prefixlen} dev ...), "
                f"or correct the file; there is: {_describe(found, names)}",
            )
        name = holders[0]
    elif name not in names:
        raise UserError(f"there is no interface {name} (network.interface)", f"there is: {_describe(found, names)}")
    elif name not in holders:
        raise UserError(
            f"interface {name} does not have the address {network.bootstrapper} (network.bootstrapper)",
            f"ip address add {network.bootstrapper}/{network.link.network.prefixlen} dev {name}, "
            f"or correct the file; there is: {_describe(found, names)}",
        )
    return read_link(name, network.bootstrapper)


def read_link(name: str, address: IPv4Address) -> Link:
    """Ask the kernel about interface `name`. Raises UserError when it cannot carry DHCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        (flags,) = struct.unpack_from("h", _ask(sock, _SIOCGIFFLAGS, name), 16)
        (mtu,) = struct.unpack_from("i", _ask(sock, _SIOCGIFMTU, name), 16)
        kind, mac = struct.unpack_from("H6s", _ask(sock, _SIOCGIFHWADDR, name), 16)
    if not flags & _IFF_UP:
        raise UserError(f"interface {name} is down", f"ip link set {name} up")
    if kind not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
        raise UserError(f"interface {name} is not Ethernet (type {kind})", "serve on an Ethernet interface or a bridge")
    return Link(name, socket.if_nametoindex(name), mac, address, mtu)


def list_addresses() -> dict[str, list[IPv4Address]]:
    """Interface -> its IPv4 addresses, for interfaces that have any. An alias (`eth0:1`) counts as its interface."""
    size = 64 * _IFREQ_BYTES
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while True:
            table = array("B", bytes(size))
            answer = fcntl.ioctl(sock, _SIOCGIFCONF, struct.pack("iP", size, table.buffer_info()[0]))
            (used,) = struct.unpack_from("i", answer)
            if used < size:
                break
            size *= 2
    entries = table.tobytes()
    found: dict[str, list[IPv4Address]] = {}
    for start in range(0, used, _IFREQ_BYTES):
        name = _text(entries[start : start + 16]).split(":")[0]
        found.setdefault(name, []).append(IPv4Address(entries[start + 20 : start + 24]))
    return found


def _ask(sock: socket.socket, request: int, name: str) -> bytes:
    return fcntl.ioctl(sock, request, struct.pack("16s24x", name.encode()))


def _text(name: bytes) -> str:
    return name.split(b"\0", 1)[0].decode(errors="replace")


def _describe(found: dict[str, list[IPv4Address]], names: list[str]) -> str:
    return ", ".join(f"{name} ({' '.join(map(str, found.get(name, []))) or 'no address'})" for name in names)
