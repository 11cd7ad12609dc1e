"""Every socket that needs a privilege, opened before privileges are dropped; each fault in words for the admin.

UDP sockets do not set SO_REUSEADDR: on Linux two servers that both do may bind the same port, and each would get some
of the datagrams. Without it a second DHCP server on this host is a clear fault at start.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path

from bootstrapper.cluster.model import DhcpMode, Network
from bootstrapper.errors import UserError
from bootstrapper.servers.interfaces import Link, find_link

# Linux; Python 3.11's socket module has no names for these.
IP_PKTINFO = 8
SO_RCVBUFFORCE = 33
ETH_P_IP, ETH_P_ARP = 0x0800, 0x0806
_SO_ATTACH_FILTER = 26
_SOL_RAW, _ICMP_FILTER = 255, 1
_ECHO_REPLY = 0

RECEIVE_BYTES = 8 << 20
"A power-on storm arrives while a commit or a reload is under way; the kernel keeps it for us."
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Ports:
    dhcp: int = 67
    pxe: int = 4011
    tftp: int = 69
    dns: int = 53
    http: int = 80
    https: int = 443


@dataclass(frozen=True, slots=True)
class Sockets:
    """All non-blocking and closed on exec. None: the description turns the service off."""

    link: Link
    dhcp: socket.socket | None
    pxe: socket.socket | None
    frames: socket.socket | None
    "AF_PACKET on the interface: sends whole Ethernet frames, receives ARP."
    echo: socket.socket | None
    "ICMP: sends echo requests, receives echo replies only."
    rivals: socket.socket | None
    "AF_PACKET on the interface: receives what other DHCP servers broadcast to clients, sends our own DISCOVER."
    tftp: socket.socket
    dns_udp: socket.socket
    dns_tcp: socket.socket
    http: socket.socket
    https: socket.socket

    def close(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, socket.socket):
                value.close()


def open_sockets(network: Network, ports: Ports | None = None) -> Sockets:
    """All or none. Raises UserError."""
    ports = ports or Ports()
    link = find_link(network)
    address = str(link.address)
    opened: list[socket.socket] = []

    def keep(sock: socket.socket) -> socket.socket:
        opened.append(sock)
        return sock

    try:
        dhcp = network.dhcp.mode is not DhcpMode.OFF
        return Sockets(
            link=link,
            dhcp=keep(open_dhcp(link, ports.dhcp)) if dhcp else None,
            pxe=keep(open_dhcp(link, ports.pxe)) if dhcp else None,
            frames=keep(open_frames(link)) if dhcp else None,
            echo=keep(open_echo(link)) if dhcp else None,
            rivals=keep(open_rivals(link)) if dhcp else None,
            tftp=keep(open_udp(address, ports.tftp, "TFTP")),
            dns_udp=keep(open_udp(address, ports.dns, "DNS")),
            dns_tcp=keep(open_tcp(address, ports.dns, "DNS")),
            http=keep(open_tcp(address, ports.http, "HTTP")),
            https=keep(open_tcp(address, ports.https, "HTTPS")),
        )
    except BaseException:
        for sock in opened:
            sock.close()
        raise


def open_dhcp(link: Link, port: int) -> socket.socket:
    """Hears broadcasts, which a socket bound to an address does not; hence bound to the interface instead."""
    with _opening("UDP", "", port, "DHCP") as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode() + b"\0")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        enlarge(sock)
        sock.bind(("", port))
    return sock


def open_udp(address: str, port: int, service: str) -> socket.socket:
    with _opening("UDP", address, port, service) as sock:
        enlarge(sock)
        sock.bind((address, port))
    return sock


def open_tcp(address: str, port: int, service: str) -> socket.socket:
    with _opening("TCP", address, port, service) as sock:
        # Without it a restart would wait for the kernel to forget the last connections.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    return sock


def open_frames(link: Link) -> socket.socket:
    with _privileged(f"raw frames on {link.name} (DHCP to machines that have no address yet)"):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        # Bound with its protocol only now: between socket() and bind() it would get the frames of every interface.
        sock.bind((link.name, ETH_P_ARP))
    return sock


def open_echo(link: Link) -> socket.socket:
    with _privileged("ICMP (looking for address conflicts)"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", 0xFFFFFFFF & ~(1 << _ECHO_REPLY)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode() + b"\0")
        enlarge(sock, 1 << 20)
    return sock


def open_rivals(link: Link) -> socket.socket:
    """Frames that carry UDP to port 68, as only DHCP servers and relays send them; the kernel drops all others."""
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _TO_PORT_68)
    buffer = ctypes.create_string_buffer(program)
    with _privileged(f"raw frames on {link.name} (looking for other DHCP servers)"):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        filter_program = struct.pack("HxxxxxxP", len(_TO_PORT_68), ctypes.addressof(buffer))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)
        sock.bind((link.name, ETH_P_IP))
    return sock


def enlarge(sock: socket.socket, size: int = RECEIVE_BYTES) -> None:
    """The receive buffer; beyond the system's limit only with CAP_NET_ADMIN, else as much as it allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


@contextmanager
def _opening(protocol: str, address: str, port: int, service: str) -> Iterator[socket.socket]:
    """A new socket; closed again, and the fault told, when the block cannot set it up."""
    kind = socket.SOCK_DGRAM if protocol == "UDP" else socket.SOCK_STREAM
    where = f"{protocol} port {port} ({service})" + (f" on {address}" if address else "")
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        with _privileged(where):
            yield sock
    except OSError as error:
        sock.close()
        raise _explain(error, where, protocol, port) from error
    except BaseException:
        sock.close()
        raise


@contextmanager
def _privileged(what: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"no permission to open {what}",
            "run as root, or with the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW "
            "(docker run --cap-add, AmbientCapabilities= in a systemd unit)",
        ) from error


def _explain(error: OSError, where: str, protocol: str, port: int) -> UserError:
    if error.errno == errno.EADDRINUSE:
        holder = find_holder(protocol, port)
        who = f" by {holder[0]} (process {holder[1]})" if holder else " by another program"
        stop = f"stop it (systemctl stop {holder[0]}, or kill {holder[1]})" if holder else "stop it"
        return UserError(f"{where} is taken{who}", f"{stop}, or see ss -lnp for what it is")
    if error.errno == errno.EADDRNOTAVAIL:
        return UserError(f"{where}: this host no longer has the address", "see ip address")
    if error.errno == errno.ENODEV:
        return UserError(f"{where}: the interface is gone", "see ip link")
    return UserError(f"{where} cannot be opened: {error.strerror}")


def find_holder(protocol: str, port: int, proc: Path = Path("/proc")) -> tuple[str, int] | None:
    """(name, pid) of a process that has the port; None when there is none or it may not be seen."""
    inodes = set(_inodes(proc / "net" / protocol.lower(), port, protocol))
    if not inodes:
        return None
    for folder in sorted(proc.glob("[0-9]*/fd")):
        with suppress(OSError):
            for entry in folder.iterdir():
                with suppress(OSError):
                    target = str(entry.readlink())
                    if target.startswith("socket:[") and target[8:-1] in inodes:
                        return (folder.parent / "comm").read_text().strip(), int(folder.parent.name)
    return None


def _inodes(table: Path, port: int, protocol: str) -> Iterator[str]:
    """From /proc/net: `sl local_address rem_address st ... inode`; state 0A is a TCP listener."""
    for line in _lines(table)[1:]:
        columns = line.split()
        wanted = protocol == "UDP" or columns[3] == "0A"
        if wanted and int(columns[1].rpartition(":")[2], 16) == port:
            yield columns[9]


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text().splitlines()
    except OSError:
        return []


_TO_PORT_68 = (
    # Classic BPF on Ethernet frames: (code, jump if true, jump if false, value).
    (0x30, 0, 0, 23),  # load the IP protocol
    (0x15, 0, 6, 17),  # UDP, else drop
    (0x28, 0, 0, 20),  # load flags and fragment offset
    (0x45, 4, 0, 0x1FFF),  # a later fragment: drop
    (0xB1, 0, 0, 14),  # X = length of the IP header
    (0x48, 0, 0, 16),  # load the UDP destination port
    (0x15, 0, 1, 68),
    (0x06, 0, 0, 2048),  # keep
    (0x06, 0, 0, 0),  # drop
)
