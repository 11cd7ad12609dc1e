"""Who is behind a connection, by the kernel's word: no header can change it.

A browser sends a cookie to every port of a host, so a server that another user of the admin's host runs can read the
admin's. What that user cannot have is the admin's uid behind a connection: a session is bound to it.
"""

from __future__ import annotations

import pwd
import socket
import struct
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address

from flask import request

from bootstrapper.web.admin.words import clean

SOCK_DIAG = 4
"The netlink family, and below its one kind of request (linux/netlink.h, linux/sock_diag.h)."
BY_FAMILY = 20
REQUEST = struct.Struct("=IHHII BBBBI")
"nlmsghdr, then what of inet_diag_req_v2 is before the socket's id (linux/inet_diag.h)."
SOCKET_ID = struct.Struct("!HH4s12x4s12x")
ANY_INTERFACE_AND_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
REPLY = struct.Struct("=IHHII 4x 48x 12x II")
"nlmsghdr, inet_diag_msg: its last two are the uid and the inode."


def find_source() -> str:
    """The peer's address; empty for the Unix socket."""
    return str(request.environ.get("REMOTE_ADDR", ""))


def find_peer() -> str | None:
    """The user behind a Unix socket's connection, by name; None for any other connection."""
    sock = request.environ.get("gunicorn.socket")
    if sock is None or getattr(sock, "family", None) != socket.AF_UNIX:
        return None
    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return name_user(uid)


def find_place() -> str:
    """What a session is bound to: the peer's address, and on this host its user too."""
    source = find_source()
    sock = request.environ.get("gunicorn.socket")
    if sock is None or getattr(sock, "family", None) != socket.AF_INET:
        return source
    try:
        uid = find_uid(sock.getpeername(), sock.getsockname()) if IPv4Address(source).is_loopback else None
    except (OSError, AddressValueError):  # gone already
        return source
    return source if uid is None else f"{source}, {name_user(uid)}"


def find_uid(theirs: tuple[str, int], ours: tuple[str, int]) -> int | None:
    """The user of the other end of a TCP connection within this host; None: it is closed, or the kernel does not say.

    An end that its program closed belongs to uid 0 and no inode, and is nobody's: root's sessions are not for whoever
    hangs up in time.
    """
    sockets = SOCKET_ID.pack(theirs[1], ours[1], socket.inet_aton(theirs[0]), socket.inet_aton(ours[0]))
    length = REQUEST.size + len(sockets) + len(ANY_INTERFACE_AND_COOKIE)
    asked = REQUEST.pack(length, BY_FAMILY, 1, 1, 0, socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG) as kernel:
            kernel.settimeout(1.0)
            kernel.sendto(asked + sockets + ANY_INTERFACE_AND_COOKIE, (0, 0))
            told = kernel.recv(1024)
    except OSError:
        return None
    if len(told) < REPLY.size:  # NLMSG_ERROR
        return None
    _length, kind, _flags, _sequence, _pid, uid, inode = REPLY.unpack_from(told)
    return int(uid) if kind == BY_FAMILY and inode else None


def name_user(uid: int) -> str:
    with suppress(KeyError):
        return clean(pwd.getpwuid(uid).pw_name, 32)
    return f"uid {uid}"
