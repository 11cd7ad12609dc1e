"""Datagrams in and their replies out with two system calls for many: recvmmsg(2) and sendmmsg(2), through ctypes.

A reply is written over its query, in the same buffer, and goes back by the same header: its ID and its destination are
there already. That is less work than `servers.udp` does, whose replies go elsewhere than where requests came from.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

_DONTWAIT = 0x40


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct mmsghdr of Linux."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_long),  # an int, and the padding at the end of struct msghdr
        ("length", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_HEADER_SIZE = ctypes.sizeof(_Header)
_NAME_SIZE = 16
HEADER_STEP = _HEADER_SIZE // 4
LENGTH_AT = _Header.length.offset // 4


class DatagramBatch:
    """The buffers of one socket. The loop that uses it reads and writes the views itself: a call for each datagram
    would cost what is saved."""

    def __init__(self, sock: socket.socket, count: int = 64, size: int = 2048) -> None:
        self.sock = sock
        self.size = size
        self.count = count
        self._data = (ctypes.c_char * (count * size))()
        self._names = (ctypes.c_char * (count * _NAME_SIZE))()
        self._vectors = (_Vector * count)()
        self._headers = (_Header * count)()
        base, names = ctypes.addressof(self._data), ctypes.addressof(self._names)
        for index, (vector, header) in enumerate(zip(self._vectors, self._headers, strict=True)):
            vector.base, vector.size = base + index * size, size
            header.name, header.name_size = names + index * _NAME_SIZE, _NAME_SIZE
            header.vector = ctypes.addressof(self._vectors) + index * ctypes.sizeof(_Vector)
            header.vectors = 1
        self._at = ctypes.addressof(self._headers)
        self._descriptor = sock.fileno()
        self._room = bytes(self._vectors)
        self._room_view = memoryview(self._vectors).cast("B")
        self.data = memoryview(self._data).cast("B")
        "Datagram `i` stands at `i * size`; a reply to it is written there."
        self.sizes = memoryview(self._vectors).cast("B").cast("P")
        "The size of reply `i` is to be put at `2 * i + 1`."
        self.lengths = memoryview(self._headers).cast("B").cast("I")
        "The length of datagram `i` is at `i * HEADER_STEP + LENGTH_AT`."
        self.addresses = memoryview(self._names).cast("B").cast("I")
        "The sender's IPv4 address, as the four octets lie in memory, is at `4 * i + 1`."

    def receive(self) -> int:
        """How many datagrams are there now; 0: none wait. Raises OSError for what an ICMP error left on the socket."""
        self._room_view[:] = self._room
        found: int = _libc.recvmmsg(self._descriptor, ctypes.c_void_p(self._at), self.count, _DONTWAIT, None)
        if found >= 0:
            return found
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(number, os.strerror(number))

    def send(self, first: int, end: int) -> int:
        """Send the replies written over datagrams `first` to `end` - 1; returns how many the kernel refused."""
        refused = 0
        while first < end:
            at = ctypes.c_void_p(self._at + first * _HEADER_SIZE)
            sent = _libc.sendmmsg(self._descriptor, at, end - first, _DONTWAIT)
            if sent <= 0:
                refused += 1  # the call stops at the one it cannot send: that is lost, the rest must go out
                sent = 1
            first += sent
        return refused

    def find_client(self, index: int) -> tuple[str, int]:
        """The sender's address and port."""
        name = self._names.raw[index * _NAME_SIZE : (index + 1) * _NAME_SIZE]
        return socket.inet_ntoa(name[4:8]), int.from_bytes(name[2:4], "big")
