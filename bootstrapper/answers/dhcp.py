"""DHCP and PXE requests in, replies out: RFC 2131's message and state table, with reservations keyed on the MAC.

RFC 2131 section 4.2 keys a client on option 61 when it sends one. We key on `chaddr` on purpose: the same machine sends
another client identifier from its UEFI firmware, from iPXE and from its system, and would get three addresses in one
boot (coreos/bugs#1432).

`boot.decide` says what a machine gets; nothing here decides that again. No sockets, no clock: `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from bootstrapper.answers.dhcp_ask import BOOTP, NO_SUBNET, Ask, Identifier, is_pxe_client
from bootstrapper.answers.dhcp_boot import NOTHING, BootPart, find_boot
from bootstrapper.answers.dhcp_destination import Destination, Way, find_destination
from bootstrapper.answers.dhcp_limits import LOOP_COUNT, Handouts, Notices, Sightings, clean
from bootstrapper.answers.dhcp_outcome import Arrival, Outcome, Reply, Seen
from bootstrapper.answers.dhcp_reply import INFORM_ACK, build_bootp_reply, build_pxe_reply, build_reply
from bootstrapper.answers.leases import Lease, LeaseTable
from bootstrapper.boot.decide import Action
from bootstrapper.boot.events import Event
from bootstrapper.boot.firmware import Stage
from bootstrapper.boot.history import History
from bootstrapper.boot.local_disk import REFUSED_FILE, ROUTES, Hand
from bootstrapper.boot.minting import same_uuid
from bootstrapper.boot.steps import IPXE, Dhcp, Pxe, Service, describe_dhcp, describe_other_uuid
from bootstrapper.cluster.model import Cluster, DhcpMode
from bootstrapper.errors import MalformedPacket
from bootstrapper.wire import pxe
from bootstrapper.wire.dhcp import BROADCAST_FLAG, REQUEST, Packet, dotted, parse_packet
from bootstrapper.wire.dhcp_options import Message, Opt

__all__ = ["Arrival", "Destination", "DhcpAnswers", "Outcome", "Reply", "Seen", "Way"]

PXE_PORT = 4011
OFFER, ACK, NAK = Message.OFFER, Message.ACK, Message.NAK

ASKERS = {Stage.IPXE: IPXE, Stage.SYSTEM: ""}
"Who asks, for the event; firmware by its family."

HINTS = {
    DhcpMode.OFF: "network.dhcp.mode is off: another DHCP server must give addresses and name this server's boot files",
    DhcpMode.PROXY: "network.dhcp.mode proxy is not built yet: no DHCP request is answered",
}


class DhcpAnswers:
    """Of one description: after an edit of it there is another one, with the leases that the store kept.

    `find_history` is asked with the first MAC of a known machine, on each of its packets: it must be cheap.
    """

    def __init__(
        self,
        cluster: Cluster,
        leases: LeaseTable,
        find_history: Callable[[str], History],
        http_port: int = 80,
    ) -> None:
        self._leases = leases
        self._find_history = find_history
        self._http_port = http_port
        self._sightings = Sightings()
        self._handouts = Handouts()
        self._notices = Notices()
        self._handlers: dict[int, Callable[[Ask], Outcome]] = {
            Message.DISCOVER: self._discover,
            Message.REQUEST: self._request,
            Message.DECLINE: self._decline,
            Message.RELEASE: self._release,
            Message.INFORM: self._inform,
        }
        self._leases.configure(cluster)
        self._identifier = Identifier(cluster, self._leases, self._find_history)
        self._mode = cluster.network.dhcp.mode
        self._authoritative = self._mode is DhcpMode.AUTHORITATIVE
        self._answers = self._mode in (DhcpMode.AUTHORITATIVE, DhcpMode.RESERVATIONS)
        self._lease_s = cluster.network.dhcp.lease_s

    @property
    def hint(self) -> str:
        """For the log at start: why nothing is answered; empty when something is."""
        return HINTS.get(self._mode, "")

    def answer(self, data: bytes, arrival: Arrival, now: float) -> Outcome:
        """What one datagram leads to. Never raises for what a client sent; `now` is wall clock seconds."""
        try:
            packet = parse_packet(data)
        except MalformedPacket as fault:
            return Outcome(drop=fault.reason)
        if packet.op != REQUEST:
            return Outcome(drop="dhcp-reply")
        if not self._answers:
            return Outcome(drop="dhcp-off")
        ask = self._identifier.identify(packet, arrival, now)
        if isinstance(ask, str):
            return Outcome(drop=ask, event=self._lost(packet, now) if ask is NO_SUBNET else None)
        if ask.decision.action is Action.LOCAL_DISK and ROUTES[ask.decision.local_boot].hand is Hand.SILENCE:
            return Outcome(drop="dhcp-no-offer", event=self._note(ask, Dhcp.NO_OFFER, ask.decision.reason))
        if arrival.port == PXE_PORT:
            return self._pxe(ask)
        if ask.kind == BOOTP:
            return self._bootp(ask)
        handler = self._handlers.get(ask.kind)
        if handler is None:
            return Outcome(drop=f"dhcp-type-{ask.kind}" if ask.kind <= 18 else "dhcp-type-other")
        return handler(ask)

    # -- DISCOVER --------------------------------------------------------------------------------------------------

    def _discover(self, ask: Ask) -> Outcome:
        if ask.packet.ciaddr or Opt.SERVER_ID in ask.packet.options:
            return Outcome(drop="dhcp-discover-fields")
        if ask.decision.action is Action.SILENT:
            return self._unknown(ask, "dhcp-unknown")
        wrong = self._misplaced(ask)
        if wrong is not None:
            return wrong
        if ask.reserved:
            return self._send(ask, OFFER, ask.reserved, Dhcp.OFFER)
        if not self._authoritative:
            return self._unknown(ask, "dhcp-not-reserved")
        requested = ask.packet.options.get(50)
        wanted = int.from_bytes(requested, "big") if requested is not None and len(requested) == 4 else 0
        binding = ask.plan.pool.offer(ask.key, wanted, ask.now)
        if binding is None:
            return self._full(ask)
        return self._send(ask, OFFER, binding.number, Dhcp.OFFER)

    def _full(self, ask: Ask) -> Outcome:
        network = ask.plan.subnet.network
        detail = f"no free address in the range of {network}: widen `range`, or shorten `lease`"
        event = self._note(ask, Dhcp.NO_ADDRESS, detail, "error")
        return Outcome(drop="dhcp-no-address", event=event, sighting=self._see(ask, 0))

    def _misplaced(self, ask: Ask) -> Outcome | None:
        """A machine with an `ip` of another subnet than the one it is on: that address could not work here."""
        if ask.known is None or not ask.known.ip or ask.reserved:
            return None
        network = ask.plan.subnet.network
        detail = f"asks on {network}, but its `ip` {ask.known.ip_text} is outside of it: no address given"
        return Outcome(drop="dhcp-wrong-subnet", event=self._note(ask, Dhcp.WRONG_SUBNET, detail, "warning"))

    # -- REQUEST ---------------------------------------------------------------------------------------------------

    def _request(self, ask: Ask) -> Outcome:
        packet = ask.packet
        server, requested = packet.options.get(54), packet.options.get(50)
        if server is not None:
            if packet.ciaddr or requested is None:
                return Outcome(drop="dhcp-request-fields")
            if not ask.is_us(server):
                ask.plan.pool.withdraw(ask.key)
                return Outcome(drop="dhcp-other-server", event=self._taken(ask, server, requested))
        if packet.ciaddr:
            number = packet.ciaddr
        elif requested is not None and len(requested) == 4:
            number = int.from_bytes(requested, "big")
        else:
            return Outcome(drop="dhcp-request-fields")
        if ask.decision.action is Action.SILENT:
            return self._unknown(ask, "dhcp-unknown")
        if ask.known is not None and ask.known.ip:
            return self._request_reserved(ask, number)
        if not self._authoritative:
            return self._unknown(ask, "dhcp-not-reserved")
        # INIT-REBOOT of an address nobody remembers: not ours to confirm, unless a known machine comes back to it.
        if server is None and not packet.ciaddr and ask.known is None and ask.key not in ask.plan.pool.by_mac:
            return self._refuse(ask, number)
        binding = ask.plan.pool.bind(ask.key, number, ask.now, ask.now + self._lease_s)
        if binding is None:
            return self._refuse(ask, number)
        return self._send(ask, ACK, number, Dhcp.ACK, binding.lease())

    def _request_reserved(self, ask: Ask, number: int) -> Outcome:
        if number == ask.reserved:
            return self._send(ask, ACK, number, Dhcp.ACK)
        wrong = self._misplaced(ask)
        if wrong is None:
            return self._refuse(ask, number)
        return self._refuse(ask, number)._replace(event=wrong.event) if self._authoritative else wrong

    def _refuse(self, ask: Ask, number: int) -> Outcome:
        """NAK. Only where we are the authority, or to a machine whose address the description fixes."""
        if not ask.packet.giaddr and not ask.on_link:
            # The client sits behind a relay and wrote to us directly: a NAK can only be broadcast, and not that far.
            return Outcome(drop="dhcp-nak-unreachable")
        detail = f"asked for {dotted(number)}"
        if ask.reserved:
            detail += f"; its address is {dotted(ask.reserved)}"
        packet = ask.packet
        if packet.giaddr:
            # The relay must broadcast it: the client has no address it may use (RFC 2131 section 4.3.2).
            packet = packet._replace(flags=packet.flags | BROADCAST_FLAG)
        payload = build_reply(ask, NAK, packet, 0)
        to = find_destination(packet, NAK, 0, "", ask.arrival.source_port)
        return Outcome(Reply(payload, to), event=self._note(ask, Dhcp.NAK, detail, "warning"))

    # -- the rest --------------------------------------------------------------------------------------------------

    def _decline(self, ask: Ask) -> Outcome:
        requested, server = ask.packet.options.get(50), ask.packet.options.get(54)
        if requested is None or len(requested) != 4 or (server is not None and not ask.is_us(server)):
            return Outcome(drop="dhcp-decline-fields")
        number = int.from_bytes(requested, "big")
        if ask.reserved and number == ask.reserved:
            # The description's word stands: the address is offered again, and somebody must look for the other user.
            detail = f"{dotted(number)} is in use by something else on the network: find it, or change `ip`"
            return Outcome(event=self._note(ask, Dhcp.DECLINE, detail, "error"))
        binding = ask.plan.pool.decline(ask.key, number, ask.now)
        if binding is None:
            return Outcome(drop="dhcp-decline-stranger")
        detail = (
            f"{dotted(binding.number)} is in use by something else on the network; it rests, and another is offered"
        )
        return Outcome(lease=binding.lease(), event=self._note(ask, Dhcp.DECLINE, detail, "warning"))

    def _release(self, ask: Ask) -> Outcome:
        server = ask.packet.options.get(54)
        # RFC 2131 table 5 wants 54 here, and systemd-networkd sends none: it is the holder that counts.
        if not ask.packet.ciaddr or (server is not None and not ask.is_us(server)):
            return Outcome(drop="dhcp-release-fields")
        if ask.reserved and ask.packet.ciaddr == ask.reserved:
            return Outcome(event=self._note(ask, Dhcp.RELEASE, dotted(ask.reserved)))
        binding = ask.plan.pool.release(ask.key, ask.packet.ciaddr, ask.now)
        if binding is None:
            return Outcome(drop="dhcp-release-stranger")
        return Outcome(lease=binding.lease(), event=self._note(ask, Dhcp.RELEASE, dotted(binding.number)))

    def _inform(self, ask: Ask) -> Outcome:
        packet = ask.packet
        if not packet.ciaddr and not packet.giaddr and not int(ask.arrival.source):
            return Outcome(drop="dhcp-inform-fields")
        number = packet.ciaddr or int(ask.arrival.source)
        if not packet.giaddr and number & ask.plan.mask != ask.plan.network:
            # Never send to an address just because somebody wrote it into a packet.
            return Outcome(drop="dhcp-inform-elsewhere")
        if ask.decision.action is Action.SILENT:
            return self._unknown(ask, "dhcp-unknown")
        if packet.giaddr and not packet.ciaddr:
            packet = packet._replace(flags=packet.flags | BROADCAST_FLAG)
        if not self._authoritative and not ask.reserved:
            return self._unknown(ask, "dhcp-not-reserved")
        boot = self._find_boot(ask)
        payload = build_reply(ask, INFORM_ACK, packet, 0, boot)
        to = find_destination(packet, ACK, 0, str(ask.arrival.source), ask.arrival.source_port)
        return Outcome(Reply(payload, to), event=self._note(ask, Dhcp.INFORM, ""))

    def _bootp(self, ask: Ask) -> Outcome:
        """RFC 1534: BOOTP clients keep an address for good, so only a fixed one is given."""
        if not ask.reserved:
            return self._unknown(ask, "dhcp-bootp-not-reserved")
        payload = build_bootp_reply(ask, ask.reserved)
        to = find_destination(ask.packet, BOOTP, ask.reserved, "", ask.arrival.source_port)
        return Outcome(Reply(payload, to), event=self._note(ask, Dhcp.BOOTP, dotted(ask.reserved)))

    def _pxe(self, ask: Ask) -> Outcome:
        """Port 4011 (reference A6.1): the same decision, sent to where the request came from. UEFI firmware that finds
        no PXE options in its offer asks here even when it has a file."""
        if ask.kind not in (Message.REQUEST, Message.INFORM):
            return Outcome(drop="pxe-type")
        if ask.decision.action is Action.SILENT:
            return self._unknown(ask, "dhcp-unknown")
        boot = self._find_boot(ask)
        if not boot.name:
            event = self._note(ask, Pxe.NOTHING, ask.decision.reason, service=Service.PXE)
            return Outcome(drop="pxe-nothing-to-boot", event=event)
        payload = build_pxe_reply(ask, boot)
        to = Destination(Way.SOURCE, str(ask.arrival.source), ask.arrival.source_port)
        return Outcome(Reply(payload, to), event=self._note(ask, Pxe.ACK, boot.name, service=Service.PXE))

    def _lost(self, packet: Packet, now: float) -> Event | None:
        """A machine of the description asks through a relay that the description knows nothing of."""
        key = self._identifier.find_key(packet.chaddr[: packet.hlen].hex(":")) if packet.giaddr else ""
        if not key:
            return None
        detail = f"asks through the relay {dotted(packet.giaddr)}, which is in no subnet of the description"
        if not self._notices.due(key, Dhcp.NO_SUBNET, detail, now):
            return None
        return Event(now, key, Service.DHCP, Dhcp.NO_SUBNET, detail, "warning")

    # -- shared ----------------------------------------------------------------------------------------------------

    def _send(self, ask: Ask, kind: Message, number: int, step: str, lease: Lease | None = None) -> Outcome:
        boot = NOTHING if ask.firmware.stage is Stage.SYSTEM else self._find_boot(ask)
        payload = build_reply(ask, kind, ask.packet, number, boot)
        if not payload:
            return Outcome(drop="dhcp-reply-too-long")
        to = find_destination(ask.packet, kind, number, "", ask.arrival.source_port)
        if ask.known is None:
            return Outcome(Reply(payload, to), lease, "", None, self._see(ask, number) if kind is OFFER else None)
        return Outcome(Reply(payload, to), lease, "", self._boot_event(ask, kind, number, step, boot.name), None)

    def _find_boot(self, ask: Ask) -> BootPart:
        pxe_client = is_pxe_client(ask)
        item = b""
        if pxe_client and ask.arrival.port == PXE_PORT:
            item = pxe.find_boot_item(ask.packet.options.get(Opt.VENDOR, b""))
        return find_boot(
            ask.decision, ask.firmware, ask.mac, ask.plan.local, self._http_port, pxe_client, pxe.build_boot_block(item)
        )

    def _boot_event(self, ask: Ask, kind: Message, number: int, step: str, name: str) -> Event | None:
        stage = ask.firmware.stage
        boots = bool(name) and name != REFUSED_FILE
        asker = ASKERS.get(stage, ask.firmware.kind)
        detail = describe_dhcp(dotted(number), asker, name if boots else "", ask.decision.reason)
        if kind is ACK and stage is Stage.IPXE:
            self._handouts.clear(ask.mac)
        elif kind is ACK and boots and self._handouts.count(ask.mac, ask.now) > LOOP_COUNT:
            detail += f"; the firmware got it {LOOP_COUNT} times in five minutes and never came back as iPXE"
            return self._note(ask, step, detail, "warning")
        elif kind is OFFER and asker:
            told = self._find_other_uuid(ask)
            if told:
                return self._note(ask, step, describe_other_uuid(detail, told), "warning")
        return self._note(ask, step, detail)

    def _find_other_uuid(self, ask: Ask) -> str:
        """The UUID that a machine told, where the description has another for it."""
        if ask.known is None or ask.known.machine.uuid is None:
            return ""
        told = pxe.find_uuid(ask.packet.options.get(Opt.UUID, b""))
        return told if told and not same_uuid(ask.known.machine.uuid, UUID(told)) else ""

    def _taken(self, ask: Ask, server: bytes, requested: bytes) -> Event | None:
        """It took the offer of another server: for nothing else do two servers look so alike to an admin."""
        if len(server) != 4 or len(requested) != 4 or ask.decision.action is Action.SILENT:
            return None
        detail = f"it took {_dotted(requested)} from {_dotted(server)}"
        return self._note(ask, Dhcp.OTHER_SERVER, detail, "warning")

    def _note(self, ask: Ask, step: str, detail: str, level: str = "info", service: str = Service.DHCP) -> Event | None:
        """An event, for a machine of the description only: an unknown one has its place in the list of sightings."""
        if ask.known is None or not self._notices.due(ask.mac, step, detail, ask.now):
            return None
        return Event(ask.now, ask.key, service, step, detail, level)

    def _unknown(self, ask: Ask, drop: str) -> Outcome:
        return Outcome(drop=drop, sighting=self._see(ask, 0))

    def _see(self, ask: Ask, number: int) -> Seen | None:
        if ask.known is not None or not self._sightings.due(ask.mac, ask.now):
            return None
        options = ask.packet.options
        return Seen(
            ask.mac,
            pxe.find_uuid(options.get(Opt.UUID, b"")),
            "" if ask.firmware.stage is Stage.SYSTEM else str(ask.firmware.kind),
            clean(options.get(Opt.VENDOR_CLASS, b"")),
            clean(options.get(Opt.HOST_NAME, b"")),
            dotted(number) if number else "",
        )


def _dotted(address: bytes) -> str:
    return dotted(int.from_bytes(address, "big"))
