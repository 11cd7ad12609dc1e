"""The admin plane's two listeners: a Unix socket in the state directory, and TCP on loopback unless told otherwise.

Both are opened once, by the supervisor, and inherited over reloads.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from bootstrapper.errors import UserError
from bootstrapper.servers.sockets import open_tcp

SOCKET_NAME = "admin.sock"
DEFAULT_PLACE = "127.0.0.1:8480"
PLACE = re.compile(r"([0-9.]{7,15}|localhost):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class AdminPlace:
    """Where TCP listens."""

    address: IPv4Address
    port: int

    @property
    def needs_tls(self) -> bool:
        """Beyond this host: what travels there is read by others."""
        return not self.address.is_loopback


@dataclass(frozen=True, slots=True)
class AdminSockets:
    unix: socket.socket
    tcp: socket.socket | None
    place: AdminPlace | None

    @property
    def listeners(self) -> list[socket.socket]:
        return [self.unix] if self.tcp is None else [self.unix, self.tcp]


def parse_place(text: str) -> AdminPlace | None:
    """`ADDRESS:PORT`, or `off`: the Unix socket alone. Raises UserError."""
    if text == "off":
        return None
    matched = PLACE.fullmatch(text)
    hint = f"as in --admin {DEFAULT_PLACE}, or --admin off for the Unix socket alone"
    if matched is None:
        raise UserError(f"--admin {text}: expected an IPv4 address and a port", hint)
    try:
        address = IPv4Address("127.0.0.1" if matched[1] == "localhost" else matched[1])
    except AddressValueError as error:
        raise UserError(f"--admin {text}: {error}", hint) from None
    port = int(matched[2])
    if not 0 < port < 65536:
        raise UserError(f"--admin {text}: expected a port from 1 to 65535", hint)
    if address.is_unspecified or address.is_multicast:
        raise UserError(
            f"--admin {text}: beyond loopback the admin plane speaks TLS only, and no certificate can be for {address}",
            f"give the one address that admins reach it at, or --admin {DEFAULT_PLACE}",
        )
    return AdminPlace(address, port)


def open_admin_tcp(place: AdminPlace | None) -> socket.socket | None:
    return None if place is None else open_tcp(str(place.address), place.port, "admin")


def open_admin_unix(state: Path) -> socket.socket:
    """STATE/admin.sock, 0600: whoever may open it is the admin. Raises UserError when another server has it.

    One that was left behind by a server that is gone is replaced.
    """
    path = state / SOCKET_NAME
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        with _short_name(state) as name:
            _remove_dead(name, path)
            sock.bind(name)
        sock.listen()
    except OSError as error:
        sock.close()
        raise UserError(f"{path} cannot be opened: {error.strerror}", "give another directory with --state") from error
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


@contextmanager
def _short_name(state: Path) -> Iterator[str]:
    """A path of the socket that is short enough (107 bytes) however deep the state directory is."""
    directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)


def _remove_dead(name: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(name)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED and path.is_socket():
                with suppress(FileNotFoundError):
                    path.unlink()
            elif error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise
            return
    raise UserError(f"another server listens on {path}", "stop it first: two servers cannot share one state directory")
