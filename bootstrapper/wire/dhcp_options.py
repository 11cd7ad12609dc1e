"""DHCP options: the walk over their bytes, and one table that says what the bytes of each number mean.

The table is used in both directions (`parse_value`, `build_value`), so that a value can never be written in a way that
is not read back. An option without a row is opaque bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from ipaddress import IPv4Address
from typing import NamedTuple

from bootstrapper.errors import MalformedPacket

PAD = 0
END = 255


class Message(IntEnum):
    """Option 53 (RFC 2132 section 9.6, and RFC 3203, 4388, 6926, 7724 for those beyond 8)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8
    FORCERENEW = 9
    LEASEQUERY = 10
    LEASEUNASSIGNED = 11
    LEASEUNKNOWN = 12
    LEASEACTIVE = 13


class Opt(IntEnum):
    """The options this server reads or writes, by the names of IANA's registry."""

    MASK = 1
    ROUTER = 3
    NAME_SERVER = 6
    HOST_NAME = 12
    FILE_SIZE = 13
    DOMAIN = 15
    MTU = 26
    BROADCAST = 28
    NTP = 42
    VENDOR = 43
    REQUESTED = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETERS = 55
    MESSAGE = 56
    MAX_SIZE = 57
    RENEWAL = 58
    REBINDING = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    RAPID_COMMIT = 80
    FQDN = 81
    RELAY = 82
    ARCHITECTURE = 93
    UNDI = 94
    UUID = 97
    IPV6_ONLY = 108
    SUBNET_SELECTION = 118
    SEARCH = 119
    IPXE = 175


Value = int | str | bytes | IPv4Address | tuple[IPv4Address, ...] | tuple[int, ...]


def join_options(options: dict[int, bytes], data: bytes, at: int, stop: int) -> None:
    """Read the options in data[at:stop] into `options`, joining repeated ones in order (RFC 3396 section 7).

    A missing END is forgiven, since old clients leave it out; a length that runs past the field is not.
    """
    last = stop - 1
    while at < stop:
        code = data[at]
        if code == 255:
            return
        if code == 0:
            at += 1
            continue
        if at == last:
            raise MalformedPacket("dhcp-option-cut")
        start = at + 2
        at = start + data[at + 1]
        if at > stop:
            raise MalformedPacket("dhcp-option-cut")
        if code in options:
            options[code] += data[start:at]
        else:
            options[code] = data[start:at]


def build_option(code: int, value: bytes) -> bytes:
    """One option; a value over 255 bytes is split into several of the same number (RFC 3396 section 5)."""
    if len(value) <= 255:
        return bytes((code, len(value))) + value
    return b"".join(build_option(code, value[at : at + 255]) for at in range(0, len(value), 255))


def build_options(options: Mapping[int, bytes]) -> bytes:
    """In the mapping's order, without an END."""
    return b"".join(build_option(code, value) for code, value in options.items())


def parse_sub_options(data: bytes) -> dict[int, bytes]:
    """The options inside option 43, 82 or 175. In these 0 and 255 stand for themselves only where no length follows:
    PXE's 43 ends with 255 (PXE 2.1 section 2.1), 82 and 175 simply end."""
    found: dict[int, bytes] = {}
    join_options(found, data, 0, len(data))
    return found


def parse_value(code: int, data: bytes) -> Value:
    """What an option's bytes mean. Raises MalformedPacket when they do not have the shape of that option."""
    shape = SHAPES.get(code, OPAQUE)
    if not shape.fits(len(data)):
        raise MalformedPacket("dhcp-option-shape", f"option {code} with {len(data)} bytes")
    return shape.parse(data)


def build_value(code: int, value: Value) -> bytes:
    """The bytes of an option. A value of another kind than that option holds is our own fault (AssertionError)."""
    return SHAPES.get(code, OPAQUE).build(value)


def _build_address(value: Value) -> bytes:
    assert isinstance(value, IPv4Address)
    return value.packed


def _parse_addresses(data: bytes) -> tuple[IPv4Address, ...]:
    return tuple(IPv4Address(data[at : at + 4]) for at in range(0, len(data), 4))


def _build_addresses(value: Value) -> bytes:
    assert isinstance(value, tuple)
    return b"".join(_build_address(IPv4Address(each)) for each in value)


def _build_number(size: int) -> Callable[[Value], bytes]:
    def build(value: Value) -> bytes:
        assert isinstance(value, int)
        return value.to_bytes(size, "big")

    return build


def _parse_number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _parse_words(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _build_words(value: Value) -> bytes:
    assert isinstance(value, tuple)
    return b"".join(int(each).to_bytes(2, "big") for each in value)


def _build_codes(value: Value) -> bytes:
    assert isinstance(value, tuple)
    return bytes(int(each) for each in value)


def _build_text(value: Value) -> bytes:
    assert isinstance(value, str)
    return value.encode("latin-1")


def _build_opaque(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


class Shape(NamedTuple):
    """How one kind of option is written."""

    fits: Callable[[int], bool]
    "Whether a value may have this many bytes."
    parse: Callable[[bytes], Value]
    build: Callable[[Value], bytes]


OPAQUE = Shape(lambda size: True, bytes, _build_opaque)
ADDRESS = Shape(lambda size: size == 4, IPv4Address, _build_address)
ADDRESSES = Shape(lambda size: size > 0 and size % 4 == 0, _parse_addresses, _build_addresses)
U8 = Shape(lambda size: size == 1, _parse_number, _build_number(1))
U16 = Shape(lambda size: size == 2, _parse_number, _build_number(2))
U32 = Shape(lambda size: size == 4, _parse_number, _build_number(4))
WORDS = Shape(lambda size: size > 0 and size % 2 == 0, _parse_words, _build_words)
CODES = Shape(lambda size: size > 0, tuple, _build_codes)
TEXT = Shape(lambda size: size > 0, lambda data: data.decode("latin-1"), _build_text)
"Latin-1 because it keeps every byte: what a client sends is hostile until cleaned where it is shown."

SHAPES: dict[int, Shape] = {
    Opt.MASK: ADDRESS,
    Opt.ROUTER: ADDRESSES,
    Opt.NAME_SERVER: ADDRESSES,
    Opt.HOST_NAME: TEXT,
    Opt.FILE_SIZE: U16,
    Opt.DOMAIN: TEXT,
    Opt.MTU: U16,
    Opt.BROADCAST: ADDRESS,
    Opt.NTP: ADDRESSES,
    Opt.REQUESTED: ADDRESS,
    Opt.LEASE_TIME: U32,
    Opt.OVERLOAD: U8,
    Opt.MESSAGE_TYPE: U8,
    Opt.SERVER_ID: ADDRESS,
    Opt.PARAMETERS: CODES,
    Opt.MESSAGE: TEXT,
    Opt.MAX_SIZE: U16,
    Opt.RENEWAL: U32,
    Opt.REBINDING: U32,
    Opt.VENDOR_CLASS: TEXT,
    Opt.TFTP_SERVER: TEXT,
    Opt.BOOT_FILE: TEXT,
    Opt.ARCHITECTURE: WORDS,
    Opt.IPV6_ONLY: U32,
    Opt.SUBNET_SELECTION: ADDRESS,
}
