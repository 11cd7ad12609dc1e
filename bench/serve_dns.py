"""Our DNS server alone, for measurements and for real clients: `serve_dns.py DESCRIPTION [--port N] [--reference]`.

Binds the description's `bootstrapper` address. At SIGTERM prints its counters as one line of JSON. With `--reference`
it is dnslib alone instead: parse and pack each query, what a server costs without anything kept.
"""

from __future__ import annotations

import argparse
import json
import socket
from collections import Counter
from pathlib import Path

import dnslib

from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.servers.dns_run import run_dns
from bootstrapper.servers.sockets import open_tcp, open_udp


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("description", type=Path)
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--reference", action="store_true")
    options = parser.parse_args()
    cluster = load(options.description.read_text(), str(options.description))
    address = str(cluster.network.bootstrapper)
    udp = open_udp(address, options.port, "DNS")
    if options.reference:
        serve_by_dnslib(cluster, udp)
    tcp = open_tcp(address, options.port, "DNS")
    counts: Counter[str] = Counter()
    print("ready", flush=True)
    run_dns(cluster, dict, (udp,), (tcp,), counts)
    print(json.dumps(counts), flush=True)


def serve_by_dnslib(cluster: Cluster, udp: socket.socket) -> None:
    addresses = {cluster.fqdn(machine) + ".": str(machine.ip) for machine in cluster.machines}
    udp.setblocking(True)
    print("ready", flush=True)
    while True:
        data, client = udp.recvfrom(4096)
        query = dnslib.DNSRecord.parse(data)
        reply = query.reply()
        reply.add_answer(dnslib.RR(query.q.qname, rdata=dnslib.A(addresses[str(query.q.qname)]), ttl=60))
        udp.sendto(reply.pack(), client)


if __name__ == "__main__":
    main()
