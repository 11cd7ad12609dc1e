"""Sends what a client has not taken yet without a thread for each: one loop, with sendfile, as nginx does it.

A thread of the worker never waits for its client: what the socket does not take at once, and every file, is handed over
when the answer is made. A hundred machines that download for minutes, or a client that reads a byte a second, then hold
no thread that others wait for.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

CHUNK = 2 << 20
"At most so many bytes to one socket before the next has its turn."
RECORD = 16 * 1024
"""TLS sends in records of so much (RFC 8446 section 5.1). What was refused because the socket was full must be offered
again at the same length, so each offer is one record."""
STALL_S = 60.0
"A client that takes nothing for so long is dropped."
MOST_REST = 32 << 20
"Bytes in memory for a client that does not take them."


class Watch(Protocol):
    """Told how a download goes, from the pump's thread; must not block. A file may bring one as its `watch`."""

    def moved(self, count: int) -> None: ...

    def ended(self) -> None: ...


@dataclass(eq=False)
class Download:
    """`rest`, then `left` bytes of `file` (a descriptor that the download owns; -1: none) from `offset` on, to
    `sock`."""

    sock: socket.socket
    file: int = -1
    offset: int = 0
    left: int = 0
    done: Callable[[bool], None] = lambda sent: None
    "Called once from the pump's thread: whether all was sent."
    moved_at: float = 0.0
    watch: Watch | None = None
    rest: bytearray = field(default_factory=bytearray)

    @property
    def still(self) -> int:
        """Bytes to be sent."""
        return len(self.rest) + self.left

    def send(self) -> bool:
        """Some of it, without waiting. Whether that was all; raises BlockingIOError and the like when the socket is
        full, OSError when the client is gone, EOFError when the file became shorter."""
        if self.rest:
            send_rest(self.sock, self.rest, CHUNK)
        elif isinstance(self.sock, ssl.SSLSocket):
            self._send_file_over_tls()
        else:
            self._count(os.sendfile(self.sock.fileno(), self.file, self.offset, min(self.left, CHUNK)))
        return not self.rest and not self.left

    def _send_file_over_tls(self) -> None:
        block = memoryview(os.pread(self.file, min(self.left, 16 * RECORD), self.offset))
        if not block:
            raise EOFError
        for at in range(0, len(block), RECORD):
            self._count(self.sock.send(block[at : at + RECORD]))

    def _count(self, sent: int) -> None:
        if sent == 0:
            raise EOFError
        self.offset += sent
        self.left -= sent
        if self.watch is not None:
            self.watch.moved(sent)


FULL = (BlockingIOError, ssl.SSLWantWriteError)


def send_rest(sock: socket.socket, rest: bytearray, most: int) -> None:
    """Removes from `rest` what went out; raises one of FULL when the socket takes no more."""
    sent = 0
    try:
        while sent < min(len(rest), most):
            sent += sock.send(bytes(rest[sent : sent + RECORD]))
    finally:
        del rest[:sent]


class _Keeping:
    """A socket whose `sendall` and `sendfile` never wait: what is still to be sent is kept, for the pump. Nor does
    `recv`, while `answering`: all that belongs to a request was read before, whatever a parser makes of its head."""

    download: Download | None = None
    answering = False

    def recv(self, *args: Any) -> bytes:
        received: bytes = b"" if self.answering else super().recv(*args)  # type: ignore[misc]
        return received

    def sendall(self, data: Any, flags: int = 0) -> None:
        sock: Any = self
        if self.download is None:
            self.download = Download(sock)
        rest = self.download.rest
        if len(rest) + len(data) > MOST_REST:
            raise BrokenPipeError("the client takes nothing")
        rest += data
        if sock.gettimeout() != 0:
            sock.setblocking(False)
        self.flush()

    def flush(self) -> None:
        """For an answer that goes on: what the socket did not take may fit by now."""
        sock: Any = self
        if self.download is not None and self.download.rest:
            with contextlib.suppress(*FULL):
                send_rest(sock, self.download.rest, MOST_REST)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        descriptor = os.dup(file.fileno())  # the application closes its own
        left = os.fstat(descriptor).st_size - offset if count is None else count
        sock: Any = self
        rest = bytearray() if self.download is None else self.download.rest
        self.download = Download(sock, descriptor, offset, left, watch=getattr(file, "watch", None), rest=rest)
        return left

    def take_download(self) -> Download | None:
        """What is still to be sent, if anything is."""
        download, self.download = self.download, None
        return download if download is not None and (download.rest or download.file >= 0) else None


class PumpSocket(_Keeping, socket.socket): ...


class PumpTlsSocket(_Keeping, ssl.SSLSocket): ...


class Pump:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._new: queue.SimpleQueue[Download] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="pump", daemon=True).start()

    def add(self, download: Download) -> None:
        """From any thread; the socket is the pump's until `download.done` is called."""
        try:
            download.sock.setblocking(False)
        except OSError:  # closed by the thread that answered: the client was gone
            self._end(download, sent=False)
            return
        download.moved_at = time.monotonic()
        self._new.put(download)
        with contextlib.suppress(BlockingIOError):  # full: it is awake anyway
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        sweep_at = time.monotonic() + 1.0
        while True:
            for key, _ in self._selector.select(1.0):
                if key.data is None:
                    self._take_new()
                else:
                    self._send(key.data)
            now = time.monotonic()
            if now >= sweep_at:
                sweep_at = now + 1.0
                self._drop_stalled(now - STALL_S)

    def _take_new(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        with contextlib.suppress(queue.Empty):
            while True:
                download = self._new.get_nowait()
                try:
                    self._selector.register(download.sock, selectors.EVENT_WRITE, download)
                except (OSError, ValueError, KeyError):  # closed meanwhile
                    self._end(download, sent=False)

    def _send(self, download: Download) -> None:
        before, over = download.still, False
        try:
            over = download.send()
        except FULL:  # which may have been after some of it
            pass
        except (OSError, EOFError, ValueError):  # the client must not wait for the rest
            self._finish(download, sent=False)
            return
        if download.still != before:
            download.moved_at = time.monotonic()
        if over:
            self._finish(download, sent=True)

    def _drop_stalled(self, late: float) -> None:
        downloads = [key.data for key in self._selector.get_map().values() if key.data is not None]
        for download in downloads:
            if download.moved_at < late:
                self._finish(download, sent=False)

    def _finish(self, download: Download, *, sent: bool) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._selector.unregister(download.sock)
        self._end(download, sent=sent)

    def _end(self, download: Download, *, sent: bool) -> None:
        if download.file >= 0:
            os.close(download.file)
        if download.watch is not None:
            download.watch.ended()
        download.done(sent)
