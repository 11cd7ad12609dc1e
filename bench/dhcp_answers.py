"""Microseconds per DHCP answer, without sockets or disk: what the answering code alone allows per core.

    python bench/dhcp_answers.py [CLIENTS]

Two kinds of clients: unknown ones that each take an address of the pool (what perfdhcp plays), and machines of the
description with a fixed address. Each does a DISCOVER and a REQUEST; "again" is the REQUEST of a renewal.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from time import process_time

from bootstrapper.answers.dhcp import Arrival, DhcpAnswers, Outcome
from bootstrapper.answers.leases import LeaseTable
from bootstrapper.boot.history import History
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import AddressRange, Cluster, Subnet, UnknownPolicy
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet

EXAMPLE = Path(__file__).parent.parent / "cluster-desc.example.yaml"
BATCH = 500
NOW = 1_700_000_000.0


def make_cluster(clients: int) -> Cluster:
    """The example on a /12, with a fixed address for as many machines as there are unknown clients, at most 1,000."""
    cluster = load(EXAMPLE.read_bytes())
    link = Subnet(
        IPv4Network("10.0.0.0/12"), (), AddressRange(IPv4Address("10.1.0.0"), IPv4Address("10.1.0.0") + clients)
    )
    machines = tuple(
        replace(cluster.machines[0], macs=(mac(0x0C, number),), host=f"n{number}", ip=IPv4Address("10.0.1.0") + number)
        for number in range(min(clients, 1000))
    )
    network = replace(cluster.network, link=link, more_subnets=(), bootstrapper=IPv4Address("10.0.0.1"))
    return replace(cluster, network=network, machines=machines, unknown_machines=UnknownPolicy.DISCOVER)


def mac(prefix: int, number: int) -> str:
    return (prefix << 40 | number).to_bytes(6, "big").hex(":")


def make_request(hardware: str, options: dict[int, bytes]) -> bytes:
    chaddr = bytes.fromhex(hardware.replace(":", "")).ljust(16, b"\0")
    return build_packet(Packet(xid=7, chaddr=chaddr, options=options))


def run(title: str, answer: Callable[[bytes], Outcome], requests: list[bytes]) -> list[Outcome]:
    """Processor time, since the machine may be busy with other things; the best batch shows what the code costs."""
    gc.collect()
    outcomes: list[Outcome] = []
    spent = []
    for at in range(0, len(requests), BATCH):
        batch = requests[at : at + BATCH]
        started = process_time()
        outcomes += [answer(request) for request in batch]
        spent.append((process_time() - started) / len(batch) * 1e6)
    assert all(outcome.reply for outcome in outcomes)
    print(f"{title:36} mean {sum(spent) / len(spent):6.2f} us   best {min(spent):6.2f} us  {1e6 / min(spent):9,.0f}/s")
    return outcomes


def main() -> None:
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    cluster = make_cluster(clients)
    history = History()
    answers = DhcpAnswers(cluster, LeaseTable(), lambda _: history)
    arrival = Arrival(IPv4Address("0.0.0.0"), 68, IPv4Address("10.0.0.1"), 67, True)

    def answer(request: bytes) -> Outcome:
        return answers.answer(request, arrival, NOW)

    # What perfdhcp sends: a parameter list, a client's discover and the request for what it was offered.
    listed = {55: bytes((1, 28, 2, 3, 15, 6, 12))}
    for title, prefix, count in (("unknown, from the pool", 0x02, clients), ("known, fixed address", 0x0C, 1000)):
        hardware = [mac(prefix, number) for number in range(min(count, clients))]
        discovers = [make_request(each, {53: b"\1", **listed}) for each in hardware]
        offers = run(f"{title}: DISCOVER", answer, discovers)
        requests = []
        for each, offer in zip(hardware, offers, strict=True):
            assert offer.reply
            packet = parse_packet(offer.reply.payload)
            address = packet.yiaddr.to_bytes(4, "big")
            requests.append(make_request(each, {53: b"\3", 54: packet.options[54], 50: address, **listed}))
        run(f"{title}: REQUEST", answer, requests)
        run(f"{title}: REQUEST again", answer, requests)


if __name__ == "__main__":
    main()
