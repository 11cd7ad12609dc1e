"""The DNS service over loopback, with a forwarder that lies in every way we know."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import dnslib
import pytest
import uvloop
from rack import NODE4_MAC, make_cluster

from bootstrapper.answers.dns import DnsAnswers
from bootstrapper.answers.dns_forward import Rebinding
from bootstrapper.answers.dns_index import build_names
from bootstrapper.servers import dns_forward
from bootstrapper.servers.dns import DnsServer
from bootstrapper.servers.dns_forward import Forwarder
from bootstrapper.servers.dns_run import serve_dns
from bootstrapper.servers.dns_tcp import TcpService

pytestmark = pytest.mark.loopback

Address = tuple[str, int]
Lie = Callable[["Upstream", bytes, Address], None]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(main())


def question(name: str, qtype: str = "A", ident: int = 77, **edns: object) -> bytes:
    asked = dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, qtype))
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=ident, bitmap=0x0100), q=asked)
    if edns:
        record.add_ar(dnslib.EDNS0(**edns))
    return bytes(record.pack())


def reply_to(data: bytes, zone: str = "", truncated: bool = False, code: int = 0) -> bytes:
    """A genuine reply, the question's own octets kept."""
    record = dnslib.DNSRecord.parse(data).reply()
    record.header.tc = int(truncated)
    record.header.rcode = code
    record.add_answer(*dnslib.RR.fromZone(zone))
    return bytes(record.pack())


def answer_zone(data: bytes, address: str = "192.0.2.1") -> str:
    name = dnslib.DNSRecord.parse(data).q.qname
    return f"{name} 60 A {address}"


class Upstream(asyncio.DatagramProtocol):
    """A forwarder on loopback: `lie` says what it does with a query; `tcp` what it replies there."""

    def __init__(self, lie: Lie, tcp: Callable[[bytes], bytes] | None = None) -> None:
        self.lie = lie
        self.tcp = tcp
        self.seen: list[bytes] = []
        self.ports: set[int] = set()
        self.tcp_seen: list[bytes] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, client: Any) -> None:
        self.seen.append(data)
        self.ports.add(client[1])
        self.lie(self, data, client)

    def send(self, data: bytes, client: Address) -> None:
        self.transport.sendto(data, client)

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        self.tcp_seen.append(data)
        reply = self.tcp(data) if self.tcp else b""
        writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()


@asynccontextmanager
async def started(upstream: Upstream) -> AsyncIterator[Address]:
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(upstream.serve_tcp, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(lambda: upstream, local_addr=("127.0.0.1", port))
    try:
        yield ("127.0.0.1", port)
    finally:
        transport.close()
        server.close()


class Ours:
    """The service on two loopback sockets, and a client of it."""

    def __init__(self, upstream: list[Address], networks: list[str] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.udp.bind(("127.0.0.1", 0))
        self.address: Address = self.udp.getsockname()
        self.tcp = socket.create_server(self.address)
        self.forwarder = (
            Forwarder(upstream, Rebinding(frozenset()), random.Random(1), self.counts) if upstream else None
        )
        answers = DnsAnswers(build_names(make_cluster(), {}, 1), bool(upstream))
        self.server = DnsServer(answers, self.forwarder, map(IPv4Network, networks or []), self.counts)
        self.service = TcpService(self.server, self.counts)

    async def __aenter__(self) -> Ours:
        self.server.add_udp(self.udp)
        await self.service.add(self.tcp)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.remove_udp(self.udp)
        await self.service.close()
        if self.forwarder:
            await self.forwarder.close()
        self.udp.close()

    async def exchange(self, data: bytes, wait_s: float = 6.0) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.connect(self.address)
            await loop.sock_sendall(client, data)
            async with asyncio.timeout(wait_s):
                return await loop.sock_recv(client, 65535)

    async def ask(self, name: str, qtype: str = "A") -> dnslib.DNSRecord:
        return dnslib.DNSRecord.parse(await self.exchange(question(name, qtype, udp_len=1232)))


def values(record: dnslib.DNSRecord) -> list[str]:
    return [str(rr.rdata) for rr in record.rr]


def honest(upstream: Upstream, data: bytes, client: Address) -> None:
    upstream.send(reply_to(data, answer_zone(data)), client)


def test_local_names_and_the_ready_replies() -> None:
    async def main() -> None:
        async with Ours([]) as ours:
            for ident in (1, 2, 3):
                reply = await ours.exchange(question("NODE1.prod.example.com", ident=ident))
                record = dnslib.DNSRecord.parse(reply)
                assert (record.header.id, values(record)) == (ident, ["10.10.14.11"])
                assert str(record.q.qname) == "NODE1.prod.example.com."
            assert ours.counts == {"answer": 1, "ready": 2}

    run(main)


def test_new_names_from_the_next_query_on() -> None:
    async def main() -> None:
        async with Ours([]) as ours:
            for _ in range(2):
                assert (await ours.ask("node4.prod.example.com")).header.rcode == 3
                assert values(await ours.ask("node1.prod.example.com")) == ["10.10.14.11"]
            leased = {NODE4_MAC: IPv4Address("10.10.14.120")}
            ours.server.replace_answers(DnsAnswers(build_names(make_cluster(), leased, 2), False))
            assert values(await ours.ask("node4.prod.example.com")) == ["10.10.14.120"]

    run(main)


def test_any_datagram_leaves_the_loop_alive() -> None:
    async def main() -> None:
        rng = random.Random(5)
        async with Ours([]) as ours:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                for _ in range(500):
                    client.sendto(rng.randbytes(rng.randrange(60)), ours.address)
                    await asyncio.sleep(0)
                client.sendto(b"", ours.address)
            assert values(await ours.ask("node1.prod.example.com")) == ["10.10.14.11"]
            assert ours.counts["fault"] == 0

    run(main)


def test_forwarded_once_then_from_the_cache() -> None:
    async def main() -> None:
        upstream = Upstream(honest)
        async with started(upstream) as address, Ours([address]) as ours:
            first = await ours.ask("www.example.org")
            assert (values(first), first.header.ra, first.header.aa) == (["192.0.2.1"], 1, 0)
            assert values(await ours.ask("WWW.example.org")) == ["192.0.2.1"]
            assert len(upstream.seen) == 1
            assert ours.counts == {"forward": 2, "cached": 1}

    run(main)


def test_equal_questions_go_out_once() -> None:
    async def main() -> None:
        late = Upstream(lambda up, data, to: asyncio.get_running_loop().call_later(0.1, honest, up, data, to) and None)
        async with started(late) as address, Ours([address]) as ours:
            replies = await asyncio.gather(*(ours.ask("www.example.org") for _ in range(20)))
            assert [values(reply) for reply in replies] == [["192.0.2.1"]] * 20
            assert len(late.seen) == 1

    run(main)


def test_queries_differ_in_id_port_and_case() -> None:
    async def main() -> None:
        upstream = Upstream(honest)
        async with started(upstream) as address, Ours([address]) as ours:
            for number in range(12):
                await ours.ask(f"very-long-name-{number}.example.org")
            assert len({data[:2] for data in upstream.seen}) == 12
            assert len(upstream.ports) > 9
            assert len({data[12:30].swapcase() == data[12:30].lower() for data in upstream.seen}) == 1
            assert len({bytes(0x61 <= octet <= 0x7A for octet in data[13:27]) for data in upstream.seen}) == 12

    run(main)


def send_after_a_forgery(forge: Callable[[bytes], bytes]) -> Lie:
    def lie(upstream: Upstream, data: bytes, client: Address) -> None:
        forged = reply_to(data, answer_zone(data, "192.0.2.66"))
        upstream.send(forge(forged), client)
        upstream.send(reply_to(data, answer_zone(data)), client)

    return lie


@pytest.mark.parametrize(
    "forge",
    [
        lambda data: bytes((data[0] ^ 1,)) + data[1:],  # another ID
        lambda data: data.replace(b"\x07", b"\x06", 1),  # another question
        lambda data: data[:2] + bytes((data[2] & 0x7F,)) + data[3:],  # a query, not a reply
        lambda data: data[:20],
        lambda data: b"",
        lambda data: b"\xff" * 600,
    ],
    ids=["id", "question", "query", "short", "empty", "junk"],
)
def test_a_forgery_is_waited_out(forge: Callable[[bytes], bytes]) -> None:
    async def main() -> None:
        async with started(Upstream(send_after_a_forgery(forge))) as address, Ours([address]) as ours:
            assert values(await ours.ask("www.example.org")) == ["192.0.2.1"]

    run(main)


def test_a_reply_from_another_port_is_not_heard() -> None:
    def lie(upstream: Upstream, data: bytes, client: Address) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            other.sendto(reply_to(data, answer_zone(data, "192.0.2.66")), client)
        honest(upstream, data, client)

    async def main() -> None:
        async with started(Upstream(lie)) as address, Ours([address]) as ours:
            assert values(await ours.ask("www.example.org")) == ["192.0.2.1"]

    run(main)


def test_a_second_reply_changes_nothing() -> None:
    def lie(upstream: Upstream, data: bytes, client: Address) -> None:
        honest(upstream, data, client)
        upstream.send(reply_to(data, answer_zone(data, "192.0.2.66")), client)

    async def main() -> None:
        async with started(Upstream(lie)) as address, Ours([address]) as ours:
            for _ in range(3):
                assert values(await ours.ask("www.example.org")) == ["192.0.2.1"]

    run(main)


def test_a_forwarder_that_rewrites_case_is_asked_over_tcp_once() -> None:
    def lie(upstream: Upstream, data: bytes, client: Address) -> None:
        lower = data[:12] + data[12:].lower()
        upstream.send(reply_to(lower, answer_zone(lower)), client)

    def lower_tcp(data: bytes) -> bytes:
        lower = data[:12] + data[12:].lower()
        return reply_to(lower, answer_zone(lower))

    async def main() -> None:
        upstream = Upstream(lie, tcp=lower_tcp)
        async with started(upstream) as address, Ours([address]) as ours:
            assert values(await ours.ask("www.example.org")) == ["192.0.2.1"]
            assert values(await ours.ask("two.example.org")) == ["192.0.2.1"]
            assert (len(upstream.seen), len(upstream.tcp_seen)) == (2, 1)

    run(main)


def test_a_truncated_reply_is_fetched_over_tcp() -> None:
    def big(data: bytes) -> bytes:
        return reply_to(data, "\n".join(answer_zone(data, f"192.0.2.{n}") for n in range(1, 200)))

    async def main() -> None:
        upstream = Upstream(lambda up, data, to: up.send(reply_to(data, truncated=True), to), tcp=big)
        async with started(upstream) as address, Ours([address]) as ours:
            small = await ours.ask("www.example.org")
            assert (small.header.tc, small.rr) == (1, [])
            reader, writer = await asyncio.open_connection(*ours.address)
            data = question("www.example.org")
            writer.write(len(data).to_bytes(2, "big") + data)
            size = int.from_bytes(await reader.readexactly(2), "big")
            assert len(dnslib.DNSRecord.parse(await reader.readexactly(size)).rr) == 199
            writer.close()

    run(main)


def test_truncated_and_nothing_over_tcp_is_no_loop() -> None:
    async def main() -> None:
        upstream = Upstream(lambda up, data, to: up.send(reply_to(data, truncated=True), to), tcp=lambda data: b"")
        async with started(upstream) as address, Ours([address]) as ours:
            assert (await ours.ask("www.example.org")).header.rcode == 2
            assert (len(upstream.seen), len(upstream.tcp_seen)) == (1, 1)

    run(main)


def test_an_old_forwarder_is_asked_without_edns() -> None:
    def lie(upstream: Upstream, data: bytes, client: Address) -> None:
        if data[11]:
            upstream.send(reply_to(data, code=1), client)
        else:
            honest(upstream, data, client)

    async def main() -> None:
        async with started(Upstream(lie)) as address, Ours([address]) as ours:
            assert values(await ours.ask("www.example.org")) == ["192.0.2.1"]

    run(main)


def test_the_next_forwarder_when_one_fails() -> None:
    async def main() -> None:
        failing = Upstream(lambda up, data, to: up.send(reply_to(data, code=2), to))
        silent = Upstream(lambda up, data, to: None)
        good = Upstream(honest)
        async with (
            started(failing) as one,
            started(silent) as two,
            started(good) as three,
            Ours([one, two, three]) as ours,
        ):
            assert values(await ours.ask("www.example.org")) == ["192.0.2.1"]
            assert (len(failing.seen), len(silent.seen), len(good.seen)) == (1, 1, 1)
            assert values(await ours.ask("two.example.org")) == ["192.0.2.1"]
            assert (len(failing.seen), len(silent.seen), len(good.seen)) == (1, 1, 2)

    run(main)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_forward, "TOTAL_S", 1.0)
    monkeypatch.setattr(dns_forward, "ATTEMPT_S", 0.25)

    async def main() -> None:
        silent = Upstream(lambda up, data, to: None)
        async with started(silent) as address, Ours([address]) as ours:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            reply = await ours.ask("www.example.org")
            assert (reply.header.rcode, reply.ar[0].rdata[0].data) == (2, b"\x00\x16no forwarder answered")
            assert 0.8 < loop.time() - begun < 1.3
            assert len(silent.seen) == 4
            await ours.ask("www.example.org")
            assert loop.time() - begun < 1.4
            assert len(silent.seen) == 4

    run(main)


def test_a_forwarder_that_is_not_there_fails_at_once() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(("127.0.0.1", 0))
            address = nobody.getsockname()
        async with Ours([address]) as ours:
            assert dnslib.DNSRecord.parse(await ours.exchange(question("www.example.org"), 1.0)).header.rcode == 2

    run(main)


def test_private_addresses_from_outside_are_refused() -> None:
    async def main() -> None:
        upstream = Upstream(lambda up, data, to: up.send(reply_to(data, answer_zone(data, "10.10.14.11")), to))
        async with started(upstream) as address, Ours([address]) as ours:
            reply = await ours.ask("evil.example.org")
            assert (reply.header.rcode, reply.rr) == (5, [])
            assert reply.ar[0].rdata[0].data.startswith(b"\x00\x0fthe forwarder's reply holds a private address")
            assert ours.counts["dns-rebinding"] == 1

    run(main)


def test_a_huge_ttl_is_cut() -> None:
    async def main() -> None:
        def lie(up: Upstream, data: bytes, to: Address) -> None:
            up.send(reply_to(data, answer_zone(data).replace(" 60 ", " 2147483647 ")), to)

        async with started(Upstream(lie)) as address, Ours([address]) as ours:
            assert (await ours.ask("www.example.org")).rr[0].ttl == 86400

    run(main)


def test_a_forwarder_that_asks_us_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_forward, "TOTAL_S", 0.5)

    async def main() -> None:
        def bounce(up: Upstream, data: bytes, to: Address) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.sendto(data, up.target)  # type: ignore[attr-defined]

        upstream = Upstream(bounce)
        async with started(upstream) as address, Ours([address]) as ours:
            upstream.target = ours.address  # type: ignore[attr-defined]
            await ours.ask("a-name-long-enough.example.org")
            assert ours.counts["loop"] >= 1
            seen = len(upstream.seen)
            assert (await ours.ask("another-name-long-enough.example.org")).header.rcode == 2
            assert len(upstream.seen) == seen

    run(main)


def test_too_many_questions_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_forward, "MAX_OUTSTANDING", 5)
    monkeypatch.setattr(dns_forward, "TOTAL_S", 0.5)

    async def main() -> None:
        silent = Upstream(lambda up, data, to: None)
        async with started(silent) as address, Ours([address]) as ours:
            replies = await asyncio.gather(*(ours.ask(f"n{number}.example.org") for number in range(9)))
            assert [reply.header.rcode for reply in replies] == [2] * 9
            assert ours.counts["overload"] == 4

    run(main)


def test_one_client_cannot_use_up_what_all_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_forward, "MAX_PER_SOURCE", 3)
    monkeypatch.setattr(dns_forward, "TOTAL_S", 0.3)

    async def main() -> None:
        async with started(Upstream(lambda up, data, to: None)) as address, Ours([address]) as ours:
            for overload in (2, 4):
                await asyncio.gather(*(ours.ask(f"n{overload}-{number}.example.org") for number in range(5)))
                assert ours.counts["overload"] == overload

    run(main)


async def read_reply(reader: asyncio.StreamReader) -> dnslib.DNSRecord:
    size = int.from_bytes(await reader.readexactly(2), "big")
    return dnslib.DNSRecord.parse(await reader.readexactly(size))


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def test_tcp_several_queries_in_odd_pieces() -> None:
    async def main() -> None:
        async with Ours([]) as ours:
            reader, writer = await asyncio.open_connection(*ours.address)
            stream = b"".join(framed(question("node1.prod.example.com", ident=ident)) for ident in range(30))
            for at in range(0, len(stream), 7):
                writer.write(stream[at : at + 7])
                await asyncio.sleep(0)
            assert [(await read_reply(reader)).header.id for _ in range(30)] == list(range(30))
            writer.close()

    run(main)


def test_tcp_the_ready_ones_do_not_wait_for_the_forwarded() -> None:
    async def main() -> None:
        late = Upstream(lambda up, data, to: asyncio.get_running_loop().call_later(0.2, honest, up, data, to) and None)
        async with started(late) as address, Ours([address]) as ours:
            reader, writer = await asyncio.open_connection(*ours.address)
            writer.write(
                framed(question("www.example.org", ident=1)) + framed(question("node1.prod.example.com", ident=2))
            )
            writer.write_eof()
            assert [(await read_reply(reader)).header.id for _ in range(2)] == [2, 1]
            assert await reader.read() == b""

    run(main)


def test_tcp_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrapper.servers.dns_tcp.IDLE_S", 0.2)
    monkeypatch.setattr("bootstrapper.servers.dns_tcp.MAX_PER_SOURCE", 2)

    async def main() -> None:
        async with Ours([]) as ours:
            idle, _ = await asyncio.open_connection(*ours.address)
            slow, slow_writer = await asyncio.open_connection(*ours.address)
            slow_writer.write(b"\0")
            await asyncio.sleep(0.05)
            third, _ = await asyncio.open_connection(*ours.address)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await third.readexactly(1)
            assert await idle.read() == b""
            assert await slow.read() == b""
            assert ours.counts["tcp-full"] == 1
            reader, writer = await asyncio.open_connection(*ours.address)
            writer.write(framed(question("node1.prod.example.com")))
            assert values(await read_reply(reader)) == ["10.10.14.11"]

    run(main)


def test_tcp_a_message_that_is_no_query_ends_the_connection() -> None:
    async def main() -> None:
        async with Ours([]) as ours:
            reader, writer = await asyncio.open_connection(*ours.address)
            writer.write(b"\0\3abc")
            assert await reader.read() == b""

    run(main)


def test_strangers() -> None:
    ours = Ours([], ["10.10.14.0/24", "10.20.0.0/16"])
    allowed = {
        source: ours.server.is_allowed(source) for source in ("10.10.14.7", "10.20.9.9", "10.21.0.1", "8.8.8.8", "::1")
    }
    assert allowed == {"10.10.14.7": True, "10.20.9.9": True, "10.21.0.1": False, "8.8.8.8": False, "::1": False}
    ours.udp.close()
    ours.tcp.close()


def test_the_whole_service_follows_the_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrapper.servers.dns_run.REFRESH_S", 0.05)

    async def main() -> None:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.create_server(udp.getsockname())
        leased: dict[str, IPv4Address] = {}
        stop = asyncio.Event()
        counts: Counter[str] = Counter()
        task = asyncio.create_task(serve_dns(make_cluster(), lambda: leased, (udp,), (tcp,), counts, stop))
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.connect(udp.getsockname())
            found = []
            for address in ("10.10.14.120", "10.10.14.121"):
                leased[NODE4_MAC] = IPv4Address(address)
                await asyncio.sleep(0.2)
                await loop.sock_sendall(client, question("node4.prod.example.com"))
                found += values(dnslib.DNSRecord.parse(await loop.sock_recv(client, 600)))
        assert found == ["10.10.14.120", "10.10.14.121"]
        stop.set()
        await task
        udp.close()

    run(main)
