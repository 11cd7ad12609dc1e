"""DNS over TCP (RFC 7766): several queries on one connection, answered as each is ready; idle ones are closed."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Protocol

IDLE_S = 10.0
LAST_S = 5.0
"How long a client that has closed its sending side is waited for: longer than a forwarded query takes."
MAX_CONNECTIONS = 256
MAX_PER_SOURCE = 32
MAX_UNANSWERED = 64
"Queries of one connection that wait for a forwarder; more are not read until some are answered."
MAX_UNSENT = 128 * 1024
"Octets a client may leave unread before its connection is ended."


class Answers(Protocol):
    def answer(self, data: bytes, source: str, tcp: bool, send: Callable[[bytes], None]) -> bool: ...


class TcpService:
    def __init__(self, answers: Answers, counts: Counter[str]) -> None:
        self._answers = answers
        self._counts = counts
        self._by_source: Counter[str] = Counter()
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def add(self, sock: socket.socket) -> None:
        self._servers.append(await asyncio.start_server(self._serve, sock=sock))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str((writer.get_extra_info("peername") or ("",))[0])
        if len(self._writers) >= MAX_CONNECTIONS or self._by_source[source] >= MAX_PER_SOURCE:
            self._counts["tcp-full"] += 1
            writer.transport.abort()
            return
        self._writers.add(writer)
        self._by_source[source] += 1
        try:
            await self._pump(reader, writer, source)
        except (TimeoutError, OSError):
            pass  # gone, or silent for too long
        finally:
            self._writers.discard(writer)
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        room = asyncio.Semaphore(MAX_UNANSWERED)

        def send(reply: bytes) -> None:
            room.release()
            if not writer.transport.is_closing():
                writer.write(len(reply).to_bytes(2, "big") + reply)

        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                    await room.acquire()
            except asyncio.IncompleteReadError:
                break
            if not self._answers.answer(data, source, True, send):
                return  # not a query: nothing that follows on this connection can be trusted
            if writer.transport.get_write_buffer_size() > MAX_UNSENT:
                writer.transport.abort()
                return
        async with asyncio.timeout(LAST_S):
            for _ in range(MAX_UNANSWERED):
                await room.acquire()  # with every permit back, every query has its answer
