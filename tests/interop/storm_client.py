"""Many DHCP clients behind one relay address: `python storm_client.py SEED CLIENTS OUTCOME`, until SIGTERM.

Each client discovers, requests, renews, releases or restarts at random. What a client may rely on is written to
OUTCOME, one line each: `ack TIME MAC ADDRESS` as the ACK arrives, `end TIME MAC ADDRESS` before a RELEASE is sent.
"""

from __future__ import annotations

import random
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet

SERVER, RELAY = "10.20.0.1", "10.20.0.2"
DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7
PATIENCE_S = 0.5


class Client:
    def __init__(self, number: int) -> None:
        self.hardware = bytes([2, 0, 0, 0, number >> 8, number & 255])
        self.mac = self.hardware.hex(":")
        self.address = 0
        self.xid = 0
        self.next_at = 0.0


def main(seed: int, count: int, outcome: Path) -> None:
    chance = random.Random(seed)
    clients = [Client(number) for number in range(count)]
    by_hardware = {client.hardware: client for client in clients}
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((RELAY, 67))
    server, relay = socket.inet_aton(SERVER), int.from_bytes(socket.inet_aton(RELAY), "big")

    with outcome.open("w") as log:

        def say(word: str, client: Client, address: int) -> None:
            dotted = socket.inet_ntoa(address.to_bytes(4, "big"))
            log.write(f"{word} {time.time():.6f} {client.mac} {dotted}\n")
            log.flush()

        def send(client: Client, kind: int, options: dict[int, bytes], ciaddr: int = 0) -> None:
            client.xid = chance.getrandbits(32)
            packet = Packet(
                hops=1, xid=client.xid, ciaddr=ciaddr, giaddr=relay, chaddr=client.hardware.ljust(16, b"\0"),
                options={53: bytes([kind]), **options},
            )  # fmt: skip
            with suppress(ConnectionRefusedError):  # an earlier datagram found the server gone
                sock.sendto(build_packet(packet), (SERVER, 67))

        def act(client: Client) -> None:
            what = chance.random()
            if not client.address or what < 0.3:
                send(client, DISCOVER, {})
            elif what < 0.6:
                send(client, REQUEST, {}, ciaddr=client.address)
            elif what < 0.8:
                send(client, REQUEST, {50: client.address.to_bytes(4, "big")})
            else:
                say("end", client, client.address)
                send(client, RELEASE, {54: server}, ciaddr=client.address)
                client.address = 0

        def hear(data: bytes) -> None:
            try:
                packet = parse_packet(data)
            except MalformedPacket:
                sys.exit("the server sent a malformed packet")
            client = by_hardware[packet.hardware]
            if packet.xid != client.xid:
                return
            kind = packet.options[53][0]
            if kind == OFFER:
                send(client, REQUEST, {50: packet.yiaddr.to_bytes(4, "big"), 54: server})
            elif kind == ACK:
                client.address = packet.yiaddr
                say("ack", client, packet.yiaddr)
            elif kind == NAK:
                client.address = 0

        while running:
            now = time.monotonic()
            for client in clients:
                if now >= client.next_at:
                    client.next_at = now + PATIENCE_S * chance.uniform(0.2, 1)
                    act(client)
            until = now + 0.02
            while (left := until - time.monotonic()) > 0:
                if select.select([sock], [], [], left)[0]:
                    try:
                        hear(sock.recv(2048))
                    except ConnectionRefusedError:
                        continue


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
