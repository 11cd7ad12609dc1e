"""The DHCP loop over loopback, played to by a relay that wants answers on its own port (RFC 8357)."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from fakes import FailingStore, MemoryStore
from rack import make_cluster, make_machine

from bootstrapper.answers.leases import Lease
from bootstrapper.boot.events import Event
from bootstrapper.cluster.model import AddressRange, Cluster, Subnet, UnknownPolicy
from bootstrapper.servers.dhcp import DhcpServer, DhcpSockets
from bootstrapper.servers.interfaces import Link
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet

pytestmark = pytest.mark.loopback

MAC = "52:54:00:00:00:01"
STRANGER = "52:54:00:00:00:99"
SERVER = IPv4Address("127.0.0.200")
DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7


def make_loopback_cluster() -> Cluster:
    """A rack whose subnet is on loopback, so that answers to its relay arrive."""
    cluster = make_cluster(make_machine(MAC, "node1", "127.0.1.11"), unknown=UnknownPolicy.DISCOVER)
    range_ = AddressRange(IPv4Address("127.0.5.0"), IPv4Address("127.0.9.255"))
    link = Subnet(IPv4Network("127.0.0.0/16"), (), range_)
    return replace(cluster, network=replace(cluster.network, link=link, bootstrapper=SERVER))


def open_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    sock.bind(("127.0.0.1", 0))
    return sock


class Running:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.events: list[Event] = []
        self.clock_offset = 0.0
        self.dhcp, self.pxe = open_socket(), open_socket()
        link = Link("lo", socket.if_nametoindex("lo"), bytes(6), SERVER, 65536)
        self.server = DhcpServer(
            make_loopback_cluster(),
            store,
            DhcpSockets(link, self.dhcp, self.pxe),
            self.events.append,
            probes=False,
            clock=lambda: time.time() + self.clock_offset,
        )
        self.relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.relay.bind(("127.0.0.1", 0))
        self.relay.settimeout(3)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def send(self, data: bytes) -> None:
        self.relay.sendto(data, self.dhcp.getsockname())

    def ask(self, mac: str, kind: int, **options: bytes) -> Packet:
        self.send(build_request(mac, kind, **options))
        data, (address, port) = self.relay.recvfrom(2048)
        assert (address, port) == ("127.0.0.200", self.dhcp.getsockname()[1])
        return parse_packet(data)

    @property
    def counters(self) -> dict[str, int]:
        return dict(self.server._keeper.counters)

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()
        for sock in (self.dhcp, self.pxe, self.relay):
            sock.close()


def build_request(mac: str, kind: int, requested: bytes = b"", server: bytes = b"") -> bytes:
    options = {53: bytes([kind]), 50: requested, 54: server, 82: bytes([19, 0])}
    return build_packet(
        Packet(
            xid=7,
            giaddr=int(IPv4Address("127.0.0.1")),
            chaddr=bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0"),
            options={code: value for code, value in options.items() if value},
        )
    )


@contextmanager
def running(store: MemoryStore) -> Iterator[Running]:
    made = Running(store)
    try:
        yield made
    finally:
        made.stop()


def until(what: Callable[[], object], timeout: float = 3) -> None:
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.001)


def text(number: int) -> str:
    return str(IPv4Address(number))


def test_four_packets_and_the_lease_is_kept() -> None:
    with running(MemoryStore()) as run:
        offer = run.ask(STRANGER, DISCOVER)
        assert (offer.options[53], text(offer.yiaddr), offer.options[54]) == (b"\x02", "127.0.5.0", SERVER.packed)
        ack = run.ask(STRANGER, REQUEST, requested=offer.yiaddr.to_bytes(4, "big"), server=SERVER.packed)
        assert (ack.options[53], text(ack.yiaddr)) == (b"\x05", "127.0.5.0")
        assert [(str(lease.address), lease.mac) for lease in run.store.load_leases()] == [("127.0.5.0", STRANGER)]
    assert [seen.mac for seen in run.store.load_sightings()] == [STRANGER]
    assert run.store.counters["dhcp"] == {"dhcp_received": 2, "dhcp_answered": 2}


def test_a_reservation_is_not_written_and_its_steps_are_recorded() -> None:
    with running(MemoryStore()) as run:
        offer = run.ask(MAC, DISCOVER)
        ack = run.ask(MAC, REQUEST, requested=offer.yiaddr.to_bytes(4, "big"), server=SERVER.packed)
        assert (text(offer.yiaddr), text(ack.yiaddr)) == ("127.0.1.11", "127.0.1.11")
        assert [(event.step, event.mac) for event in run.events] == [("offer", MAC), ("ack", MAC)]
        assert "save_leases" not in run.store.calls


def test_leases_of_the_last_run_are_honoured() -> None:
    store = MemoryStore()
    store.save_leases([Lease(IPv4Address("127.0.5.7"), STRANGER, time.time() + 600)])
    with running(store) as run:
        assert text(run.ask(STRANGER, DISCOVER).yiaddr) == "127.0.5.7"


def test_a_lease_that_an_admin_forgot_is_not_believed_any_more() -> None:
    store = MemoryStore()
    store.save_leases([Lease(IPv4Address("127.0.5.7"), STRANGER, time.time() + 600)])
    with running(store) as run:
        store.forget_machine(STRANGER, (), lambda history: history)
        # A save that was on its way to the disk when the admin forgot the machine.
        store.save_leases([Lease(IPv4Address("127.0.5.7"), STRANGER, time.time() + 600)])
        store.version += 1
        until(lambda: not run.store.load_leases())
        wanted = IPv4Address("127.0.5.7").packed
        assert text(run.ask("52:54:00:00:00:77", DISCOVER, requested=wanted).yiaddr) == "127.0.5.7"


def test_a_lease_that_an_admin_moved_is_the_new_cards() -> None:
    store, new = MemoryStore(), "52:54:00:00:00:77"
    store.save_leases([Lease(IPv4Address("127.0.5.7"), STRANGER, time.time() + 600)])
    with running(store) as run:
        store.move_machine(STRANGER, new, lambda old, _: (old, old))
        store.version += 1
        until(lambda: text(run.ask(new, DISCOVER).yiaddr) == "127.0.5.7")
        assert text(run.ask(STRANGER, DISCOVER).yiaddr) == "127.0.5.0"
        assert [lease.mac for lease in store.load_leases()] == [new]


def test_no_ack_when_the_disk_is_full_but_offers_go_on() -> None:
    with running(FailingStore()) as run:
        offer = run.ask(STRANGER, DISCOVER)
        run.send(build_request(STRANGER, REQUEST, requested=offer.yiaddr.to_bytes(4, "big"), server=SERVER.packed))
        until(lambda: run.counters.get('dhcp_dropped{reason="dhcp-lease-not-saved"}') == 1)
        # A NAK or an ACK would come before the answer to the next request.
        assert run.ask("52:54:00:00:00:98", DISCOVER).options[53] == b"\x02"


def test_what_is_no_dhcp_is_counted_by_reason() -> None:
    with running(MemoryStore()) as run:
        run.send(b"")
        run.send(bytes(300))
        run.send(build_request(STRANGER, RELEASE))
        assert run.ask(STRANGER, DISCOVER).options[53] == b"\x02"
        assert {name: count for name, count in run.counters.items() if "dropped" in name} == {
            'dhcp_dropped{reason="dhcp-short"}': 1,
            'dhcp_dropped{reason="dhcp-cookie"}': 1,
            'dhcp_dropped{reason="dhcp-release-fields"}': 1,
        }


def test_leases_move_with_a_clock_that_is_set() -> None:
    store = MemoryStore()
    store.save_leases([Lease(IPv4Address("127.0.5.7"), STRANGER, 5000.0)])
    with running(store) as run:
        run.clock_offset = 1000.0
        until(lambda: abs(store.leases[IPv4Address("127.0.5.7")].expires_at - 6000.0) < 1)


def test_the_loop_outlives_a_fault_in_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(MemoryStore()) as run:
        port = run.server._ports[0]
        receive = port.receiver.receive

        def fail() -> list[tuple[bytes, bytes]]:
            monkeypatch.setattr(port.receiver, "receive", receive)
            raise OSError(100, "Network is down")

        monkeypatch.setattr(port.receiver, "receive", fail)
        assert run.ask(STRANGER, DISCOVER).options[53] == b"\x02"
        assert run.counters['dhcp_receive_errors{error="100"}'] == 1


def test_stopping_ends_at_once_and_leaves_the_sockets_to_the_caller() -> None:
    run = Running(MemoryStore())
    began = time.monotonic()
    run.server.stop()
    run.thread.join(5)
    assert time.monotonic() - began < 1
    assert run.dhcp.fileno() != -1
    run.stop()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def make_noise(chance: random.Random) -> bytes:
    """Anything at all, or a real request with some bytes changed, cut off or added."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.randrange(0, 600))
    mac = bytes([2, *chance.randbytes(5)]).hex(":")
    data = bytearray(build_request(mac, chance.randrange(0, 20), chance.randbytes(4), SERVER.packed))
    for _ in range(chance.choice([0, 1, 1, 2, 8])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_million_random_datagrams_leave_it_serving_with_memory_flat() -> None:
    seed = 20_240_101
    chance = random.Random(seed)
    with running(MemoryStore()) as run:
        run.server._keeper._store.save_leases = lambda leases: None  # type: ignore[method-assign]
        sent, settled = 0, 0
        while sent < 1_000_000:
            for _ in range(100):  # as many as the socket's buffer holds
                run.send(make_noise(chance))
            sent += 100
            # No faster than it reads, or the kernel would drop what is to be tested.
            until(lambda want=sent: run.counters.get("dhcp_received", 0) >= want, 30)  # type: ignore[misc]
            if sent == 300_000:  # every bounded memory is full by now
                settled = resident_bytes()
        grown = resident_bytes() - settled
        run.relay.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                run.relay.recv(2048)
        run.relay.settimeout(3)
        assert run.ask(MAC, DISCOVER).options[53] == b"\x02", f"seed {seed}"
        assert grown < 8 << 20, f"{grown} bytes more after 700,000 datagrams"
        reasons = [name for name in run.counters if name.startswith("dhcp_dropped")]
        assert 10 < len(reasons) < 60, reasons
