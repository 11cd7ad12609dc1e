"""The admin plane's listeners: where they may be, whose the Unix socket is, and what is left behind."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from bootstrapper.errors import UserError
from bootstrapper.servers.admin_sockets import open_admin_unix, parse_place


@pytest.mark.parametrize(
    ("text", "address", "port", "tls"),
    [
        ("127.0.0.1:8480", "127.0.0.1", 8480, False),
        ("localhost:80", "127.0.0.1", 80, False),
        ("127.8.8.8:1", "127.8.8.8", 1, False),
        ("10.10.14.253:8480", "10.10.14.253", 8480, True),
    ],
)
def test_places(text: str, address: str, port: int, tls: bool) -> None:
    place = parse_place(text)
    assert place is not None
    assert (str(place.address), place.port, place.needs_tls) == (address, port, tls)
    assert parse_place("off") is None


@pytest.mark.parametrize(
    "text", ["", ":8480", "8480", "0.0.0.0:8480", "224.0.0.1:1", "1.2.3.4:0", "1.2.3.4:65536", "300.1.1.1:1", "[::1]:1",
             "example.com:1", "1.2.3.4:1x", "127.0.0.1:8480\n"]
)  # fmt: skip
def test_places_that_cannot_be(text: str) -> None:
    with pytest.raises(UserError, match="--admin"):
        parse_place(text)


@pytest.mark.loopback
def test_the_socket_is_its_owners_alone_in_a_directory_however_deep(tmp_path: Path) -> None:
    state = tmp_path / ("d" * 100) / ("e" * 100)
    state.mkdir(parents=True)
    before = os.umask(0)
    try:
        with open_admin_unix(state):
            assert stat.S_IMODE((state / "admin.sock").stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.loopback
def test_a_dead_servers_socket_is_replaced_and_a_living_ones_is_not(tmp_path: Path) -> None:
    first = open_admin_unix(tmp_path)
    with pytest.raises(UserError, match="another server listens"):
        open_admin_unix(tmp_path)
    first.close()
    with open_admin_unix(tmp_path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "admin.sock"))


@pytest.mark.loopback
def test_what_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "admin.sock").write_text("mine")
    with pytest.raises(UserError):
        open_admin_unix(tmp_path)
    assert (tmp_path / "admin.sock").read_text() == "mine"
