"""Sends DHCP replies as their destination says: by the UDP socket, or as a frame to a machine without an address."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address

from bootstrapper.answers.dhcp import Reply, Way
from bootstrapper.servers.interfaces import Link
from bootstrapper.servers.udp import Sender, pack_name
from bootstrapper.wire.frames import build_udp_frame

MOST_NAMES = 4096
EVERYBODY = pack_name("255.255.255.255", 68)


class Transmitter:
    """For one thread. `port` is the port that replies leave from: the one their requests came in on."""

    def __init__(self, sock: socket.socket, frames: socket.socket | None, link: Link, port: int) -> None:
        self._sender = Sender(sock, link.address, link.index)
        self._frames = frames
        self._link = link
        self._port = port
        self._names: dict[tuple[str, int], bytes] = {}
        self._unsent: Counter[str] = Counter()

    def send(self, replies: Sequence[Reply]) -> None:
        datagrams: list[tuple[bytes, bytes]] = []
        names = self._names
        for payload, to in replies:
            way, address, port, mac = to
            if way is Way.LINK and mac is not None and self._send_frame(payload, address, port, mac):
                continue
            if way is Way.LINK or way is Way.BROADCAST:
                datagrams.append((payload, EVERYBODY))
                continue
            name = names.get((address, port))
            if name is None:
                if len(names) >= MOST_NAMES:
                    names.clear()
                name = names[address, port] = pack_name(address, port)
            datagrams.append((payload, name))
        if datagrams:
            refused = self._sender.send(datagrams)
            if refused:
                self._unsent["datagram"] += refused

    def take_unsent(self) -> list[tuple[str, int]]:
        """(way, how many) the kernel refused since the last call; clients ask again. From any thread."""
        if not self._unsent:
            return []
        unsent, self._unsent = self._unsent, Counter()
        return list(unsent.items())

    def _send_frame(self, payload: bytes, address: str, port: int, mac: bytes) -> bool:
        """False: not possible, and the reply is to be broadcast instead (RFC 2131 section 4.1 allows it)."""
        if self._frames is None:
            return False
        link = self._link
        frame = build_udp_frame(payload, link.mac, mac, link.address, self._port, IPv4Address(address), port)
        try:
            self._frames.send(frame)
        except OSError:
            self._unsent["frame"] += 1
            return False
        return True
