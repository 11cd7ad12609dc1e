"""The DHCP server: receive on 67 and 4011, ask `answers.dhcp`, send. One loop; the disk has a thread of its own.

The loop is epoll and not asyncio: a callback and a future per datagram would cost as much as the answer does.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from bootstrapper.answers.dhcp import Arrival, DhcpAnswers, Reply
from bootstrapper.answers.leases import Lease, LeaseTable
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import Cluster
from bootstrapper.servers.dhcp_keeper import Keeper, Waiting
from bootstrapper.servers.dhcp_send import Transmitter
from bootstrapper.servers.interfaces import Link
from bootstrapper.servers.logs import LOGGER
from bootstrapper.servers.probe import Prober
from bootstrapper.servers.udp import Datagram, Receiver, parse_record
from bootstrapper.servers.vendors import name_vendor
from bootstrapper.state.store import Store

TICK_S = 0.1
BATCHES = 8
"Batches taken from one socket before the others get their turn."
MOST_ARRIVALS = 8192
CLOCK_STEP_S = 2.0
"A difference between wall clock and steady clock that is a change of the clock, not its drift."
NEW = History()


@dataclass(frozen=True, slots=True)
class DhcpSockets:
    """What `sockets.open_sockets` opened for this service."""

    link: Link
    dhcp: socket.socket
    pxe: socket.socket
    frames: socket.socket | None = None
    echo: socket.socket | None = None
    rivals: socket.socket | None = None


def serve_dhcp(
    cluster: Cluster,
    store: Store,
    sockets: DhcpSockets,
    record: Callable[[Event], None],
    *,
    http_port: int = 80,
    probes: bool = True,
) -> None:
    """Serve until SIGTERM. For a process of its own: it takes the signal and sets the garbage collector."""
    server = DhcpServer(cluster, store, sockets, record, http_port=http_port, probes=probes)
    signal.signal(signal.SIGTERM, lambda _number, _frame: server.stop())
    # What was built so far stays for good: collections need not walk 10,000 machines and their leases again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    server.run()


class DhcpServer:
    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        sockets: DhcpSockets,
        record: Callable[[Event], None],
        *,
        http_port: int = 80,
        probes: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`record` logs and keeps an event and never blocks. Without `probes` no address is looked for beforehand."""
        self._clock = clock
        self._record = record
        self._sockets = sockets
        self._keeper = Keeper(store, record, name_vendor, clock)
        histories = self._keeper.histories
        self._table = LeaseTable(store.load_leases())
        self._answers = DhcpAnswers(cluster, self._table, lambda mac: histories.get(mac, NEW), http_port)
        self._prober = Prober(cluster, self._table, sockets.link, sockets.frames, sockets.echo, sockets.rivals)
        self._probes = probes
        self._ports = [_Port(sockets.dhcp, sockets, 67), _Port(sockets.pxe, sockets, 4011)]
        self._keeper_transmitters = {
            port: Transmitter(port.sock, sockets.frames, sockets.link, port.number) for port in self._ports
        }
        self._stopped = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._step = clock() - time.monotonic()
        if self._answers.hint:
            logging.getLogger(LOGGER).warning("dhcp: %s", self._answers.hint)

    def stop(self) -> None:
        """End `run`, from any thread or a signal handler."""
        self._stopped = True
        os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """Serve until `stop`; what was answered is on disk when it returns. The sockets stay the caller's."""
        handlers: dict[int, Callable[[], None]] = {self._wake: self._drain_wake}
        for port in self._ports:
            handlers[port.sock.fileno()] = port.bind(self._receive)
        if self._probes:
            handlers |= self._prober.handlers
        poll = select.epoll()
        for descriptor in handlers:
            poll.register(descriptor, select.EPOLLIN)
        self._keeper.start()
        tick_at = 0.0
        try:
            while not self._stopped:
                for descriptor, _ in poll.poll(TICK_S):
                    handlers[descriptor]()
                now = time.monotonic()
                if now >= tick_at:
                    tick_at = now + TICK_S
                    self._tick(now)
        finally:
            poll.close()
            self._keeper.stop()

    def _drain_wake(self) -> None:
        os.eventfd_read(self._wake)

    def _receive(self, port: _Port) -> None:
        for _ in range(BATCHES):
            try:
                datagrams = port.receiver.receive()
            except OSError as error:
                # An ICMP error for an earlier reply, or the interface went down: the socket itself goes on.
                self._keeper.counters[f'dhcp_receive_errors{{error="{error.errno}"}}'] += 1
                return
            if not datagrams:
                return
            self._answer_all(port, datagrams)

    def _answer_all(self, port: _Port, datagrams: list[Datagram]) -> None:
        counters = self._keeper.counters
        replies: list[Reply] = []
        waiting: list[Waiting] = []
        answer = self._answers.answer
        transmitter = self._keeper_transmitters[port]
        now = self._clock()
        for data, record in datagrams:
            reply, lease, drop, event, sighting = answer(data, port.arrival(record), now)
            if lease is not None:
                waiting.append(Waiting(lease, reply, transmitter, event))
            elif reply is not None:
                replies.append(reply)
                if event is not None:
                    self._record(event)
            elif event is not None:
                self._record(event)
            if drop:
                counters[f'dhcp_dropped{{reason="{drop}"}}'] += 1
            if sighting is not None:
                self._keeper.see(sighting, now)
        if waiting:
            overflow = self._keeper.save(waiting)
            if overflow:
                counters['dhcp_dropped{reason="dhcp-disk-behind"}'] += overflow
        if replies:
            port.transmitter.send(replies)
        counters["dhcp_received"] += len(datagrams)
        counters["dhcp_answered"] += len(replies) + len(waiting)

    def _tick(self, now: float) -> None:
        for transmitter in (*self._keeper_transmitters.values(), *(port.transmitter for port in self._ports)):
            for way, count in transmitter.take_unsent():
                self._keeper.counters[f'dhcp_unsent{{way="{way}"}}'] += count
        step = self._clock() - now
        moved = step - self._step
        if abs(moved) > CLOCK_STEP_S:
            self._step = step
            logging.getLogger(LOGGER).warning("dhcp: the clock was set by %+.0f s; every lease moves with it", moved)
            self._save_all(self._table.shift(moved))
        self._take_orders()
        if self._probes:
            leases, events = self._prober.tick(self._clock())
            self._save_all(leases)
            for event in events:
                self._record(event)

    def _take_orders(self) -> None:
        """Leases that an admin's order deleted or gave to another MAC: the table in memory follows the disk."""
        changes = self._keeper.lease_changes
        while changes:
            change = changes.popleft()
            if change.new_mac:
                self._save_all(self._table.move(change.mac, change.new_mac))
            else:
                self._save_all(self._table.forget(change.mac), gone=True)

    def _save_all(self, leases: list[Lease], gone: bool = False) -> None:
        if leases:
            transmitter = self._keeper_transmitters[self._ports[0]]
            self._keeper.put([Waiting(lease, None, transmitter, None, gone) for lease in leases])


class _Port:
    """One of the two sockets, with its buffers and what is known of who sends to it."""

    def __init__(self, sock: socket.socket, sockets: DhcpSockets, number: int) -> None:
        self.sock = sock
        self.number = number
        self.receiver = Receiver(sock)
        self.transmitter = Transmitter(sock, sockets.frames, sockets.link, number)
        self._local = sockets.link.address
        self._arrivals: dict[bytes, Arrival] = {}

    def bind(self, receive: Callable[[_Port], None]) -> Callable[[], None]:
        return lambda: receive(self)

    def arrival(self, record: bytes) -> Arrival:
        """Remembered by the datagram's record, since a relay sends thousands that came the same way."""
        found = self._arrivals.get(record)
        if found is None:
            if len(self._arrivals) >= MOST_ARRIVALS:
                self._arrivals.clear()
            sender, port, local, destination = parse_record(record)
            # `local` is not the address it was sent to: an interface may have several, and machines know us by one.
            found = Arrival(sender, port, self._local, self.number, broadcast=local != destination)
            self._arrivals[record] = found
        return found
