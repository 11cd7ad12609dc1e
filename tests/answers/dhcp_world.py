"""A cluster with two subnets, and clients that talk to it in literal packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from rack import make_cluster, make_machine

from bootstrapper.answers.dhcp import Arrival, DhcpAnswers, Outcome
from bootstrapper.answers.leases import Lease, LeaseTable, Limits
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import AddressRange, Cluster, DhcpMode, Subnet, UnknownPolicy
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet

FIXED = "00:25:90:c0:f7:80"
"node1: `ip: 10.10.14.11`."
SECOND_CARD = "00:25:90:c0:f7:81"
"node1's other card."
POOLED = "00:25:90:c0:f6:ee"
"node4: no `ip`."
FAR = "00:25:90:c0:f6:aa"
"node5: `ip: 10.20.0.50`, behind the relay."
STRANGER = "02:00:00:00:00:01"
OTHER = "02:00:00:00:00:02"
RELAY = "10.20.0.1"
NOW = 1_000_000.0


def make_world_cluster(
    unknown: UnknownPolicy = UnknownPolicy.DISCOVER,
    mode: DhcpMode = DhcpMode.AUTHORITATIVE,
    first: str = "10.10.14.100",
    last: str = "10.10.14.102",
) -> Cluster:
    cluster = make_cluster(
        make_machine(FIXED, "node1", "10.10.14.11", macs=(FIXED, SECOND_CARD)),
        make_machine(POOLED, "node4", None),
        make_machine(FAR, "node5", "10.20.0.50"),
        unknown=unknown,
    )
    link = replace(cluster.network.link, range=AddressRange(IPv4Address(first), IPv4Address(last)))
    far = Subnet(
        IPv4Network("10.20.0.0/16"),
        (IPv4Address("10.20.0.1"),),
        AddressRange(IPv4Address("10.20.9.1"), IPv4Address("10.20.9.9")),
    )
    network = replace(cluster.network, link=link, more_subnets=(far,), dhcp=replace(cluster.network.dhcp, mode=mode))
    return replace(cluster, network=network)


class World:
    """The answers under test, with a clock the test turns and the last outcome at hand."""

    def __init__(
        self,
        unknown: UnknownPolicy = UnknownPolicy.DISCOVER,
        mode: DhcpMode = DhcpMode.AUTHORITATIVE,
        history: History | None = None,
        leases: tuple[Lease, ...] = (),
        limits: Limits | None = None,
    ) -> None:
        self.now = NOW
        self.table = LeaseTable(leases, limits)
        self.cluster = make_world_cluster(unknown, mode)
        self.histories = {FIXED: history or History()}
        self.outcome = Outcome()
        self.describe(self.cluster)

    def describe(self, cluster: Cluster) -> None:
        """The answers of this description from now on; leases stay."""
        self.answers = DhcpAnswers(cluster, self.table, lambda mac: self.histories.get(mac, History()))

    def send(
        self,
        mac: str,
        kind: int | None,
        *,
        port: int = 67,
        source: str = "0.0.0.0",
        source_port: int = 68,
        broadcast: bool | None = None,
        local: str = "10.10.14.253",
        ciaddr: str = "0.0.0.0",
        giaddr: str = "0.0.0.0",
        flags: int = 0,
        requested: str | None = None,
        server: str | None = None,
        options: dict[int, bytes] | None = None,
        hops: int = 0,
        hlen: int = 6,
        xid: int = 0x1234,
    ) -> Packet | None:
        """Send one packet; returns the reply as parsed, or None. Unicast when it has `ciaddr` or `giaddr`."""
        all_options: dict[int, bytes] = {} if kind is None else {53: bytes((kind,))}
        if requested is not None:
            all_options[50] = IPv4Address(requested).packed
        if server is not None:
            all_options[54] = IPv4Address(server).packed
        all_options.update(options or {})
        packet = Packet(
            xid=xid,
            hlen=hlen,
            hops=hops,
            flags=flags,
            ciaddr=int(IPv4Address(ciaddr)),
            giaddr=int(IPv4Address(giaddr)),
            chaddr=bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0"),
            options=all_options,
        )
        if broadcast is None:
            broadcast = ciaddr == "0.0.0.0" and giaddr == "0.0.0.0"
        arrival = Arrival(IPv4Address(source), source_port, IPv4Address(local), port, broadcast)
        self.outcome = self.answers.answer(build_packet(packet), arrival, self.now)
        if self.outcome.reply is None:
            return None
        return parse_packet(self.outcome.reply.payload)

    def discover(self, mac: str, **more: object) -> Packet | None:
        return self.send(mac, 1, **more)  # type: ignore[arg-type]

    def select(self, mac: str, address: str, **more: object) -> Packet | None:
        return self.send(mac, 3, requested=address, server="10.10.14.253", **more)  # type: ignore[arg-type]

    def lease(self, mac: str, **more: object) -> str:
        """DISCOVER and REQUEST; the address it got."""
        offer = self.discover(mac, **more)
        assert offer is not None, self.outcome
        address = str(IPv4Address(offer.yiaddr))
        ack = self.select(mac, address, **more)
        assert ack is not None and ack.options[53] == b"\5", self.outcome
        return address


def yiaddr(packet: Packet | None) -> str:
    assert packet is not None
    return str(IPv4Address(packet.yiaddr))


def kind(packet: Packet | None) -> str | None:
    """`offer`, `ack`, `nak`, or None for silence."""
    return None if packet is None else {2: "offer", 5: "ack", 6: "nak"}[packet.options[53][0]]
