"""The DNS service: datagrams and connections in, replies out; whom to answer what is `answers.dns`.

The datagram loop is the one place where a microsecond counts: replies that follow from a query's octets alone are kept
by those octets, and written over the query in the buffer it came in (docs/decisions/0002 has the figures).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from bootstrapper.answers.dns import DnsAnswers, Drop, Forward, Reply
from bootstrapper.servers.dns_batch import HEADER_STEP, LENGTH_AT, DatagramBatch
from bootstrapper.servers.dns_forward import Forwarder
from bootstrapper.servers.logs import LOGGER

TURNS = 4
"Batches in one turn of the loop, so that a flood does not starve connections and timers."
SOURCES = 65536
"Client addresses remembered as ours or strangers; forgotten all at once when full."
KEPT = 16384

Table = dict[bytes, bytes]


class DnsServer:
    """Answers on any number of sockets, in one event loop."""

    def __init__(
        self, answers: DnsAnswers, forwarder: Forwarder | None, networks: Iterable[IPv4Network], counts: Counter[str]
    ) -> None:
        """`networks`: whose clients may ask about other people's names; the local host always may.

        `counts` gets the number of queries by outcome: constants only, never a name or an address.
        """
        self._answers = answers
        self._forwarder = forwarder
        self._networks = tuple(networks)
        self._counts = counts
        self._tables: tuple[Table, Table] = ({}, {})
        "Ready replies without their ID by query without its ID: for strangers, and for our own clients."
        self._sources: dict[int, Table] = {}
        "Which of the two a client has, by its address as `DatagramBatch.addresses` has it."
        self._log = logging.getLogger(LOGGER)

    def replace_answers(self, answers: DnsAnswers) -> None:
        """Answer with new names from the next query on."""
        self._answers = answers
        for table in self._tables:
            table.clear()

    def add_udp(self, sock: socket.socket) -> None:
        """`sock` is non-blocking and bound to one address: the one replies leave from."""
        asyncio.get_running_loop().add_reader(sock, self._drain, DatagramBatch(sock))

    def remove_udp(self, sock: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(sock)

    def is_allowed(self, source: str) -> bool:
        try:
            address = IPv4Address(source)
        except AddressValueError:
            return False
        return address.is_loopback or any(address in network for network in self._networks)

    def answer(self, data: bytes, source: str, tcp: bool, send: Callable[[bytes], None]) -> bool:
        """Answer one query by calling `send` once: now or, for a forwarded one, later. False: it gets no answer."""
        try:
            outcome = self._answers.answer(data, self.is_allowed(source), tcp)
            if isinstance(outcome, Forward):
                assert self._forwarder is not None
                self._counts["forward"] += 1
                self._forwarder.answer(outcome.query, source, tcp, send)
                return True
        except Exception:
            self._counts["fault"] += 1
            self._log.exception("a DNS query of %d octets could not be answered: %s", len(data), data[:300].hex())
            return False
        self._counts[outcome.reason] += 1
        if isinstance(outcome, Drop):
            return False
        if outcome.final and not tcp:
            self._keep(data, source, outcome)
        send(outcome.wire)
        return True

    def _keep(self, data: bytes, source: str, reply: Reply) -> None:
        table = self._tables[self.is_allowed(source)]
        if len(table) >= KEPT:
            table.clear()
        table[data[2:]] = reply.wire[2:]
        if len(self._sources) >= SOURCES:
            self._sources.clear()
        self._sources[int.from_bytes(IPv4Address(source).packed, sys.byteorder)] = table

    def _drain(self, batch: DatagramBatch) -> None:
        for _ in range(TURNS):
            try:
                count = batch.receive()
            except OSError:
                self._counts["unsent"] += 1  # what an ICMP error left on the socket
                continue
            if count:
                self._answer_batch(batch, count)
            if count < batch.count:
                return

    def _answer_batch(self, batch: DatagramBatch, count: int) -> None:
        """Write ready replies over their queries; send each run of them that no other query interrupts."""
        data, sizes, lengths, addresses, size = batch.data, batch.sizes, batch.lengths, batch.addresses, batch.size
        find_table = self._sources.get
        nothing: Table = {}
        at = first = slow = 0
        length_at = LENGTH_AT
        for index in range(count):
            length = lengths[length_at]
            ready = find_table(addresses[4 * index + 1], nothing).get(bytes(data[at + 2 : at + length]))
            if ready is None:
                batch.send(first, index)
                first = index + 1
                slow += 1
                client = batch.find_client(index)
                packet = bytes(data[at : at + length])
                self.answer(packet, client[0], False, _sender(batch.sock, client, self._counts))
            else:
                end = len(ready) + 2
                data[at + 2 : at + end] = ready
                sizes[2 * index + 1] = end
            at += size
            length_at += HEADER_STEP
        refused = batch.send(first, count)
        if refused:
            self._counts["unsent"] += refused
        if count > slow:
            self._counts["ready"] += count - slow


def _sender(sock: socket.socket, client: tuple[str, int], counts: Counter[str]) -> Callable[[bytes], None]:
    def send(reply: bytes) -> None:
        try:
            sock.sendto(reply, client)
        except OSError:
            counts["unsent"] += 1

    return send
