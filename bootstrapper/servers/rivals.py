"""Watches for other DHCP servers on our link: two of them give one machine two answers, and it boots by luck.

It asks with a DISCOVER of our own now and then, and reads everything that servers broadcast. It only ever warns.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address

from bootstrapper.boot.events import Event
from bootstrapper.boot.steps import Dhcp, Service
from bootstrapper.errors import MalformedPacket
from bootstrapper.servers.interfaces import Link
from bootstrapper.wire.dhcp import BROADCAST_FLAG, REPLY, Packet, build_packet, parse_packet
from bootstrapper.wire.frames import BROADCAST_MAC, build_udp_frame

ASK_EVERY_S = 3600.0
WARN_AGAIN_S = 3600.0
MOST_RIVALS = 256
DISCOVER, OFFER, ACK = 1, 2, 5


class RivalWatch:
    """`sock` is from `sockets.open_rivals`."""

    def __init__(self, link: Link, sock: socket.socket) -> None:
        self.sock = sock
        self._link = link
        self._ask_at = float("-inf")
        self._found: list[tuple[str, str]] = []
        self._warned_at: dict[tuple[str, str], float] = {}

    def tick(self, now: float) -> list[Event]:
        """Ask when it is time; returns a warning for each server heard of. `now` is wall clock seconds."""
        if not 0 <= now - self._ask_at < ASK_EVERY_S:
            self._ask_at = now
            with suppress(OSError):
                self.sock.send(build_discover(self._link, int(now)))
        found, self._found = self._found, []
        events = []
        for rival in dict.fromkeys(found):
            if 0 <= now - self._warned_at.get(rival, float("-inf")) < WARN_AGAIN_S:
                continue
            if len(self._warned_at) >= MOST_RIVALS:
                self._warned_at.clear()
            self._warned_at[rival] = now
            address, mac = rival
            detail = (
                f"another DHCP server, {address} ({mac}), answers on {self._link.name}: machines may take its answers "
                "for ours; turn it off, or set network.dhcp.mode"
            )
            events.append(Event(now, "", Service.DHCP, Dhcp.RIVAL, detail, "warning"))
        return events

    def read(self) -> None:
        for _ in range(MOST_RIVALS):
            try:
                frame = self.sock.recv(2048)
            except OSError:
                return
            with suppress(MalformedPacket):
                rival = find_server(frame)
                if rival is not None and rival[0] != str(self._link.address) and len(self._found) < MOST_RIVALS:
                    self._found.append(rival)


def build_discover(link: Link, xid: int) -> bytes:
    """A whole frame. From our own MAC, so that a server that keeps a list sees who asked; answers are broadcast."""
    packet = Packet(
        xid=xid & 0xFFFFFFFF,
        flags=BROADCAST_FLAG,
        chaddr=link.mac.ljust(16, b"\0"),
        options={53: bytes([DISCOVER]), 55: bytes([1, 3, 54])},
    )
    return build_udp_frame(
        build_packet(packet), link.mac, BROADCAST_MAC, IPv4Address("0.0.0.0"), 68, IPv4Address("255.255.255.255"), 67
    )


def find_server(frame: bytes) -> tuple[str, str] | None:
    """(server identifier, sender's MAC) of an OFFER or ACK in an Ethernet frame. Raises MalformedPacket."""
    start = 14 + (frame[14] & 15) * 4 + 8 if len(frame) > 14 else 0
    if not start or len(frame) < start:
        raise MalformedPacket("dhcp-short")
    packet = parse_packet(frame[start:])
    server = packet.options.get(54, b"")
    if packet.op != REPLY or packet.options.get(53) not in (bytes([OFFER]), bytes([ACK])) or len(server) != 4:
        return None
    return str(IPv4Address(server)), frame[6:12].hex(":")
