"""Sends files to sockets without a thread for each: one loop with sendfile, as nginx does it.

A thread of the worker hands a download over once the headers are out. A hundred machines that download for minutes, or
a client that reads a byte a second, then hold no thread that others wait for.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

CHUNK = 2 << 20
"At most so many bytes to one socket before the next has its turn."
STALL_S = 60.0
"A client that takes nothing for so long is dropped."


class Watch(Protocol):
    """Told how a download goes, from the pump's thread; must not block. A file may bring one as its `watch`."""

    def moved(self, count: int) -> None: ...

    def ended(self) -> None: ...


@dataclass(eq=False)
class Download:
    """`left` bytes of `file` (a descriptor that the download owns) from `offset` on, to `sock`."""

    sock: socket.socket
    file: int
    offset: int
    left: int
    done: Callable[[bool], None] = lambda sent: None
    "Called once from the pump's thread: whether all was sent."
    moved_at: float = field(default_factory=time.monotonic)
    watch: Watch | None = None


class PumpSocket(socket.socket):
    """A socket whose `sendfile` keeps what is to be sent for the pump, instead of sending it."""

    __slots__ = ("download",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.download: Download | None = None

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        descriptor = os.dup(file.fileno())  # the application closes its own
        left = os.fstat(descriptor).st_size - offset if count is None else count
        self.download = Download(self, descriptor, offset, left, watch=getattr(file, "watch", None))
        return left

    def take_download(self) -> Download | None:
        download, self.download = self.download, None
        return download


class Pump:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._new: queue.SimpleQueue[Download] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="pump", daemon=True).start()

    def add(self, download: Download) -> None:
        """From any thread; the socket is the pump's until `download.done` is called."""
        download.sock.setblocking(False)
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
        try:
            sent = os.sendfile(download.sock.fileno(), download.file, download.offset, min(download.left, CHUNK))
        except BlockingIOError:
            return
        except OSError:
            sent = 0  # the client is gone
        if sent == 0:  # or the file became shorter: the client must not wait for the rest
            self._finish(download, sent=False)
            return
        download.offset += sent
        download.left -= sent
        download.moved_at = time.monotonic()
        if download.watch is not None:
            download.watch.moved(sent)
        if download.left == 0:
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
        os.close(download.file)
        if download.watch is not None:
            download.watch.ended()
        download.done(sent)
