"""Each way a reply can go, and what happens when the kernel refuses it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from bootstrapper.answers.dhcp import Destination, Reply, Way
from bootstrapper.servers.dhcp_send import Transmitter
from bootstrapper.servers.interfaces import Link

pytestmark = pytest.mark.loopback

OURS = bytes.fromhex("5254000000fe")
THEIRS = bytes.fromhex("525400000001")


class Frames:
    def __init__(self, broken: bool = False) -> None:
        self.sent: list[bytes] = []
        self.broken = broken

    def send(self, frame: bytes) -> None:
        if self.broken:
            raise OSError("no buffer space")
        self.sent.append(frame)


class Datagrams:
    """In the place of the batch sender: a broadcast cannot be seen on loopback."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []

    def send(self, datagrams: list[tuple[bytes, bytes]]) -> int:
        self.sent += datagrams
        return 0


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind(("127.0.0.1", 0))
        yield made


def make(sock: socket.socket, frames: Frames | None) -> tuple[Transmitter, Datagrams]:
    link = Link("lo", socket.if_nametoindex("lo"), OURS, IPv4Address("10.20.0.1"), 1500)
    raw: Any = frames
    transmitter = Transmitter(sock, raw, link, 67)
    datagrams: Any = Datagrams()
    transmitter._sender = datagrams
    return transmitter, datagrams


EVERYBODY = bytes([0, 68, 255, 255, 255, 255])
LINK = Reply(b"offer", Destination(Way.LINK, "10.20.0.100", 68, THEIRS))


@pytest.mark.parametrize(
    ("to", "name"),
    [
        (Destination(Way.RELAY, "10.21.0.254", 67), bytes([0, 67, 10, 21, 0, 254])),
        (Destination(Way.UNICAST, "10.20.0.100", 68), bytes([0, 68, 10, 20, 0, 100])),
        (Destination(Way.SOURCE, "10.20.0.100", 4011), bytes([15, 171, 10, 20, 0, 100])),
        (Destination(Way.BROADCAST, "255.255.255.255", 68), EVERYBODY),
    ],
)
def test_datagrams(sock: socket.socket, to: Destination, name: bytes) -> None:
    transmitter, datagrams = make(sock, None)
    transmitter.send([Reply(b"one", to), Reply(b"two", to)])
    assert datagrams.sent == [(b"one", name), (b"two", name)]


def test_a_frame_to_a_machine_without_an_address(sock: socket.socket) -> None:
    frames = Frames()
    transmitter, datagrams = make(sock, frames)
    transmitter.send([LINK])
    (frame,) = frames.sent
    assert frame[:14] == THEIRS + OURS + b"\x08\x00"
    assert (frame[26:30], frame[30:34]) == (bytes([10, 20, 0, 1]), bytes([10, 20, 0, 100]))
    assert (frame[34:38], frame[42:]) == (bytes([0, 67, 0, 68]), b"offer")
    assert datagrams.sent == []


def test_broadcast_where_no_frame_can_be_sent(sock: socket.socket) -> None:
    transmitter, datagrams = make(sock, None)
    transmitter.send([LINK])
    assert datagrams.sent == [(b"offer", EVERYBODY)]
    transmitter, datagrams = make(sock, Frames(broken=True))
    transmitter.send([LINK])
    assert datagrams.sent == [(b"offer", EVERYBODY)]
    assert transmitter.take_unsent() == [("frame", 1)]
    assert transmitter.take_unsent() == []


def test_what_the_kernel_refuses_is_counted(sock: socket.socket) -> None:
    link = Link("lo", socket.if_nametoindex("lo"), OURS, IPv4Address("127.0.0.1"), 1500)
    transmitter = Transmitter(sock, None, link, 67)
    transmitter.send([Reply(b"lost", Destination(Way.UNICAST, "127.0.0.1", 0))])
    assert transmitter.take_unsent() == [("datagram", 1)]


def test_remembered_names_are_bounded(sock: socket.socket) -> None:
    transmitter, datagrams = make(sock, None)
    for number in range(5000):
        transmitter.send([Reply(b"", Destination(Way.UNICAST, str(IPv4Address(0x0A140000 + number)), 68))])
    assert len(transmitter._names) <= 4096
    assert len(datagrams.sent) == 5000
