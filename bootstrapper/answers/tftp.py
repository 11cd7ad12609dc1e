"""A TFTP request in; an ERROR, or a content with the terms of its transfer, out.

What may be fetched is a table from names to contents. A request's name is a key of that table and nothing else: it
never becomes a path, so nothing a client writes can reach a file. The table of options is at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from bootstrapper.answers.transfer import FIRST_TIMEOUT_S, Content, Terms, content_of
from bootstrapper.boot.adoption import find_life
from bootstrapper.boot.decide import Action, decide
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.history import History
from bootstrapper.boot.local_disk import REFUSED_FILE
from bootstrapper.boot.steps import Tftp
from bootstrapper.cluster.model import Cluster
from bootstrapper.wire.tftp import Error, ErrorCode, Opcode, OptionAck, Request, build_packet

NAME_LIMIT = 255
NETASCII_LIMIT = 1 << 20
"Bytes. A text's line ends are converted whole; what boots a machine is binary and far larger than any text."
HEADERS = 32
"IPv4, UDP and TFTP headers of a DATA packet. Larger blocks would be fragmented, and firmware drops fragments."
LARGEST_BLOCK = 65464

TFTP_FIRMWARE = Firmware(Kind.NONE, Stage.ROM)
"A TFTP request does not say what firmware sends it; that DHCP named a file for it was decided before."

Files = Mapping[str, Content]
"Name -> content. No name begins with a slash or holds a backslash."


@dataclass(frozen=True, slots=True)
class Settings:
    mtu: int = 1500
    "Of the interface that the machines are on."
    window: int = 32
    "The most blocks sent without an ACK (RFC 7440); 1 switches the option off (edk2#7264)."


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, by its address."""

    mac: str
    "The machine's first MAC, or the unknown machine's."
    served: bool
    "False: it gets an ERROR, so that its firmware goes on at once."


@dataclass(frozen=True, slots=True)
class Refusal:
    error: Error
    reason: str
    "A constant, for counting."
    step: str = Tftp.REFUSED
    "What the event says happened, and below in more words; empty: the name and the error."
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    name: str
    content: Content
    terms: Terms


class Visitors:
    """Tells who asks, by the source address of a request. One for each description in force."""

    def __init__(
        self,
        cluster: Cluster,
        find_mac: Callable[[IPv4Address], str | None],
        find_history: Callable[[str], History],
    ) -> None:
        """`find_mac` knows who holds a lease, `find_history` is by first MAC."""
        self._cluster = cluster
        self._find_mac = find_mac
        self._find_history = find_history

    def find(self, address: str) -> Visitor | None:
        """None: no answer at all. An address outside the subnets, or that belongs to nobody, is not answered: the
        source of a datagram is easily forged, and each DATA is resent to it."""
        source = IPv4Address(address)
        if self._cluster.network.find_subnet(source) is None:
            return None
        machine = self._cluster.by_ip.get(source)
        mac = machine.mac if machine else self._find_mac(source)
        if mac is None:
            return None
        machine = machine or self._cluster.by_mac.get(mac)
        mac = machine.mac if machine else mac
        history = find_life(machine, self._find_history)[1] if machine else self._find_history(mac)
        decision = decide(machine, self._cluster.unknown_machines, TFTP_FIRMWARE, history)
        return None if decision.action is Action.SILENT else Visitor(mac, decision.network_boots)


def answer_request(request: Request, files: Files, settings: Settings) -> Grant | Refusal:
    if request.opcode is Opcode.WRITE:
        return NO_WRITING
    if request.mode not in ("octet", "netascii"):
        return NO_MODE  # `mail` has been gone since RFC 1350
    name = normalise_name(request.name)
    content = None if name is None else files.get(name)
    if name is None or content is None:
        return NOT_FOUND
    if request.mode == "netascii":
        if content.size > NETASCII_LIMIT:
            return NO_TEXT
        content = content_of(_netascii(bytes(content.read(0, content.size))))
    return Grant(name, content, negotiate(request, content.size, settings))


def refuse(request: Request) -> Refusal:
    """The answer to a machine that has nothing to boot from here."""
    return LOCAL_DISK if normalise_name(request.name) == REFUSED_FILE else NOT_NOW


def normalise_name(name: bytes) -> str | None:
    """The table's key for what a client wrote; None: no name of ours can be meant.

    Backslashes come from Windows-minded firmware and shim (shim#524), leading slashes from PXELINUX and U-Boot, a
    trailing 0xFF or space from old Intel ROMs (netboot.xyz#1198). Nothing is decoded, no dots are resolved.
    """
    text = name.rstrip(TRAILING).replace(b"\\", b"/").lstrip(b"/")
    if not text or len(text) > NAME_LIMIT or not text.isascii():
        return None
    word = text.decode("ascii")
    return word if word.isprintable() else None


TRAILING = bytes([*range(0x21), 0x7F, 0xFF])


def _netascii(data: bytes) -> bytes:
    """RFC 764: a line ends with CR LF, a bare CR is CR NUL."""
    return data.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")


def negotiate(request: Request, size: int, settings: Settings) -> Terms:
    """The options we agree to, each once and as the client spelled it; the others are left out without a word
    (RFC 2347). edk2 gives up on an option it did not ask for and on a value above its own."""
    agreed: dict[str, int] = {}
    spelled = []
    for name, text in request.options:
        key = name.lower()
        limit = OPTIONS.get(key)
        if limit is None or key in agreed or not text.isdigit() or len(text) > 20:
            continue
        value = limit(int(text), size, request.mode, settings)
        if value is not None:
            agreed[key] = value
            spelled.append((name, str(value)))
    return Terms(
        block_size=agreed.get("blksize", 512),
        window=agreed.get("windowsize", 1),
        timeout_s=float(agreed.get("timeout", FIRST_TIMEOUT_S)),
        oack=build_packet(OptionAck(tuple(spelled))) if spelled else b"",
    )


def _block_size(asked: int, _size: int, _mode: str, settings: Settings) -> int | None:
    """RFC 2348."""
    return min(asked, LARGEST_BLOCK, settings.mtu - HEADERS) if asked >= 8 else None


def _transfer_size(_asked: int, size: int, mode: str, _settings: Settings) -> int | None:
    """RFC 2349. edk2 does not boot without it. In netascii its meaning differs from client to client."""
    return size if mode == "octet" else None


def _timeout(asked: int, _size: int, _mode: str, _settings: Settings) -> int | None:
    """RFC 2349: the same value, or nothing."""
    return asked if 1 <= asked <= 255 else None


def _window(asked: int, _size: int, _mode: str, settings: Settings) -> int | None:
    """RFC 7440."""
    return min(asked, settings.window) if 1 <= asked <= 65535 and settings.window > 1 else None


OPTIONS: dict[str, Callable[[int, int, str, Settings], int | None]] = {
    "blksize": _block_size,
    "tsize": _transfer_size,
    "timeout": _timeout,
    "windowsize": _window,
}
"Name -> (asked, size of the content, mode, settings) -> the value to answer, None to leave it out."

NOT_FOUND = Refusal(Error(ErrorCode.NOT_FOUND, "no such file"), "not-found")
NO_WRITING = Refusal(Error(ErrorCode.ACCESS, "this server is only read from"), "write")
NO_MODE = Refusal(Error(ErrorCode.ILLEGAL, "mode is not octet or netascii"), "mode")
NO_TEXT = Refusal(Error(ErrorCode.NOT_DEFINED, "too large for netascii, use octet"), "netascii-size")
NOT_NOW = Refusal(Error(ErrorCode.ACCESS, "nothing to boot for this machine"), "not-now")
LOCAL_DISK = Refusal(
    Error(ErrorCode.NOT_FOUND, "boot the local disk"), "local-disk", Tftp.LOCAL_DISK, "refused as it should be"
)
