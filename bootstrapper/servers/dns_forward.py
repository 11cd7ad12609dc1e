"""Asking forwarders: sockets, time-outs and randomness around `answers.dns_forward`.

Each query goes out from a fresh socket on a random port, with a random ID and random letter case. Equal questions that
are under way are asked once: many outstanding copies of one question are what a forger needs (CVE-2020-25686).
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bootstrapper.answers.dns import TCP_SIZE
from bootstrapper.answers.dns_build import EDE_BLOCKED, EDE_NO_REACHABLE_AUTHORITY, Sections, build_reply
from bootstrapper.answers.dns_cache import DnsCache, Key, cache_key
from bootstrapper.answers.dns_forward import (
    Rebinding,
    Stored,
    Verdict,
    build_upstream_query,
    judge_reply,
    letters_in,
    render_stored,
    store_reply,
)
from bootstrapper.errors import MalformedPacket
from bootstrapper.servers.logs import LOGGER
from bootstrapper.wire.dns import SAFE_SIZE, Query

TOTAL_S = 4.0
"A resolver's own time-out is 5 s: it should hear that we failed, rather than nothing."
ATTEMPT_S = 1.0
FAILURE_S = 2.0
"A failure is remembered this long, so that a client's retries do not cost 4 s each (RFC 2308 section 7)."
LOOP_S = 60.0
MAX_OUTSTANDING = 1000
MAX_WAITING = 100
"Clients waiting for one question."
MAX_PER_SOURCE = 200
"Unanswered queries of one client: it alone must not use up what all share."
MAX_MISMATCHES = 20
"Wrong replies in one attempt; so many are an attack, and the next attempt goes over TCP."
LOOP_LETTERS = 12
"A name with fewer letters may have the same case by chance."

Address = tuple[str, int]
Send = Callable[[bytes], None]
Failure = tuple[int, str]


@dataclass(slots=True)
class _Waiting:
    query: Query
    source: str
    tcp: bool
    send: Send


class Forwarder:
    """Use from one event loop. Call `close` before the loop ends."""

    def __init__(
        self, upstream: Sequence[Address], rebinding: Rebinding, rng: random.Random, counts: Counter[str]
    ) -> None:
        """`rng`: random.SystemRandom(), or a seeded one in tests."""
        self._upstream = list(upstream)
        self._rebinding = rebinding
        self._rng = rng
        self._counts = counts
        self._cache = DnsCache()
        self._failures: dict[Key, tuple[float, Failure]] = {}
        self._waiting: dict[Key, list[_Waiting]] = {}
        self._by_source: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent: dict[bytes, Address] = {}
        "Questions on their way, in the case they were sent."
        self._plain: set[Address] = set()
        "Forwarders that were seen, over TCP, to rewrite a name's case."
        self._looping: dict[Address, float] = {}
        self._warned_at: dict[str, float] = {}
        self._log = logging.getLogger(LOGGER)

    def answer(self, query: Query, source: str, tcp: bool, send: Send) -> None:
        """Calls `send` once: now from the cache, or within 4 s. `source` is the client's address."""
        client = _Waiting(query, source, tcp, send)
        now = asyncio.get_running_loop().time()
        if self._is_own(query, now):
            self._fail(client, (EDE_NO_REACHABLE_AUTHORITY, "forwarding loop"))
            return
        key = cache_key(query)
        found = self._cache.find(key, now)
        if found is not None:
            self._counts["cached"] += 1
            self._give(client, *found)
            return
        failed = self._failures.get(key)
        if failed is not None and now < failed[0]:
            self._fail(client, failed[1])
            return
        waiting = self._waiting.get(key)
        full = len(self._waiting) >= MAX_OUTSTANDING if waiting is None else len(waiting) >= MAX_WAITING
        if full or self._by_source[source] >= MAX_PER_SOURCE:
            self._counts["overload"] += 1
            self._fail(client, (EDE_NO_REACHABLE_AUTHORITY, "too many questions under way"))
            return
        self._by_source[source] += 1
        if waiting is not None:
            waiting.append(client)
        else:
            self._waiting[key] = [client]
            task = asyncio.get_running_loop().create_task(self._resolve(key, query))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _resolve(self, key: Key, query: Query) -> None:
        loop = asyncio.get_running_loop()
        failure: Failure = (EDE_NO_REACHABLE_AUTHORITY, "no forwarder answered")
        stored = None
        try:
            stored = await self._ask(query)
        except MalformedPacket as error:
            self._counts[error.reason] += 1
            failure = _explain(error.reason)
            self._warn(error.reason, f"a forwarder's reply was refused: {failure[1]}", loop.time())
        except Exception:
            self._counts["fault"] += 1
            self._log.exception("asking the DNS forwarders failed")
        clients = self._waiting.pop(key)
        self._forget(clients)
        now = loop.time()
        if stored is None:
            self._counts["unanswered"] += 1
            if len(self._failures) >= MAX_OUTSTANDING:
                self._failures.clear()
            self._failures[key] = now + FAILURE_S, failure
            for client in clients:
                self._fail(client, failure)
            return
        self._cache.put(key, stored, now)
        for client in clients:
            self._give(client, stored, 0)

    async def _ask(self, query: Query) -> Stored | None:
        """Try the forwarders in turn, the one that answered last first. Raises MalformedPacket for a genuine reply
        that cannot be used, when no other forwarder had a better one."""
        loop = asyncio.get_running_loop()
        until = loop.time() + TOTAL_S
        refused: MalformedPacket | None = None
        tcp = False
        edns = True
        turn = 0
        usable = [each for each in self._upstream if self._looping.get(each, 0.0) < loop.time()]
        while usable and loop.time() < until - 0.05:
            upstream = usable[turn % len(usable)]
            left_s = min(ATTEMPT_S, until - loop.time())
            verdict, data = await self._attempt(upstream, query, tcp, edns, left_s)
            if verdict is Verdict.ANSWER:
                try:
                    stored = store_reply(data, self._rebinding)
                except MalformedPacket as error:
                    refused = error
                    usable.remove(upstream)
                    continue
                self._prefer(upstream)
                return stored
            if verdict is None:
                turn += 1
                tcp = False
            elif verdict in _ASK_TCP and not tcp:
                tcp = True
            elif verdict is Verdict.NO_EDNS and edns:
                edns = False
            else:
                usable.remove(upstream)  # a genuine refusal will not change within seconds
                tcp, edns = False, True
        if refused is not None:
            raise refused
        return None

    async def _attempt(
        self, upstream: Address, query: Query, tcp: bool, edns: bool, left_s: float
    ) -> tuple[Verdict | None, bytes]:
        """One query to one forwarder; None: no reply in time."""
        case = 0 if upstream in self._plain else self._rng.getrandbits(256)
        sent = build_upstream_query(query, self._rng.getrandbits(16), case, edns)
        self._sent[sent.question] = upstream
        try:
            async with asyncio.timeout(left_s):
                if not tcp:
                    return await _ask_udp(upstream, sent.wire, lambda data: judge_reply(sent, data, False))
                data = await _ask_tcp(upstream, sent.wire)
        except TimeoutError:
            return None, b""
        except (OSError, asyncio.IncompleteReadError):
            return Verdict.FAILED, b""  # nobody listens there
        finally:
            self._sent.pop(sent.question, None)
        verdict = judge_reply(sent, data, True)
        if verdict is Verdict.ANSWER and data[12 : 12 + len(sent.question)] != sent.question:
            self._plain.add(upstream)
        return verdict, data

    def _is_own(self, query: Query, now: float) -> bool:
        """Our own question, in the random case we gave it, has come back: that forwarder asks us."""
        upstream = self._sent.get(query.question)
        if upstream is None or letters_in(query.question) < LOOP_LETTERS or upstream in self._plain:
            return False
        self._counts["loop"] += 1
        self._looping[upstream] = now + LOOP_S
        self._warn("loop", f"the DNS forwarder {upstream[0]} asks this server: not used for {LOOP_S:.0f} s", now)
        return True

    def _forget(self, clients: list[_Waiting]) -> None:
        for client in clients:
            self._by_source[client.source] -= 1
            if not self._by_source[client.source]:
                del self._by_source[client.source]

    def _prefer(self, upstream: Address) -> None:
        if self._upstream[0] != upstream:
            self._upstream.remove(upstream)
            self._upstream.insert(0, upstream)

    def _give(self, client: _Waiting, stored: Stored, age_s: int) -> None:
        limit = TCP_SIZE if client.tcp else client.query.limit
        client.send(render_stored(stored, client.query, age_s, limit))

    def _fail(self, client: _Waiting, failure: Failure) -> None:
        code, _ = failure
        rcode = 5 if code == EDE_BLOCKED else 2
        sections = Sections(rcode, 0x0080, extended_error=failure)
        client.send(build_reply(client.query, sections, TCP_SIZE if client.tcp else client.query.limit))

    def _warn(self, reason: str, message: str, now: float) -> None:
        """Once a minute for each reason: what is in a reply is in strangers' hands."""
        if now - self._warned_at.get(reason, -60.0) >= 60.0:
            self._warned_at[reason] = now
            self._log.warning("%s", message)


def _explain(reason: str) -> Failure:
    if reason == "dns-rebinding":
        return EDE_BLOCKED, "the forwarder's reply holds a private address; add the name to network.dns.records"
    return EDE_NO_REACHABLE_AUTHORITY, f"the forwarder's reply cannot be used ({reason})"


async def _ask_udp(upstream: Address, packet: bytes, judge: Callable[[bytes], Verdict]) -> tuple[Verdict, bytes]:
    """The connected socket lets only the forwarder's own address and port through."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(upstream)
        await loop.sock_sendall(sock, packet)
        for _ in range(MAX_MISMATCHES):
            data = await loop.sock_recv(sock, SAFE_SIZE * 4)
            verdict = judge(data)
            if verdict is not Verdict.MISMATCH:
                return verdict, data
    return Verdict.MISMATCH, b""


async def _ask_tcp(upstream: Address, packet: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(len(packet).to_bytes(2, "big") + packet)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    finally:
        writer.close()


_ASK_TCP = (Verdict.TRUNCATED, Verdict.WRONG_CASE, Verdict.MISMATCH)
"After these the same forwarder is asked over TCP."
