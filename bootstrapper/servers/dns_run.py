"""The DNS service's life: made from a description, kept up to date with the leases, ended by a signal."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address

import uvloop

from bootstrapper.answers.dns import DnsAnswers
from bootstrapper.answers.dns_forward import Rebinding, site_domains
from bootstrapper.answers.dns_index import build_names
from bootstrapper.cluster.model import Cluster
from bootstrapper.servers.dns import DnsServer
from bootstrapper.servers.dns_forward import Forwarder
from bootstrapper.servers.dns_tcp import TcpService
from bootstrapper.servers.logs import LOGGER
from bootstrapper.wire.dns_names import parse_text

PORT = 53
REFRESH_S = 2.0

FindLeased = Callable[[], Mapping[str, IPv4Address]]
"MAC -> address of the machines of the description that have none in it; called every two seconds, in a thread."


async def serve_dns(
    cluster: Cluster,
    find_leased: FindLeased,
    udp: Sequence[socket.socket],
    tcp: Sequence[socket.socket],
    counts: Counter[str],
    stop: asyncio.Event,
) -> None:
    """Answer until `stop` is set. `counts` gets the queries by outcome."""
    forwarder = _make_forwarder(cluster, udp, counts)
    leased = dict(find_leased())
    answers = _make_answers(cluster, leased, forwarder is not None)
    networks = [subnet.network for subnet in cluster.network.subnets]
    server = DnsServer(answers, forwarder, networks, counts)
    connections = TcpService(server, counts)
    for sock in udp:
        server.add_udp(sock)
    for sock in tcp:
        await connections.add(sock)
    try:
        await _follow_leases(cluster, find_leased, leased, server, forwarder is not None, stop)
    finally:
        for sock in udp:
            server.remove_udp(sock)
        await connections.close()
        if forwarder is not None:
            await forwarder.close()


def run_dns(
    cluster: Cluster,
    find_leased: FindLeased,
    udp: Sequence[socket.socket],
    tcp: Sequence[socket.socket],
    counts: Counter[str],
) -> None:
    """The whole life of a DNS process: until SIGTERM or SIGINT."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve_dns(cluster, find_leased, udp, tcp, counts, stop)

    uvloop.run(main())


async def _follow_leases(
    cluster: Cluster,
    find_leased: FindLeased,
    leased: dict[str, IPv4Address],
    server: DnsServer,
    forwards: bool,
    stop: asyncio.Event,
) -> None:
    """Names of machines whose address comes from a pool appear within seconds of their first lease."""
    if all(machine.ip is not None for machine in cluster.machines):
        await stop.wait()
        return
    while not stop.is_set():
        try:
            async with asyncio.timeout(REFRESH_S):
                await stop.wait()
        except TimeoutError:
            try:
                found = dict(await asyncio.to_thread(find_leased))
            except Exception:
                logging.getLogger(LOGGER).exception("the leases cannot be read; DNS keeps the names it has")
                continue
            if found != leased:
                leased = found
                # 0.3 s for 10,000 machines: in a thread, so that queries are answered meanwhile
                server.replace_answers(await asyncio.to_thread(_make_answers, cluster, leased, forwards))


def _make_answers(cluster: Cluster, leased: Mapping[str, IPv4Address], forwards: bool) -> DnsAnswers:
    return DnsAnswers(build_names(cluster, leased, int(time.time())), forwards)


def _make_forwarder(cluster: Cluster, udp: Iterable[socket.socket], counts: Counter[str]) -> Forwarder | None:
    """None when there is nobody to ask. A forwarder that is this very server is left out: each query would return."""
    own = {cluster.network.bootstrapper, *(IPv4Address(sock.getsockname()[0]) for sock in udp)}
    upstream = []
    for address in cluster.network.dns.upstream:
        if address in own:
            logging.getLogger(LOGGER).error("network.dns.upstream: %s is this server itself; left out", address)
        else:
            upstream.append((str(address), PORT))
    if not upstream:
        return None
    domains = frozenset(parse_text(name) for name in site_domains(cluster.domain))
    return Forwarder(upstream, Rebinding(domains), random.SystemRandom(), counts)
