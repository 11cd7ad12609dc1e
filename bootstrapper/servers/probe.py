"""Looks at addresses before they are given out, so that no OFFER waits for a probe; looks for other DHCP servers too.

On our own link it asks by ARP, behind relays by ICMP echo. Addresses of the description are looked at in the
background, and only ever cause a warning: the description's word stands. Everything here only reads the network and
speaks up; whether an address is used is for `answers.leases` to decide.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from bootstrapper.answers.leases import Lease, LeaseTable
from bootstrapper.boot.events import Event
from bootstrapper.cluster.model import Cluster, DhcpMode, Machine, Subnet
from bootstrapper.errors import MalformedPacket
from bootstrapper.servers.interfaces import Link
from bootstrapper.servers.rivals import RivalWatch
from bootstrapper.wire.frames import build_arp_request, build_echo, parse_arp, parse_echo_reply

AHEAD = 32
"Addresses of each subnet kept known to be free."
EVERY_S = 0.25
WAIT_S = 0.75
"For an answer; ARP and echo alike."
REPEAT_S = 0.3
"A second probe goes out when the first has not been answered: one may be lost."
RESERVATIONS_PER_ROUND = 4
"One round in four seconds: 1,000 machines are looked at in about a quarter of an hour."
RESERVATION_ROUND_S = 4.0
WARN_AGAIN_S = 3600.0
READ_AT_ONCE = 256
ECHO_ID = 0x4253


@dataclass(slots=True)
class _Probe:
    sent_at: float
    subnet: Subnet
    repeated: bool = False
    machine: Machine | None = None
    "For a reservation: whose address it is."


class Prober:
    """Its `handlers` are called when their descriptors are readable, `tick` about ten times a second."""

    def __init__(
        self,
        cluster: Cluster,
        table: LeaseTable,
        link: Link,
        frames: socket.socket | None,
        echo: socket.socket | None,
        rivals: socket.socket | None,
    ) -> None:
        self._table = table
        self._link = link
        self._frames = frames
        self._echo = echo
        self._rivals = RivalWatch(link, rivals) if rivals is not None else None
        self._probes: dict[IPv4Address, _Probe] = {}
        self._leases: list[Lease] = []
        self._events: list[Event] = []
        self._warned_at: dict[IPv4Address, float] = {}
        self._probe_at = 0.0
        self._reservation_at = 0.0
        self._now = 0.0
        self.handlers: dict[int, Callable[[], None]] = {}
        if frames is not None:
            self.handlers[frames.fileno()] = self._read_arp
        if echo is not None:
            self.handlers[echo.fileno()] = self._read_echo
        if self._rivals is not None:
            self.handlers[self._rivals.sock.fileno()] = self._rivals.read
        network = cluster.network
        self._subnets = network.subnets
        # Where another server may be wanted we do not ask for one, and what is given out is not ours to look at.
        self._active = network.dhcp.mode in (DhcpMode.AUTHORITATIVE, DhcpMode.RESERVATIONS)
        self._pools = network.dhcp.mode is DhcpMode.AUTHORITATIVE
        self._reserved = [machine for machine in cluster.machines if machine.ip is not None and self._reaches(machine)]
        self._cursor = 0

    def tick(self, now: float) -> tuple[list[Lease], list[Event]]:
        """Send what is due; returns leases to save (addresses found in use) and events to record. `now`: wall clock."""
        if abs(now - self._now) > 60:  # the clock was set, or this is the first time
            self._probes.clear()
            self._probe_at = self._reservation_at = now
        self._now = now
        if self._active:
            self._finish(now)
            if now >= self._probe_at:
                self._probe_at = now + EVERY_S
                self._look_ahead(now)
            if now >= self._reservation_at:
                self._reservation_at = now + RESERVATION_ROUND_S
                self._look_at_reservations(now)
            # With `reservations` another server is meant to be there: it gives addresses to all others.
            if self._rivals is not None and self._pools:
                self._events += self._rivals.tick(now)
        leases, self._leases = self._leases, []
        events, self._events = self._events, []
        return leases, events

    def _reaches(self, machine: Machine) -> bool:
        return machine.ip in self._subnets[0].network

    def _look_ahead(self, now: float) -> None:
        if not self._pools:
            return
        for subnet in self._subnets:
            if subnet.range is None:
                continue
            for address in self._table.candidates(subnet, AHEAD, now):
                if address not in self._probes and self._ask(address, subnet):
                    self._probes[address] = _Probe(now, subnet)

    def _look_at_reservations(self, now: float) -> None:
        for _ in range(min(RESERVATIONS_PER_ROUND, len(self._reserved))):
            machine = self._reserved[self._cursor % len(self._reserved)]
            self._cursor += 1
            address = machine.ip
            if address is not None and address not in self._probes and self._ask(address, self._subnets[0]):
                self._probes[address] = _Probe(now, self._subnets[0], machine=machine)

    def _finish(self, now: float) -> None:
        """What nobody answered for is free."""
        for address, probe in list(self._probes.items()):
            if now - probe.sent_at >= WAIT_S:
                del self._probes[address]
                if probe.machine is None:
                    self._table.mark_probed(address, now, in_use=False)
            elif not probe.repeated and now - probe.sent_at >= REPEAT_S:
                probe.repeated = True
                self._ask(address, probe.subnet)

    def _ask(self, address: IPv4Address, subnet: Subnet) -> bool:
        """False: it could not be sent, and nothing is known of the address."""
        with suppress(OSError):
            if self._link.address in subnet.network:
                if self._frames is not None:
                    self._frames.send(build_arp_request(self._link.mac, self._link.address, address))
                    return True
            elif self._echo is not None:
                self._echo.sendto(build_echo(ECHO_ID, 1), (str(address), 0))
                return True
        return False

    def _read_arp(self) -> None:
        if self._frames is None:
            return
        for frame in _read_all(self._frames):
            with suppress(MalformedPacket):
                address, mac = parse_arp(frame)
                self._answered(address, mac.hex(":"))

    def _read_echo(self) -> None:
        if self._echo is None:
            return
        for packet in _read_all(self._echo):
            with suppress(MalformedPacket):
                address, identifier, _ = parse_echo_reply(packet)
                if identifier == ECHO_ID:
                    self._answered(address, "")

    def _answered(self, address: IPv4Address, mac: str) -> None:
        probe = self._probes.get(address)
        if probe is None:
            return
        who = f" by {mac}" if mac else ""
        if probe.machine is not None:
            own = {*probe.machine.macs, *(each.mac for each in probe.machine.interfaces if each.mac)}
            del self._probes[address]
            if mac not in own and self._may_warn(address):
                detail = f"its address {address} is in use{who}: find that machine, or change `ip`"
                self._events.append(Event(self._now, probe.machine.mac, "dhcp", "conflict", detail, "warning"))
            return
        del self._probes[address]
        lease = self._table.mark_probed(address, self._now, in_use=True)
        if lease is not None:
            self._leases.append(lease)
            if self._may_warn(address):
                detail = f"{address}, in the range to be given out, is in use{who}: it rests"
                self._events.append(Event(self._now, "", "dhcp", "conflict", detail, "warning"))

    def _may_warn(self, address: IPv4Address) -> bool:
        if self._now - self._warned_at.get(address, float("-inf")) < WARN_AGAIN_S:
            return False
        if len(self._warned_at) > 10_000:
            self._warned_at.clear()
        self._warned_at[address] = self._now
        return True


def _read_all(sock: socket.socket) -> Iterator[bytes]:
    """What waits, within reason: a flood must not keep the loop from its real work."""
    for _ in range(READ_AT_ONCE):
        try:
            yield sock.recv(2048)
        except OSError:
            return
