"""Packets for people: every option named, and nothing a client wrote shown raw."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.wire.dhcp import Packet
from bootstrapper.wire.dhcp_text import describe, describe_option


def test_a_packet() -> None:
    packet = Packet(
        op=2, xid=0xABC, secs=3, flags=0x8000, yiaddr=0x0A0A0E0B, chaddr=bytes.fromhex("002590c0f780").ljust(16, b"\0"),
        file=b"snponly.efi".ljust(128, b"\0"), options={53: b"\2", 1: bytes((255, 255, 255, 0)), 224: b"\1\2"},
    )  # fmt: skip
    assert describe(packet) == [
        "OFFER to 00:25:90:c0:f7:80, xid 00000abc, broadcast",
        "  yiaddr: 10.10.14.11",
        '  file: "snponly.efi"',
        "  secs: 3",
        "   53 message type: OFFER",
        "    1 subnet mask: 255.255.255.0",
        "  224 option: 01 02",
    ]


@pytest.mark.parametrize(
    ("code", "data", "text"),
    [
        (12, b'a"\x1b[2J\xff', '"a\\x22\\x1b[2J\\xff"'),
        (12, b"", " (not the shape of this option)"),
        (43, b"\x06\x01\x08\xff", "6 = 08"),
        (43, b"\x06\x09\x08", "06 09 08"),
        (51, b"\0\0\xa8\xc0", "43200"),
        (53, b"\7", "RELEASE"),
        (53, b"\x63", "message 99"),
        (53, b"", ""),
        (55, b"\1\3", "1, 3"),
        (77, b"\x04iPXE", '"iPXE"'),
        (80, b"", "(empty)"),
        (93, b"\0\7\0\x09", "7, 9"),
        (97, b"\0" + bytes(16), "00000000-0000-0000-0000-000000000000"),
        (97, b"\1\2", "01 02"),
    ],
)
def test_options(code: int, data: bytes, text: str) -> None:
    assert describe_option(code, data) == text


@given(st.integers(1, 254), st.binary(max_size=64))
def test_any_option_is_one_printable_line(code: int, data: bytes) -> None:
    text = describe_option(code, data)
    assert text == "" or text.isprintable()
    assert text.isascii()
