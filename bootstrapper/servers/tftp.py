"""The TFTP server: one event loop, one socket per transfer (its TID), one timer for all.

`TftpServer` is given the bound socket of port 69 and callables: who asks (`find_visitor`), where events and counts
go. What a name means and how a transfer proceeds are decided in `answers`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bootstrapper.answers.tftp import Files, Grant, Refusal, Settings, Visitor, answer_request, refuse
from bootstrapper.answers.transfer import Content, Outcome, Transfer, content_of
from bootstrapper.boot.events import Event
from bootstrapper.boot.firmware import BOOT_FILES
from bootstrapper.boot.steps import Service, Tftp
from bootstrapper.errors import MalformedPacket, UserError
from bootstrapper.wire.tftp import ERROR, Error, ErrorCode, Request, build_packet, clean_text, parse_packet

Address = tuple[str, int]

IP_PKTINFO = 8
"Linux; Python 3.11's socket module has no name for it."
UDP_SEGMENT = 103
"Linux 4.18: one call hands the kernel a whole window, cut into datagrams by the kernel or the card."
SWEEP_S = 0.25
BURST = 32
"Requests taken from the socket before the transfers get their turn again."
REQUEST_BUFFER = 1 << 20
"Bytes asked of the kernel, which has its own limit. The usual buffer loses requests of 300 machines at once."
ALONE = 16
"Blocks sent in a row while no other transfer runs, before requests are looked at."
WAIT = struct.pack("@ll", 0, 1000)
"The longest wait for an ACK outside the event loop: a millisecond, which the kernel rounds up to one of its ticks."
RECEIVE = 450
"Bytes of a client's datagram that are looked at: an ACK has 4; less than 512 spares an allocation."
WRONG_ID = build_packet(Error(ErrorCode.UNKNOWN_ID, "unknown transfer ID"))
IN_MEMORY = 4 << 20
"Files up to this size are read once; larger ones in chunks, of which the last ones used are kept."
CHUNK = 1 << 16
"Larger than the largest block."


@dataclass(frozen=True, slots=True)
class Caps:
    transfers: int = 1000
    per_address: int = 16
    "Transfers at once from one address, not counting those that only lack their last ACK."
    seconds: float = 600.0
    "The longest a transfer may take."
    events: int = 50
    "Events told of one machine in ten seconds; a boot takes about ten."
    restart_s: float = 1.0
    "The same request from the same port, this long after the last ACK, is a machine that began again."


class TftpServer:
    """Answers on `sock` from `start` to `close`. Counts and events are the caller's to keep."""

    def __init__(
        self,
        sock: socket.socket,
        files: Files,
        *,
        find_visitor: Callable[[str], Visitor | None],
        record: Callable[[Event], None],
        count: Callable[[str], None],
        settings: Settings | None = None,
        caps: Caps | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._sock = sock
        self._files = files
        self._find_visitor = find_visitor
        self._record = record
        self.count = count
        self._settings = settings or Settings()
        self._caps = caps or Caps()
        self.loop = loop or asyncio.get_running_loop()
        self._transfers: dict[Address, _Download] = {}
        self._by_address: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._told_since = 0.0
        self._sweeper: asyncio.TimerHandle | None = None
        bound = str(sock.getsockname()[0])
        self._bound = "" if bound == "0.0.0.0" else bound
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, REQUEST_BUFFER)

    def start(self) -> None:
        self.loop.add_reader(self._sock.fileno(), self._readable)

    def close(self) -> None:
        """Stop listening and end every transfer. The caller closes the socket it gave."""
        self.loop.remove_reader(self._sock.fileno())
        for download in list(self._transfers.values()):
            download.transfer.stop(Outcome.STOPPED)
            self.finish(download)
        if self._sweeper:
            self._sweeper.cancel()

    async def drain(self, seconds: float) -> None:
        """Take no more requests, and wait for the running transfers to end: another process has the socket now."""
        self.loop.remove_reader(self._sock.fileno())
        deadline = self.loop.time() + seconds
        while self._transfers and self.loop.time() < deadline:
            await asyncio.sleep(SWEEP_S)

    @property
    def running(self) -> int:
        """Transfers going on."""
        return len(self._transfers)

    def _readable(self) -> None:
        for _ in range(BURST):
            try:
                datagram, ancillary, _flags, peer = self._sock.recvmsg(2048, 64)
            except BlockingIOError:
                return
            except OSError:  # an earlier answer's ICMP error; the socket goes on
                self.count("tftp-receive")
                continue
            local = self._bound or _local_address(ancillary)
            if local is None:
                self.count("tftp-broadcast")  # RFC 1123 section 4.2.3.5
                continue
            try:
                packet = parse_packet(datagram)
            except MalformedPacket as fault:
                self.count(fault.reason)
                continue
            if isinstance(packet, Request):
                self._request(packet, datagram, peer, local)
            else:
                self.count("tftp-not-a-request")

    def _request(self, request: Request, datagram: bytes, peer: Address, local: str) -> None:
        running = self._transfers.get(peer)
        if running and running.request == datagram:
            now = self.loop.time()
            if not running.transfer.started:
                self.count("tftp-request-again")
                if not running.unheard:
                    running.unheard = True
                    self.event(running.mac, Tftp.UNHEARD, f"{running.name}: asked again, our answer did not arrive")
                running.send(running.transfer.ask_again(now))
                return
            if now - running.transfer.progress_at < self._caps.restart_s:
                self.count("tftp-request-again")  # a copy the network made or delayed
                return
        visitor = self._find_visitor(peer[0])
        if visitor is None:
            self.count("tftp-stranger")
            return
        answer = answer_request(request, self._files, self._settings) if visitor.served else refuse(request)
        if isinstance(answer, Refusal):
            self._refuse(answer, request, peer, visitor)
            return
        if running:
            running.transfer.stop(Outcome.REPLACED)
            self.finish(running)
        if len(self._transfers) >= self._caps.transfers or self._by_address[peer[0]] >= self._caps.per_address:
            self.count("tftp-busy")  # in silence: the client asks again
            return
        self._begin(answer, datagram, peer, local, visitor)

    def _refuse(self, refusal: Refusal, request: Request, peer: Address, visitor: Visitor) -> None:
        self.count(f"tftp-{refusal.reason}")
        name = clean_text(request.name) or "an empty name"
        self.event(visitor.mac, refusal.step, refusal.detail or f"{name}: {refusal.error.text}")
        try:
            self._sock.sendto(build_packet(refusal.error), peer)
        except OSError:
            self.count("tftp-send")

    def _begin(self, grant: Grant, datagram: bytes, peer: Address, local: str, visitor: Visitor) -> None:
        try:
            sock, door = _open_pair(local, peer)
        except OSError:
            self.count("tftp-socket")
            return
        download = _Download(self, sock, door, peer, datagram, grant, visitor.mac)
        self._transfers[peer] = download
        self._by_address[peer[0]] += 1
        self.count("tftp-transfer")
        self.loop.add_reader(sock.fileno(), download.readable)
        sock.setblocking(True)  # uvloop has just switched that off
        self.loop.add_reader(door.fileno(), download.turn_away)
        download.send(download.transfer.start(self.loop.time()))
        download.transfer.prepare()
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Timers of all transfers: exact to a quarter of a second, and nothing per packet."""
        now = self.loop.time()
        for download in list(self._transfers.values()):
            if now - download.began_at > self._caps.seconds:
                download.transfer.stop(Outcome.TIMED_OUT)
            else:
                download.send(download.transfer.tick(now))
            if download.transfer.outcome is not None:
                self.finish(download)
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep) if self._transfers else None

    def release(self, download: _Download) -> None:
        """The download only lacks its last ACK: it no longer counts against its address."""
        if not download.released:
            download.released = True
            self._by_address[download.peer[0]] -= 1
            if not self._by_address[download.peer[0]]:
                del self._by_address[download.peer[0]]

    def finish(self, download: _Download) -> None:
        """Close its socket, say how it ended."""
        if self._transfers.get(download.peer) is not download:
            return
        del self._transfers[download.peer]
        self.release(download)
        for sock in (download.sock, download.door):
            self.loop.remove_reader(sock.fileno())
            sock.close()
        outcome = download.transfer.outcome
        assert outcome is not None
        self.count(f"tftp-{outcome.name.lower().replace('_', '-')}")
        if outcome is not Outcome.PROBED:
            self.event(download.mac, END_STEPS[outcome], download.describe(self.loop.time()), END_LEVELS[outcome])

    def event(self, mac: str, step: str, detail: str, level: str = "info") -> None:
        now = self.loop.time()
        if now - self._told_since > 10.0:
            self._told.clear()
            self._told_since = now
        self._told[mac] += 1
        if self._told[mac] > self._caps.events:  # a client that floods must not fill the disk
            self.count("tftp-events-untold")
            return
        self._record(Event(time.time(), mac, Service.TFTP, step, detail, level))


async def serve_tftp(server: TftpServer, stop: asyncio.Event, drain_s: float = 8.0) -> None:
    """Serve until `stop` is set; running downloads get `drain_s` seconds to end."""
    server.start()
    await stop.wait()
    await server.drain(drain_s)
    server.close()


class _Download:
    """A transfer with its sockets."""

    __slots__ = ("_receive", "_recv", "_segments", "_send", "_server", "_time", "announced", "began_at", "door", "mac",
                 "name", "peer", "released", "request", "size", "sock", "terms", "transfer", "unheard")  # fmt: skip

    def __init__(
        self,
        server: TftpServer,
        sock: socket.socket,
        door: socket.socket,
        peer: Address,
        request: bytes,
        grant: Grant,
        mac: str,
    ) -> None:
        self._server = server
        self._segments = True
        self.sock = sock
        self.door = door
        self.peer = peer
        self.request = request
        self.name = grant.name
        self.size = grant.content.size
        self.terms = f", blocks of {grant.terms.block_size}" if grant.terms.oack else ""
        if grant.terms.window > 1:
            self.terms += f", {grant.terms.window} at once"
        self.mac = mac
        self.transfer = Transfer(grant.content, grant.terms)
        self.began_at = server.loop.time()
        self.announced = False
        self.unheard = False
        self.released = False
        self._recv, self._send = sock.recv, sock.send  # looked up once, not per block
        self._receive, self._time = self.transfer.receive, server.loop.time

    def readable(self) -> None:
        """With others about, one datagram per turn: nobody is served ahead of the rest. Alone, the next ACK is awaited
        here, for a moment: a trip through the event loop costs a tenth of the time between two blocks."""
        flags = int(socket.MSG_DONTWAIT)
        for _ in range(ALONE if self._server.running == 1 else 1):
            try:
                datagrams = self._receive(self._recv(RECEIVE, flags), self._time())
            except OSError as error:
                self._unreachable(error)
                return
            flags = 0
            if datagrams:
                self.send(datagrams)
            transfer = self.transfer
            transfer.prepare()
            if not self.announced and transfer.started:
                self.announced = True
                self._server.event(self.mac, Tftp.SENDING, f"{self.name} ({self.size} bytes{self.terms})")
            if transfer.finishing:
                self._server.release(self)
            if transfer.outcome is not None:
                self._server.finish(self)
                return

    def _unreachable(self, error: OSError) -> None:
        """The client's port is closed. A client that has all is content; for any other the timer decides, since an
        ICMP message is easily forged."""
        if not isinstance(error, BlockingIOError) and self.transfer.finishing:
            self.transfer.stop(Outcome.UNCONFIRMED)
            self._server.finish(self)

    def turn_away(self) -> None:
        """Somebody else wrote to the transfer's port: tell it, go on with ours (RFC 1350 section 4)."""
        try:
            datagram, peer = self.door.recvfrom(RECEIVE)
            self._server.count("tftp-wrong-id")
            if datagram[:2] != ERROR:
                self.door.sendto(WRONG_ID, peer)
        except OSError:
            self._server.count("tftp-send")

    def send(self, datagrams: Sequence[bytes]) -> None:
        if len(datagrams) > 1 and self._segments:
            try:
                segment = struct.pack("=H", len(datagrams[0]))
                self.sock.sendmsg(datagrams, [(socket.IPPROTO_UDP, UDP_SEGMENT, segment)], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:  # no checksum offload on this path, or more than the kernel cuts at once
                self._segments = False
            else:
                return
        for datagram in datagrams:
            try:
                self._send(datagram, socket.MSG_DONTWAIT)
            except OSError:  # full buffers or no route: as if lost on the way, the timer sends again
                self._server.count("tftp-send")

    def describe(self, now: float) -> str:
        transfer = self.transfer
        seconds = max(now - self.began_at, 0.001)
        rate = transfer.bytes_acked / seconds / 1e6
        match transfer.outcome:
            case Outcome.SENT | Outcome.UNCONFIRMED:
                text = f"{self.name}, {self.size} bytes in {seconds:.2f} s ({rate:.1f} MB/s)"
                if transfer.resent:
                    text += f", {transfer.resent} blocks sent again"
                return text if transfer.outcome is Outcome.SENT else f"{text}; the last block was not acknowledged"
            case Outcome.ABORTED:
                assert transfer.error is not None
                why = f"error {transfer.error.code}: {transfer.error.text or 'no text'}"
                return f"{self.name}, aborted by the machine after block {transfer.block}: {why}"
            case _:
                return f"{self.name}, {transfer.outcome} after block {transfer.block} ({seconds:.1f} s)"


def _open_pair(local: str, peer: Address) -> tuple[socket.socket, socket.socket]:
    """A socket connected to `peer`, on a fresh port, and one on the same port for everybody else: the kernel sorts, and
    half of a block's time in the kernel is saved (measured: 4 of 8 microseconds for a send and a receive)."""
    with ExitStack() as opened:
        door, sock = (opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        for each in (door, sock):
            each.setblocking(False)
        door.bind((local, 0))
        # Only now, else the kernel could pick a port that another transfer shares with its own second socket.
        for each in (door, sock):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, WAIT)
        sock.bind(door.getsockname())
        sock.connect(peer)
        opened.pop_all()
        return sock, door


def _local_address(ancillary: Iterable[tuple[int, int, bytes]]) -> str | None:
    """The address of ours that a request was sent to; None when that was a broadcast or multicast address."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= 12:
            return socket.inet_ntoa(data[4:8]) if data[4:8] == data[8:12] else None
    return None


def load_boot_files(directory: Path) -> dict[str, Content]:
    """The iPXE binaries that machines may fetch, from the directory of the distribution's ipxe package. Raises
    UserError when one that `boot.firmware` names is missing."""
    files = {}
    for name in sorted({*BOOT_FILES.values(), *ALSO_SERVED}):
        path = directory / name
        if path.exists():
            files[name] = open_content(path)
        elif name in BOOT_FILES.values():
            raise UserError(f"{path}: boot file is missing", "install the distribution's `ipxe` package")
    return files


def open_content(path: Path) -> Content:
    """A regular file, opened once. Larger ones stay open for as long as the Content lives."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: not a regular file")
    file = os.fdopen(descriptor, "rb", buffering=0)
    if status.st_size <= IN_MEMORY:
        with file:
            return content_of(file.read())

    @lru_cache(maxsize=64)
    def chunk(number: int) -> bytes:
        offset = number * CHUNK
        wanted = max(0, min(CHUNK, status.st_size - offset))
        data = os.pread(file.fileno(), wanted, offset)
        if len(data) != wanted:
            raise OSError(f"{path} became shorter")
        return data

    def read(offset: int, length: int) -> bytes:
        number, start = divmod(offset, CHUNK)
        data = chunk(number)[start : start + length]
        if len(data) < length:  # at most one more: a block is smaller than a chunk
            data += chunk(number + 1)[: length - len(data)]
        return data

    return Content(status.st_size, read)


def find_mtu(interface: str) -> int:
    """The MTU of an interface; Ethernet's when it cannot be told."""
    try:
        return int(Path(f"/sys/class/net/{interface}/mtu").read_text())
    except (OSError, ValueError):
        return 1500


ALSO_SERVED = ("ipxe.efi", "ipxe.pxe")
"Full iPXE with its own drivers, for cards whose firmware driver is broken; an admin may name them."

END_STEPS = {
    Outcome.SENT: Tftp.SENT,
    Outcome.UNCONFIRMED: Tftp.SENT,
    Outcome.ABORTED: Tftp.ABORTED,
    Outcome.TIMED_OUT: Tftp.TIMED_OUT,
    Outcome.FAILED: Tftp.FAILED,
    Outcome.REPLACED: Tftp.ASKED_AGAIN,
    Outcome.STOPPED: Tftp.STOPPED,
}
END_LEVELS = {
    Outcome.SENT: "info",
    Outcome.UNCONFIRMED: "info",
    Outcome.ABORTED: "warning",
    Outcome.TIMED_OUT: "warning",
    Outcome.FAILED: "error",
    Outcome.REPLACED: "info",
    Outcome.STOPPED: "info",
}
