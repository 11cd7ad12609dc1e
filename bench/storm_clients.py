"""How a machine of bench/storm_rack.py speaks DHCP through a relay, TFTP and HTTP: what it repeats, and when."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from functools import cache
from pathlib import Path

from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet

BOOT_FILES = Path("/usr/lib/ipxe")
OFFER, ACK, NAK = 2, 5, 6
BROADCAST = 0x8000
PARAMETERS = bytes((1, 3, 6, 12, 15, 28, 43, 51, 54, 58, 59, 60, 66, 67, 97))
TFTP_WAIT_S, TFTP_TRIES = 4.0, 6
"A PXE ROM's: it sends again what got no answer."
CONNECT_S = 5.0


class Failed(Exception):
    """The machine does not get any further: its firmware, or its installer, has given up."""


class Relay(asyncio.DatagramProtocol):
    """The relay that all machines are behind."""

    def __init__(self, address: str, server: str, chance: random.Random) -> None:
        self._giaddr = int.from_bytes(socket.inet_aton(address), "big")
        self._server = server
        self._chance = chance
        self._waiting: dict[int, asyncio.Future[Packet]] = {}

    @classmethod
    async def open(cls, address: str, server: str, chance: random.Random) -> Relay:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        sock.bind((address, 67))
        relay = cls(address, server, chance)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: relay, sock=sock)
        return relay

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, _sender: object) -> None:
        packet = parse_packet(data)
        waiting = self._waiting.get(packet.xid)
        if waiting is not None and not waiting.done():
            waiting.set_result(packet)

    async def lease(self, hardware: bytes, options: dict[int, bytes], waits: tuple[int, ...]) -> tuple[Packet, int]:
        """The ACK, and how often something was sent again. Raises Failed."""
        again = 0
        for wait in waits:
            xid = self._chance.getrandbits(32)
            offer = await self._ask(xid, hardware, options | {53: b"\1"}, wait, OFFER)
            if offer is None:
                again += 1
                continue
            chosen = {50: offer.yiaddr.to_bytes(4, "big"), 54: offer.options[54]}
            ack = await self._ask(xid, hardware, options | {53: b"\3"} | chosen, wait, ACK)
            if ack is not None:
                return ack, again
            again += 1
        raise Failed("no DHCP answer")

    async def _ask(
        self, xid: int, hardware: bytes, options: dict[int, bytes], wait: float, expected: int
    ) -> Packet | None:
        packet = Packet(
            hops=1, xid=xid, flags=BROADCAST, giaddr=self._giaddr, chaddr=hardware.ljust(16, b"\0"),
            options=options | {55: PARAMETERS},
        )  # fmt: skip
        waiting = self._waiting[xid] = asyncio.get_running_loop().create_future()
        self._transport.sendto(build_packet(packet), (self._server, 67))
        try:
            # RFC 2131 section 4.1: a second more or less, so that they do not all come back at once.
            reply = await asyncio.wait_for(waiting, wait + self._chance.uniform(-1, 1) * min(1, wait / 2))
        except TimeoutError:
            return None
        finally:
            del self._waiting[xid]
        return reply if reply.options[53][0] == expected else None


class Fetcher:
    """TFTP, as a boot ROM does it: the size first, then the file."""

    def __init__(self, server: str) -> None:
        self._server = server

    async def fetch(self, source: str, name: str, block: int, size_only: bool) -> tuple[bytes, int]:
        """(content, how often something was sent again). Raises Failed."""
        loop = asyncio.get_running_loop()
        transport, download = await loop.create_datagram_endpoint(
            lambda: _Download(self._server, name, block, size_only), local_addr=(source, 0)
        )
        try:
            return await download.finished, download.again
        finally:
            transport.close()


class _Download(asyncio.DatagramProtocol):
    def __init__(self, server: str, name: str, block: int, size_only: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = (server, 69)
        self._answered = False
        self._block = block
        self._size_only = size_only
        self._last = b"\0\1" + name.encode() + b"\0octet\0tsize\x000\0"
        if not size_only:
            self._last += f"blksize\0{block}\0".encode()
        self._received: list[bytes] = []
        self._tries = 0
        self._quiet_since = self._loop.time()
        self.again = 0
        self.finished: asyncio.Future[bytes] = self._loop.create_future()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send(self._last)
        self._loop.call_later(TFTP_WAIT_S, self._look)

    def _send(self, data: bytes) -> None:
        self._last = data
        self._transport.sendto(data, self._peer)

    def _look(self) -> None:
        if self.finished.done():
            return
        due = self._quiet_since + TFTP_WAIT_S
        if self._loop.time() < due:
            self._loop.call_at(due, self._look)
            return
        self._tries += 1
        if self._tries == TFTP_TRIES:
            self.finished.set_exception(Failed("TFTP: no answer"))
            return
        self.again += 1
        self._quiet_since = self._loop.time()
        self._send(self._last)
        self._loop.call_later(TFTP_WAIT_S, self._look)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        if self.finished.done():
            return
        if not self._answered:
            self._answered, self._peer = True, sender
        elif sender != self._peer:
            return
        opcode, block = data[1], int.from_bytes(data[2:4], "big")
        if opcode == 6:
            if self._size_only:
                self._transport.sendto(b"\0\5\0\0only the size\0", self._peer)
                self.finished.set_result(b"")
                return
            self._send(b"\0\4\0\0")
        elif opcode == 3 and block == (len(self._received) + 1) & 0xFFFF:
            self._received.append(data[4:])
            self._send(b"\0\4" + data[2:4])
            if len(data) < 4 + self._block:
                self.finished.set_result(b"".join(self._received))
        elif opcode == 5:
            self.finished.set_exception(Failed(f"TFTP: {data[4:-1].decode('ascii', 'replace')}"))
            return
        else:
            return
        self._tries, self._quiet_since = 0, self._loop.time()


@cache
def read_boot_file(name: str) -> bytes:
    return (BOOT_FILES / name).read_bytes()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask_http(
    server: str,
    source: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    within: float,
    tls: ssl.SSLContext | None = None,
    streams: Streams | None = None,
) -> tuple[int, bytes, Streams]:
    """(status, body, the connection, still open): a POST with a `body`. Raises Failed."""
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: storm\r\n"
    for name, value in (headers or {}).items():
        head += f"{name}: {value}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    try:
        async with asyncio.timeout(within):
            reader, writer = streams or await _connect(server, source, tls)
            writer.write(head.encode() + b"\r\n" + (body or b""))
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            return int(answer[9:12]), await reader.readexactly(length), (reader, writer)
    except (OSError, EOFError, TimeoutError, ssl.SSLError, ValueError) as error:
        if "writer" in locals():
            writer.close()
        raise Failed(f"HTTP: {type(error).__name__}") from error


async def _connect(server: str, source: str, tls: ssl.SSLContext | None) -> Streams:
    async with asyncio.timeout(CONNECT_S if tls else None):
        if tls is None:
            return await asyncio.open_connection(server, 80, local_addr=(source, 0))
        return await asyncio.open_connection(server, 443, local_addr=(source, 0), ssl=tls, server_hostname=server)
