"""One machine's boot, played through the code that `serve` uses: every packet it would send and every answer.

Pure: the description, the machine's history and the stored leases go in, readable steps come out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from bootstrapper.answers.dhcp import Arrival, Destination, DhcpAnswers, Way
from bootstrapper.answers.leases import Lease, LeaseTable
from bootstrapper.boot.history import History
from bootstrapper.boot.local_disk import REFUSED_FILE
from bootstrapper.cluster.model import Cluster
from bootstrapper.wire import pxe
from bootstrapper.wire.dhcp import BROADCAST_FLAG, Packet, build_packet, parse_packet
from bootstrapper.wire.dhcp_options import Opt
from bootstrapper.wire.dhcp_text import describe

NOBODY = IPv4Address("0.0.0.0")
UUID_OF_NOBODY = "00000000-0000-0000-0000-000000000000"


class Step(NamedTuple):
    title: str
    "One line: who does what."
    text: str
    "The packets, or the name asked for; several lines."
    answered: bool


class Simulation:
    """A machine with `mac`, powered on. `code` is its firmware's architecture code (option 93), None for a machine
    that starts from its disk; `user_class` "iPXE" for one whose network card already has iPXE."""

    def __init__(
        self,
        cluster: Cluster,
        mac: str,
        code: int | None = 7,
        relay: IPv4Address | None = None,
        user_class: str = "",
        history: History | None = None,
        leases: Iterable[Lease] = (),
        now: float = 0.0,
        uuid: str = UUID_OF_NOBODY,
        http_port: int = 80,
    ) -> None:
        kept = history or History()
        self._answers = DhcpAnswers(cluster, LeaseTable(leases), lambda _: kept, http_port)
        self._server = cluster.network.bootstrapper
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._code = code
        self._relay = relay
        self._user_class = user_class
        self._uuid = uuid
        self._now = now
        self._xid = 0x1000
        self._hint = self._answers.hint

    def play(self) -> Iterator[Step]:
        if self._hint:
            yield Step("DHCP is not served", self._hint, False)
            return
        if self._code is not None:
            ipxe = "iPXE" in self._user_class
            if not ipxe:
                name = yield from self._boot_firmware(self._code)
                if not name:
                    return
            yield from self._boot_ipxe(self._code)
        yield from self._lease("system", {Opt.PARAMETERS: SYSTEM_WANTS, Opt.MAX_SIZE: b"\x05\xc0"}, BROADCAST_FLAG)

    def _boot_firmware(self, code: int) -> Generator[Step, None, str]:
        """Returns the boot file's name, empty when the firmware goes on to its next boot device."""
        options: dict[int, bytes] = {
            Opt.PARAMETERS: FIRMWARE_WANTS,
            Opt.MAX_SIZE: b"\x05\xc0",
            Opt.VENDOR_CLASS: b"%s:Arch:%05d:UNDI:003000" % (pxe.HTTP_CLIENT if code in HTTP else pxe.PXE_CLIENT, code),
            Opt.ARCHITECTURE: code.to_bytes(2, "big"),
            Opt.UNDI: b"\x01\x03\x00",
            Opt.UUID: pxe.build_uuid(self._uuid),
        }
        ack = yield from self._lease("firmware", options, BROADCAST_FLAG)
        if ack is None:
            return ""
        name = _boot_file(ack)
        if not name:
            yield Step("firmware: no boot file", "it goes on to its next boot device", True)
            return ""
        if name == REFUSED_FILE:
            text = "refused at once, as it should be: the firmware goes on to its next boot device"
            yield Step(f"firmware: TFTP read of {name}", text, True)
            return ""
        request = self._packet({Opt.MESSAGE_TYPE: b"\3", **options}, ciaddr=ack.yiaddr)
        yield self._exchange("firmware: REQUEST to port 4011 (as some UEFI firmware does)", request, 4011)[0]
        yield Step(f"firmware: TFTP read of {name}", f"tftp://{IPv4Address(ack.siaddr)}/{name}", True)
        return name

    def _boot_ipxe(self, code: int) -> Iterator[Step]:
        options: dict[int, bytes] = {
            Opt.MAX_SIZE: b"\x05\xc0",
            Opt.ARCHITECTURE: code.to_bytes(2, "big"),
            Opt.UNDI: b"\x01\x03\x10",
            Opt.VENDOR_CLASS: b"PXEClient:Arch:%05d:UNDI:003010" % code,
            Opt.USER_CLASS: b"iPXE",
            Opt.PARAMETERS: IPXE_WANTS,
            Opt.IPXE: b"\xb1\x05\x01\x1a\xf4\x10\x00\xeb\x03\x01\x15\x01",
            Opt.CLIENT_ID: b"\1" + self._mac,
            Opt.UUID: pxe.build_uuid(self._uuid),
        }
        ack = yield from self._lease("iPXE", options, 0)
        if ack is None:
            return
        url = _boot_file(ack)
        if url:
            yield Step("iPXE: HTTP GET of its script", url.replace("${uuid}", self._uuid), True)
        else:
            yield Step("iPXE: no script", "it ends, and the firmware goes on to its next boot device", True)

    def _lease(self, who: str, options: dict[int, bytes], flags: int) -> Generator[Step, None, Packet | None]:
        """DISCOVER and REQUEST; returns the ACK, or None."""
        discover = self._packet({Opt.MESSAGE_TYPE: b"\1", **options}, flags)
        step, offer = self._exchange(f"{who}: DISCOVER", discover, 67)
        yield step
        if offer is None:
            return None
        chosen: dict[int, bytes] = {
            Opt.SERVER_ID: offer.options[Opt.SERVER_ID],
            Opt.REQUESTED: offer.yiaddr.to_bytes(4, "big"),
        }
        step, ack = self._exchange(
            f"{who}: REQUEST", self._packet({Opt.MESSAGE_TYPE: b"\3", **chosen, **options}, flags), 67
        )
        yield step
        return ack

    def _packet(self, options: dict[int, bytes], flags: int = 0, ciaddr: int = 0) -> Packet:
        self._xid += 1
        giaddr = 0 if self._relay is None or ciaddr else int(self._relay)
        chaddr = self._mac.ljust(16, b"\0")
        return Packet(
            xid=self._xid, flags=flags, ciaddr=ciaddr, giaddr=giaddr, chaddr=chaddr,
            options=options,
        )  # fmt: skip

    def _exchange(self, title: str, request: Packet, port: int) -> tuple[Step, Packet | None]:
        source = IPv4Address(request.ciaddr) if request.ciaddr else self._relay or NOBODY
        source_port = port if port == 4011 or self._relay else 68
        broadcast = not request.ciaddr and self._relay is None
        arrival = Arrival(source, source_port, self._server, port, broadcast)
        outcome = self._answers.answer(build_packet(request), arrival, self._now)
        lines = describe(request)
        if outcome.reply is None:
            detail = outcome.event.detail if outcome.event is not None else ""
            lines += ["", f"no answer: {outcome.drop}" + (f" ({detail})" if detail else "")]
            return Step(title, "\n".join(lines), False), None
        reply = parse_packet(outcome.reply.payload)
        lines += ["", f"answer, {_describe_way(outcome.reply.to)}:", *describe(reply)]
        return Step(title, "\n".join(lines), True), reply


def _boot_file(packet: Packet) -> str:
    return packet.options.get(Opt.BOOT_FILE, b"").rstrip(b"\0").decode("latin-1")


def _describe_way(to: Destination) -> str:
    mac = f" at {to.mac.hex(':')}" if to.way is Way.LINK and to.mac else ""
    return f"{WAYS[to.way]} {to.address}:{to.port}{mac}"


WAYS = {
    Way.RELAY: "through the relay",
    Way.UNICAST: "to",
    Way.BROADCAST: "broadcast to",
    Way.LINK: "by a frame to",
    Way.SOURCE: "back to",
}
HTTP = frozenset({15, 16, 17, 18, 19, 20})
FIRMWARE_WANTS = bytes(
    (*range(1, 7), 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, *range(128, 136))
)
"What edk2 and Intel's ROM list."
IPXE_WANTS = bytes((1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203))
SYSTEM_WANTS = bytes((1, 3, 6, 12, 15, 26, 33, 42, 51, 54, 58, 59, 119, 121))
