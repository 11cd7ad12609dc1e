"""TFTP packets: bytes <-> values (RFC 1350, options RFC 2347). What the values mean is `answers.tftp`'s business.

File names stay bytes: they are a client's, in no known encoding. Options keep the client's spelling, since an answer
must echo it (GRUB compares exactly). The tables of numbers are at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from bootstrapper.errors import MalformedPacket

REQUEST_LIMIT = 512
"RFC 2347: a request with its options is at most 512 octets."
TEXT_LIMIT = 200
"What is kept of the text in a client's ERROR."


class Opcode(IntEnum):
    READ = 1
    WRITE = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    """RFC 1350 section 5; 8 is RFC 2347's."""

    NOT_DEFINED = 0
    NOT_FOUND = 1
    ACCESS = 2
    DISK_FULL = 3
    ILLEGAL = 4
    UNKNOWN_ID = 5
    EXISTS = 6
    NO_USER = 7
    OPTION_REFUSED = 8


@dataclass(frozen=True, slots=True)
class Request:
    """RRQ or WRQ."""

    opcode: Opcode
    name: bytes
    mode: str
    "Lower case."
    options: tuple[tuple[str, str], ...] = ()
    "As spelled and ordered by the client."


@dataclass(frozen=True, slots=True)
class Data:
    block: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    block: int


@dataclass(frozen=True, slots=True)
class Error:
    code: int
    text: str
    "ASCII; when parsed, cleaned of everything that is not printable."


@dataclass(frozen=True, slots=True)
class OptionAck:
    options: tuple[tuple[str, str], ...]


Packet = Request | Data | Ack | Error | OptionAck


def parse_packet(datagram: bytes) -> Packet:
    """Raises MalformedPacket, whose reasons are constants of this module."""
    if len(datagram) < 4:
        raise MalformedPacket("tftp-short")
    if datagram[0] or not Opcode.READ <= datagram[1] <= Opcode.OACK:
        raise MalformedPacket("tftp-opcode")
    opcode = Opcode(datagram[1])
    if opcode in (Opcode.READ, Opcode.WRITE):
        return _parse_request(opcode, datagram)
    number = int.from_bytes(datagram[2:4])
    if opcode is Opcode.DATA:
        return Data(number, datagram[4:])
    if opcode is Opcode.ACK:
        return Ack(number)  # bytes after the number are padding that some ROMs send
    if opcode is Opcode.ERROR:
        return Error(number, clean_text(datagram[4:]))
    options = _pairs(_fields(datagram))
    if not options:
        raise MalformedPacket("tftp-no-options")
    return OptionAck(options)


def _parse_request(opcode: Opcode, datagram: bytes) -> Request:
    if len(datagram) > REQUEST_LIMIT:
        raise MalformedPacket("tftp-request-long")
    fields = _fields(datagram)
    if len(fields) < 2:
        raise MalformedPacket("tftp-request-fields")
    name, mode = fields[:2]
    if not mode or not mode.isascii() or not mode.isalpha():
        raise MalformedPacket("tftp-mode")
    return Request(opcode, name, mode.decode("ascii").lower(), _pairs(fields[2:]))


def _fields(datagram: bytes) -> list[bytes]:
    if datagram[-1]:
        raise MalformedPacket("tftp-unterminated")
    return datagram[2:-1].split(b"\0")


def _pairs(fields: list[bytes]) -> tuple[tuple[str, str], ...]:
    """Options that could be answered. Padding, a name without a value and bytes that are not printable ASCII are left
    out and not refused: an option nobody understands is ignored (RFC 2347), and ROMs pad requests with NULs."""
    pairs = zip(fields[::2], fields[1::2], strict=False)
    return tuple((name.decode(), value.decode()) for name, value in pairs if _is_word(name) and _is_word(value))


def _is_word(field: bytes) -> bool:
    return bool(field) and field.isascii() and field.decode().isprintable()


def build_packet(packet: Packet) -> bytes:
    match packet:
        case Request(opcode, name, mode, options):
            return _opcode(opcode) + name + b"\0" + mode.encode("ascii") + b"\0" + _build_pairs(options)
        case Data(block, data):
            return _opcode(Opcode.DATA) + block.to_bytes(2) + data
        case Ack(block):
            return _opcode(Opcode.ACK) + block.to_bytes(2)
        case Error(code, text):
            return _opcode(Opcode.ERROR) + code.to_bytes(2) + text.encode("ascii") + b"\0"
        case OptionAck(options):
            return _opcode(Opcode.OACK) + _build_pairs(options)


def _opcode(opcode: Opcode) -> bytes:
    return opcode.to_bytes(2)


def _build_pairs(options: tuple[tuple[str, str], ...]) -> bytes:
    return b"".join(f"{name}\0{value}\0".encode("ascii") for name, value in options)


def clean_text(text: bytes) -> str:
    """A client's words, fit for a log line: printable ASCII, bounded."""
    kept = text.partition(b"\0")[0][:TEXT_LIMIT].decode("ascii", "replace")
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in kept).strip()


DATA = b"\0\3"
ACK = b"\0\4"
ERROR = b"\0\5"
"How the packets of a running transfer begin, for the loop that builds one per block."
