"""Many datagrams per system call: recvmmsg(2) and sendmmsg(2), which Python does not offer, through ctypes.

All buffers and headers are laid out once; a call fills or sends up to a batch of them. Figures are in
docs/decisions/0011-dhcp-loop-and-leases.md.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address

from bootstrapper.servers.sockets import IP_PKTINFO

_MSG_DONTWAIT = 0x40
_MSGHDR = struct.Struct("PIxxxxPNPNixxxx")
"struct msghdr of a 64-bit Linux: name, its size, vector, its count, control, its size, flags."
_MMSGHDR_BYTES = _MSGHDR.size + 8
_LENGTH_AT = _MSGHDR.size
_VECTOR = struct.Struct("PN")
_NAME_BYTES = 16
_CONTROL_BYTES = 32
_CONTROL = struct.Struct("NiiI4s4s")
"cmsghdr with an in_pktinfo: size, level, type; interface, our address, the header's destination."
_NAME = struct.Struct("=H2s4s8x")

_MSG_TRUNC = int(socket.MSG_TRUNC)
_libc = ctypes.CDLL(None, use_errno=True)

RECORD_BYTES = _NAME_BYTES + _CONTROL_BYTES

Datagram = tuple[bytes, bytes]
"(payload, record): the record says who sent it where (see `parse_record`); equal for all that came the same way."


class _Batch:
    """`count` message headers, each with one buffer of `size` bytes, and a record of name and IP_PKTINFO.

    The memory is anonymous mmaps: a slice of one is `bytes` in one step, where a memoryview needs two.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count = count
        self.size = size
        self.data = mmap.mmap(-1, count * size)
        self.records = mmap.mmap(-1, count * RECORD_BYTES)
        self.vectors = mmap.mmap(-1, count * _VECTOR.size)
        self.headers = mmap.mmap(-1, count * _MMSGHDR_BYTES)
        data_at, records_at, vectors_at = map(_find_address, (self.data, self.records, self.vectors))
        self.headers_at = _find_address(self.headers)
        for index in range(count):
            name_at = records_at + index * RECORD_BYTES
            _VECTOR.pack_into(self.vectors, index * _VECTOR.size, data_at + index * size, size)
            _MSGHDR.pack_into(
                self.headers,
                index * _MMSGHDR_BYTES,
                name_at,
                _NAME_BYTES,
                vectors_at + index * _VECTOR.size,
                1,
                name_at + _NAME_BYTES,
                _CONTROL_BYTES,
                0,
            )


def _find_address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Receiver:
    """Reads a non-blocking UDP socket that has IP_PKTINFO set. One thread at a time."""

    def __init__(self, sock: socket.socket, count: int = 64, size: int = 2048) -> None:
        """Longer datagrams than `size` are dropped and counted in `too_long`."""
        self.sock = sock
        self.too_long = 0
        self._batch = _Batch(count, size)
        self._results = struct.Struct(f"{_LENGTH_AT - 8}xi4xI4x")
        "Of one message: its flags, and the datagram's size."
        self._clean = self._batch.headers[:]

    def receive(self) -> list[Datagram]:
        """What waits, at most a batch; empty when nothing does. Raises OSError for a broken socket."""
        batch = self._batch
        count = _libc.recvmmsg(self.sock.fileno(), ctypes.c_void_p(batch.headers_at), batch.count, _MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(number, os.strerror(number))
        found: list[Datagram] = []
        data, records, step = batch.data, batch.records, batch.size
        used = count * _MMSGHDR_BYTES
        start = record = 0
        for flags, size in self._results.iter_unpack(batch.headers[:used]):
            if flags & _MSG_TRUNC:
                self.too_long += 1
            else:
                found.append((data[start : start + size], records[record : record + RECORD_BYTES]))
            start += step
            record += RECORD_BYTES
        # The kernel wrote the sizes it used into the headers; the next call must see the room there is.
        batch.headers[:used] = self._clean[:used]
        return found


class Sender:
    """Sends from a UDP socket with a fixed source address and interface. One thread at a time."""

    def __init__(
        self, sock: socket.socket, source: IPv4Address, interface: int, count: int = 64, size: int = 1472
    ) -> None:
        self.sock = sock
        self._batch = _Batch(count, size)
        self._written: list[tuple[bytes, int]] = [(b"", -1)] * count
        "What name and size each slot holds: most replies go where the last ones went."
        for index in range(count):
            _CONTROL.pack_into(
                self._batch.records, index * RECORD_BYTES + _NAME_BYTES,
                28, socket.IPPROTO_IP, IP_PKTINFO, interface, source.packed, bytes(4),
            )  # fmt: skip

    def send(self, datagrams: Sequence[tuple[bytes, bytes]]) -> int:
        """Send (payload, `port + address`) pairs; returns how many the kernel refused (no route, no neighbour, full
        buffer). A payload longer than the buffers counts as refused."""
        refused = 0
        batch = self._batch
        data, records, vectors, written, step = batch.data, batch.records, batch.vectors, self._written, batch.size
        for first in range(0, len(datagrams), batch.count):
            filled = start = 0
            for payload, to in datagrams[first : first + batch.count]:
                size = len(payload)
                if size > step:
                    refused += 1
                    continue
                data[start : start + size] = payload
                before = written[filled]
                if before[0] != to or before[1] != size:
                    records[filled * RECORD_BYTES : filled * RECORD_BYTES + 8] = _FAMILY + to
                    vectors[filled * 16 + 8 : filled * 16 + 16] = size.to_bytes(8, "little")
                    written[filled] = (to, size)
                filled += 1
                start += step
            refused += self._flush(filled)
        return refused

    def _flush(self, filled: int) -> int:
        sent = refused = 0
        descriptor = self.sock.fileno()
        while sent < filled:
            count = _libc.sendmmsg(
                descriptor,
                ctypes.c_void_p(self._batch.headers_at + sent * _MMSGHDR_BYTES),
                filled - sent,
                _MSG_DONTWAIT,
            )
            if count < 0:
                # The call stops at the first datagram the kernel refuses: that one is lost, the rest must go out.
                if ctypes.get_errno() != errno.EINTR:
                    refused += 1
                    sent += 1
            else:
                sent += count
        return refused


def parse_record(record: bytes) -> tuple[IPv4Address, int, IPv4Address, IPv4Address]:
    """(sender's address, its port, our address, the destination in its IP header).

    The last two are equal unless it was sent to a broadcast address.
    """
    port = int.from_bytes(record[2:4], "big")
    addresses = (IPv4Address(record[at : at + 4]) for at in (4, _NAME_BYTES + 20, _NAME_BYTES + 24))
    sender, local, destination = addresses
    return sender, port, local, destination


def pack_name(address: IPv4Address | str, port: int) -> bytes:
    """`port + address` as Sender has it."""
    return port.to_bytes(2, "big") + socket.inet_aton(str(address))


_FAMILY = struct.pack("=H", socket.AF_INET)
