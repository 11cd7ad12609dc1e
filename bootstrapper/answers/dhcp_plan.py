"""All that does not depend on the packet, worked out once per description: options as bytes, per subnet and machine."""

from __future__ import annotations

from ipaddress import IPv4Address

from bootstrapper.answers.pools import Pool
from bootstrapper.cluster.model import Cluster, Machine, Subnet
from bootstrapper.wire.dhcp_options import Message, Opt, build_option, build_value

MOST_EXTRAS = 256
"Different parameter lists whose options are remembered: real clients know a dozen; more than this is noise."


class MachinePlan:
    """A machine of the description, ready for the wire."""

    __slots__ = ("host", "ip", "ip_text", "key", "machine")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.key = machine.mac
        "What its lease is kept under, whichever of its cards asks."
        self.ip = 0 if machine.ip is None else int(machine.ip)
        self.ip_text = "" if machine.ip is None else str(machine.ip)
        self.host = build_option(Opt.HOST_NAME, machine.host.encode())


class SubnetPlan:
    """A subnet as reached through one of our addresses."""

    __slots__ = (
        "_extras", "_optional", "_tails", "ack", "inform", "local", "mask", "nak", "network", "offer", "pool", "pxe",
        "subnet", "us", "where",
    )  # fmt: skip

    def __init__(self, cluster: Cluster, subnet: Subnet, pool: Pool, local: IPv4Address) -> None:
        self.subnet = subnet
        self.pool = pool
        self.network = int(subnet.network.network_address)
        self.mask = int(subnet.network.netmask)
        self.local = local
        self.us = frozenset((local.packed, cluster.network.bootstrapper.packed))
        "The server identifiers that mean this server."
        # Sent whatever option 55 lists: edk2 aborts without 1, sd-dhcp-client without 51, HP JetDirect without 58/59.
        lease_s = cluster.network.dhcp.lease_s
        where = _option(Opt.MASK, subnet.network.netmask)
        if subnet.routers:
            where += _option(Opt.ROUTER, subnet.routers)
        self.where = where
        times = (
            _option(Opt.LEASE_TIME, lease_s)
            + _option(Opt.RENEWAL, lease_s // 2)
            + _option(Opt.REBINDING, lease_s * 7 // 8)
        )
        self._tails = {Message.OFFER: times + where, Message.ACK: times + where, Message.NAK: b""}
        self.inform = self.inform_head(local)
        self.offer = self.head(Message.OFFER, local)
        self.ack = self.head(Message.ACK, local)
        self.nak = self.head(Message.NAK, local)
        self.pxe = _head(Message.ACK, local)
        self._optional = _optional(cluster, subnet, local)
        self._extras: dict[bytes | None, bytes] = {}

    def head(self, kind: Message, server: IPv4Address) -> bytes:
        """The options that every reply of a type begins with, 53 and 54 first."""
        return _head(kind, server) + self._tails[kind]

    def inform_head(self, server: IPv4Address) -> bytes:
        """The same for an ACK that leases nothing: RFC 2131 section 4.3.5 forbids the times in it."""
        return _head(Message.ACK, server) + self.where

    def extras(self, parameters: bytes | None) -> bytes:
        """The optional options: those the client lists in option 55, all of them when it sends no list."""
        known = self._extras.get(parameters)
        if known is None:
            known = b"".join(
                block for code, block in self._optional.items() if parameters is None or code in parameters
            )
            if len(self._extras) < MOST_EXTRAS:
                self._extras[parameters] = known
        return known

    def few_extras(self, parameters: bytes | None, room: int) -> bytes:
        """As many of the optional options as fit, the least needed (the last of the table) left out first."""
        kept = b""
        for code, block in self._optional.items():
            if (parameters is None or code in parameters) and len(kept) + len(block) <= room:
                kept += block
        return kept


def _head(kind: Message, server: IPv4Address) -> bytes:
    return _option(Opt.MESSAGE_TYPE, int(kind)) + _option(Opt.SERVER_ID, server)


def _option(code: int, value: int | str | IPv4Address | tuple[IPv4Address, ...]) -> bytes:
    return build_option(code, build_value(code, value))


def _optional(cluster: Cluster, subnet: Subnet, local: IPv4Address) -> dict[int, bytes]:
    """In the order they are kept when a reply would grow too long."""
    found = {
        int(Opt.NAME_SERVER): _option(Opt.NAME_SERVER, (local,)),
        int(Opt.DOMAIN): _option(Opt.DOMAIN, cluster.domain),
        int(Opt.BROADCAST): _option(Opt.BROADCAST, subnet.network.broadcast_address),
    }
    if cluster.network.ntp.serve:
        found[int(Opt.NTP)] = _option(Opt.NTP, (local,))
    return found
