"""Datagrams through recvmmsg and sendmmsg over loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from bootstrapper.servers.udp import Receiver, Sender, pack_name, parse_record

pytestmark = pytest.mark.loopback
IP_PKTINFO = 8
LOOPBACK = IPv4Address("127.0.0.1")


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.bind(("", 0))
        yield sock


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.2", 0))
        sock.settimeout(2)
        yield sock


def index_of_loopback() -> int:
    return socket.if_nametoindex("lo")


def test_payload_sender_and_destination(server: socket.socket, client: socket.socket) -> None:
    port = server.getsockname()[1]
    receiver = Receiver(server)
    assert receiver.receive() == []
    client.sendto(b"one", ("127.0.0.1", port))
    client.sendto(b"", ("127.0.0.7", port))
    sender = (IPv4Address("127.0.0.2"), client.getsockname()[1])
    found = [(data, parse_record(record)) for data, record in receiver.receive()]
    assert found == [
        (b"one", (*sender, LOOPBACK, LOOPBACK)),
        (b"", (*sender, IPv4Address("127.0.0.7"), IPv4Address("127.0.0.7"))),
    ]
    assert receiver.receive() == []


def test_more_than_a_batch(server: socket.socket, client: socket.socket) -> None:
    receiver = Receiver(server, count=4)
    for number in range(10):
        client.sendto(bytes([number]) * (number * 100), ("127.0.0.1", server.getsockname()[1]))
    batches = [receiver.receive() for _ in range(4)]
    assert [len(batch) for batch in batches] == [4, 4, 2, 0]
    assert [each[0] for batch in batches for each in batch] == [bytes([n]) * (n * 100) for n in range(10)]


def test_a_datagram_that_is_too_long_is_dropped(server: socket.socket, client: socket.socket) -> None:
    receiver = Receiver(server, size=100)
    for size in (100, 101, 5):
        client.sendto(bytes(size), ("127.0.0.1", server.getsockname()[1]))
    assert [len(each[0]) for each in receiver.receive()] == [100, 5]
    assert receiver.too_long == 1
    client.sendto(bytes(100), ("127.0.0.1", server.getsockname()[1]))
    assert [len(each[0]) for each in receiver.receive()] == [100]


def test_sending_many_from_the_source_asked_for(server: socket.socket, client: socket.socket) -> None:
    sender = Sender(server, IPv4Address("127.0.0.9"), index_of_loopback(), count=3)
    to = pack_name("127.0.0.2", client.getsockname()[1])
    payloads = [bytes([number]) * (number * 50) for number in range(8)]
    assert sender.send([(payload, to) for payload in payloads]) == 0
    got = [client.recvfrom(2048) for _ in range(8)]
    assert [data for data, _ in got] == payloads
    assert {name for _, name in got} == {("127.0.0.9", server.getsockname()[1])}


def test_what_the_kernel_refuses_does_not_stop_the_rest(server: socket.socket, client: socket.socket) -> None:
    sender = Sender(server, LOOPBACK, index_of_loopback())
    to = pack_name("127.0.0.2", client.getsockname()[1])
    nowhere = pack_name("127.0.0.2", 0)
    assert sender.send([(b"a", to), (b"b", nowhere), (b"c", to), (bytes(1473), to), (b"d", to)]) == 2
    assert [client.recv(100) for _ in range(3)] == [b"a", b"c", b"d"]


def test_what_came_the_same_way_has_the_same_record(server: socket.socket, client: socket.socket) -> None:
    receiver = Receiver(server)
    for size in (10, 20, 30):
        client.sendto(bytes(size), ("127.0.0.1", server.getsockname()[1]))
    assert len({record for _, record in receiver.receive()}) == 1


def test_slots_are_written_anew_when_they_must_be(server: socket.socket, client: socket.socket) -> None:
    sender = Sender(server, LOOPBACK, index_of_loopback(), count=2)
    to = pack_name("127.0.0.2", client.getsockname()[1])
    other = pack_name("127.0.0.3", client.getsockname()[1])
    sender.send([(b"first", to), (b"second", to)])
    sender.send([(b"elsewhere", other), (b"3rd", to)])
    sender.send([(b"fourth", to)])
    assert [client.recv(100) for _ in range(4)] == [b"first", b"second", b"3rd", b"fourth"]


def test_names() -> None:
    assert pack_name("10.20.0.1", 68) == bytes([0, 68, 10, 20, 0, 1])
