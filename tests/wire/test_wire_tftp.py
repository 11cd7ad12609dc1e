from __future__ import annotations

import random

import pytest
from tftpy.TftpPacketFactory import TftpPacketFactory  # type: ignore[import-untyped]

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.tftp import Ack, Data, Error, Opcode, OptionAck, Packet, Request, build_packet, parse_packet

READ, WRITE = Opcode.READ, Opcode.WRITE

CLIENTS: list[tuple[str, bytes, Request]] = [
    ("tftp-hpa", b"\0\1undionly.kpxe\0octet\0", Request(READ, b"undionly.kpxe", "octet")),
    ("tftp-hpa ascii", b"\0\1notes.txt\0netascii\0", Request(READ, b"notes.txt", "netascii")),
    ("tftp-hpa put", b"\0\2cap.py\0octet\0", Request(WRITE, b"cap.py", "octet")),
    (
        "atftp",
        b"\0\1snponly.efi\0octet\0tsize\x000\0timeout\x003\0blksize\x001408\0windowsize\x0016\0",
        Request(
            READ,
            b"snponly.efi",
            "octet",
            (("tsize", "0"), ("timeout", "3"), ("blksize", "1408"), ("windowsize", "16")),
        ),
    ),
    (
        "curl",
        b"\0\1/undionly.kpxe\0octet\0tsize\x000\0blksize\x001024\0timeout\x006\0",
        Request(READ, b"/undionly.kpxe", "octet", (("tsize", "0"), ("blksize", "1024"), ("timeout", "6"))),
    ),
    (
        "busybox",
        b"\0\1snponly.efi\0octet\0blksize\x001408\0tsize\x000\0",
        Request(READ, b"snponly.efi", "octet", (("blksize", "1408"), ("tsize", "0"))),
    ),
]
"Requests as these clients sent them."

OTHERS: list[tuple[bytes, Packet]] = [
    (b"\0\3\0\1", Data(1, b"")),
    (b"\0\3\xff\xffabc\0", Data(65535, b"abc\0")),
    (b"\0\4\0\0", Ack(0)),
    (b"\0\4\x80\1", Ack(32769)),
    (b"\0\5\0\1no such file\0", Error(1, "no such file")),
    (b"\0\5\0\x08\0", Error(8, "")),
    (b"\0\6blksize\x001024\0tsize\x0074213\0", OptionAck((("blksize", "1024"), ("tsize", "74213")))),
]


@pytest.mark.parametrize(("datagram", "packet"), [each[1:] for each in CLIENTS] + OTHERS)
def test_both_ways(datagram: bytes, packet: Packet) -> None:
    assert parse_packet(datagram) == packet
    assert build_packet(packet) == datagram


@pytest.mark.parametrize(("datagram", "packet"), [each for each in OTHERS if not isinstance(each[1], Ack)])
def test_tftpy_reads_what_we_build(datagram: bytes, packet: Packet) -> None:
    theirs = TftpPacketFactory().parse(build_packet(packet))
    match packet:
        case Data(block, data):
            assert (theirs.blocknumber, theirs.data) == (block, data)
        case Error(code, _):
            assert theirs.errorcode == code
        case OptionAck(options):
            assert {str(k): str(v) for k, v in theirs.options.items()} == dict(options)


@pytest.mark.parametrize("datagram", [each[1] for each in CLIENTS])
def test_every_truncation_is_refused_or_shorter(datagram: bytes) -> None:
    whole = parse_packet(datagram)
    assert isinstance(whole, Request)
    for length in range(len(datagram)):
        try:
            part = parse_packet(datagram[:length])
        except MalformedPacket as fault:
            assert fault.reason in {"tftp-short", "tftp-unterminated", "tftp-request-fields"}
        else:
            assert isinstance(part, Request)
            assert part.options == whole.options[: len(part.options)]
            assert len(part.options) < len(whole.options)


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "tftp-short"),
        (b"\0\1\0", "tftp-short"),
        (b"\0\0\0\0", "tftp-opcode"),
        (b"\0\7\0\0", "tftp-opcode"),
        (b"\1\1a\0octet\0", "tftp-opcode"),
        (b"\0\1name\0octet", "tftp-unterminated"),
        (b"\0\1name\0", "tftp-request-fields"),
        (b"\0\1name\0\0", "tftp-mode"),
        (b"\0\1name\0oct et\0", "tftp-mode"),
        (b"\0\1name\0\xffctet\0", "tftp-mode"),
        (b"\0\1" + b"n" * 503 + b"\0octet\0" + b"\0", "tftp-request-long"),
        (b"\0\6blksize\x001024", "tftp-unterminated"),
        (b"\0\6\0\0", "tftp-no-options"),
    ],
)
def test_malformed(datagram: bytes, reason: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        parse_packet(datagram)
    assert caught.value.reason == reason


def test_a_request_of_512_bytes_is_read() -> None:
    datagram = b"\0\1" + b"n" * 503 + b"\0octet\0"
    assert len(datagram) == 512
    assert parse_packet(datagram) == Request(READ, b"n" * 503, "octet")


@pytest.mark.parametrize(
    ("tail", "options"),
    [
        (b"\0\0\0", ()),
        (b"blksize\0", ()),
        (b"blksize\x001024\0tsize\0", (("blksize", "1024"),)),
        (b"BlkSize\x001024\0", (("BlkSize", "1024"),)),
        (b"blk\xffsize\x001024\0tsize\x000\0", (("tsize", "0"),)),
        (b"blksize\x0010\x0724\0tsize\x000\0", (("tsize", "0"),)),
        (b"multicast\0\0tsize\x000\0", (("tsize", "0"),)),
    ],
)
def test_options_that_cannot_be_answered_are_left_out(tail: bytes, options: tuple[tuple[str, str], ...]) -> None:
    packet = parse_packet(b"\0\1x\0Octet\0" + tail)
    assert packet == Request(READ, b"x", "octet", options)


def test_error_text_is_cleaned_and_bounded() -> None:
    packet = parse_packet(b"\0\5\0\0User \x1b[31maborted\r\nnext\xff\0secret\0")
    assert packet == Error(0, "User ?[31maborted??next?")
    long = parse_packet(b"\0\5\0\0" + b"x" * 1000)
    assert isinstance(long, Error)
    assert len(long.text) == 200


def test_random_bytes_are_refused_or_survive_a_round_trip() -> None:
    chance = random.Random(1350)
    pieces = [b"\0", b"\1", b"\2", b"\3", b"\4", b"\5", b"\6", b"octet\0", b"blksize\0", b"8\0", b"\xff", b"a", b"A\0"]
    parsed = 0
    for _ in range(20_000):
        datagram = b"\0" + b"".join(chance.choices(pieces, k=chance.randrange(12)))
        try:
            packet = parse_packet(datagram)
        except MalformedPacket:
            continue
        parsed += 1
        assert parse_packet(build_packet(packet)) == packet
    assert parsed > 1000
