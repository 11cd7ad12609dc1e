"""Who asks, from where, and what it may have: the facts of one packet that every handler needs."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from bootstrapper.answers.dhcp_outcome import Arrival
from bootstrapper.answers.dhcp_plan import MachinePlan, SubnetPlan
from bootstrapper.answers.leases import LeaseTable
from bootstrapper.boot.adoption import find_life
from bootstrapper.boot.decide import Decision, decide
from bootstrapper.boot.firmware import SYSTEM, Firmware, Stage, identify
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import Cluster, Subnet, UnknownPolicy
from bootstrapper.errors import MalformedPacket
from bootstrapper.wire import pxe
from bootstrapper.wire.dhcp import MOST_HOPS, Packet
from bootstrapper.wire.dhcp_options import parse_sub_options

LINK_SELECTION = 5
"Sub-option of 82 (RFC 3527): the client's subnet, where the relay's own address is on another."
SERVER_OVERRIDE = 11
"Sub-option of 82 (RFC 5107): the server identifier the client is to see, so that its renewals pass the relay."
MOST_PLANS = 4096
MOST_FIRMWARES = 1024
"""Bounds of the two caches below. Real networks hold a handful of each; a flood of invented ones only empties them."""

NO_SUBNET = "dhcp-no-subnet"
BOOTP = -1
NO_HISTORY = History()


class Ask:
    __slots__ = (
        "arrival", "decision", "firmware", "key", "kind", "known", "mac", "now", "on_link", "packet", "plan",
        "reserved", "server", "us",
    )  # fmt: skip

    packet: Packet
    arrival: Arrival
    now: float
    kind: int
    "Option 53; BOOTP when there is none."
    mac: str
    "The card that asks."
    key: str
    "What its lease is kept under: the machine's first MAC, or its own."
    known: MachinePlan | None
    plan: SubnetPlan
    reserved: int
    "The machine's `ip` if that is an address of the subnet it is on, else 0."
    on_link: bool
    "Whether the client's subnet is the one our receiving interface is on."
    server: IPv4Address | None
    "The server identifier to show, when a relay overrides ours."
    firmware: Firmware
    decision: Decision

    def is_us(self, server: bytes) -> bool:
        """A multi-homed server takes any of its own addresses (RFC 2131 section 4.1), and what the relay made of it."""
        return server in self.us or (self.server is not None and server == self.server.packed)

    us: frozenset[bytes]


class Identifier:
    """Turns packets into Asks; made anew for each description."""

    def __init__(self, cluster: Cluster, leases: LeaseTable, find_history: Callable[[str], History]) -> None:
        self._cluster = cluster
        self._leases = leases
        self._find_history = find_history
        self._machines = {mac: MachinePlan(machine) for machine in cluster.machines for mac in machine.macs}
        self._policy = cluster.unknown_machines
        self._networks: dict[int, dict[int, Subnet]] = {}
        for subnet in cluster.network.subnets:
            by_network = self._networks.setdefault(int(subnet.network.netmask), {})
            by_network[int(subnet.network.network_address)] = subnet
        self._plans: dict[tuple[int, int], SubnetPlan] = {}
        self._firmwares: dict[tuple[bytes | None, bytes | None, bytes | None, bool], Firmware] = {}
        self._stranger = decide(None, self._policy, SYSTEM, NO_HISTORY)

    def find_key(self, mac: str) -> str:
        """The first MAC of the machine that has a card `mac`; empty: no machine of the description has."""
        known = self._machines.get(mac)
        return "" if known is None else known.key

    def identify(self, packet: Packet, arrival: Arrival, now: float) -> Ask | str:
        """The Ask, or why there is none: a reason to count."""
        options = packet.options
        if not packet.hlen:
            return "dhcp-no-hardware"
        if packet.hops > MOST_HOPS:
            return "dhcp-hops"
        message = options.get(53)
        if message is None:
            kind = BOOTP
        elif len(message) == 1:
            kind = message[0]
        else:
            return "dhcp-option-shape"
        local = int(arrival.local)
        server = None
        if packet.giaddr:
            if packet.giaddr == local:
                return "dhcp-relay-self"
            number = packet.giaddr
            relay = options.get(82)
            if relay is not None and self._find_plan(number, local) is not None:
                # Only a relay on a subnet of ours is believed; a client could write anything here.
                number, server = _read_relay(relay, number)
        elif packet.ciaddr and not arrival.broadcast:
            # A client behind a relay renews, informs and releases by writing to us directly.
            number = packet.ciaddr
        else:
            number = local
        plan = self._find_plan(number, local)
        if plan is None:
            return NO_SUBNET
        ask = Ask()
        ask.packet = packet
        ask.arrival = arrival
        ask.now = now
        ask.kind = kind
        ask.plan = plan
        ask.server = server
        ask.on_link = local & plan.mask == plan.network
        ask.us = plan.us
        ask.mac = mac = packet.chaddr[: packet.hlen].hex(":")
        ask.firmware = firmware = self._find_firmware(options.get(60), options.get(93), options.get(77), 175 in options)
        ask.known = known = self._machines.get(mac)
        if known is None:
            ask.key = mac
            ask.reserved = 0
            ask.decision = self._decide_stranger(mac, firmware)
        else:
            ask.key = known.key
            ask.reserved = known.ip if known.ip & plan.mask == plan.network else 0
            _, history = find_life(known.machine, self._find_history)
            ask.decision = decide(known.machine, self._policy, firmware, history)
        return ask

    def _decide_stranger(self, mac: str, firmware: Firmware) -> Decision:
        if self._policy is not UnknownPolicy.WORKER:
            return self._stranger
        return decide(None, self._policy, firmware, self._find_history(mac))

    def _find_plan(self, number: int, local: int) -> SubnetPlan | None:
        for mask, networks in self._networks.items():
            subnet = networks.get(number & mask)
            if subnet is not None:
                key = (number & mask, local)
                plan = self._plans.get(key)
                if plan is None:
                    if len(self._plans) >= MOST_PLANS:
                        self._plans.clear()
                    plan = SubnetPlan(self._cluster, subnet, self._leases.pool(subnet), IPv4Address(local))
                    self._plans[key] = plan
                return plan
        return None

    def _find_firmware(
        self, vendor_class: bytes | None, codes: bytes | None, user_class: bytes | None, ipxe: bool
    ) -> Firmware:
        if vendor_class is None and user_class is None and not ipxe:
            return SYSTEM
        key = (vendor_class, codes, user_class, ipxe)
        firmware = self._firmwares.get(key)
        if firmware is None:
            if len(self._firmwares) >= MOST_FIRMWARES:
                self._firmwares.clear()
            firmware = identify(
                (vendor_class or b"").decode("latin-1"),
                pxe.parse_architectures(codes or b""),
                pxe.parse_user_class(user_class or b""),
                ipxe,
            )
            self._firmwares[key] = firmware
        return firmware


def is_pxe_client(ask: Ask) -> bool:
    """Whether the reply may call itself PXEClient: only to firmware that did so, never to iPXE (reference A6)."""
    return ask.firmware.stage is Stage.ROM and ask.packet.options.get(60, b"").startswith(pxe.PXE_CLIENT)


def _read_relay(relay: bytes, giaddr: int) -> tuple[int, IPv4Address | None]:
    try:
        parts = parse_sub_options(relay)
    except MalformedPacket:
        return giaddr, None
    link, override = parts.get(LINK_SELECTION, b""), parts.get(SERVER_OVERRIDE, b"")
    return (
        int.from_bytes(link, "big") if len(link) == 4 else giaddr,
        IPv4Address(override) if len(override) == 4 else None,
    )
