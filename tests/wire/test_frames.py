"""Frames against bytes other programs made, and against their own checksums."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.frames import (
    build_arp_request,
    build_echo,
    build_udp_frame,
    compute_checksum,
    parse_arp,
    parse_echo_reply,
)

MAC = bytes.fromhex("525400000001")
SERVER_MAC = bytes.fromhex("020000000002")


def slow_checksum(data: bytes) -> int:
    """RFC 1071 section 4.1, word by word."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_checksum_of_rfc_1071() -> None:
    """Section 3: the words 0001 f203 f4f5 f6f7 add up to ddf2."""
    assert compute_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


@given(st.binary(max_size=600))
def test_checksum_is_that_of_the_rfc(data: bytes) -> None:
    assert compute_checksum(data) == slow_checksum(data)


def test_udp_frame_byte_for_byte() -> None:
    frame = build_udp_frame(b"hello", SERVER_MAC, MAC, IPv4Address("10.0.0.1"), 67, IPv4Address("10.0.0.100"), 68)
    assert frame.hex() == (
        "525400000001" "020000000002" "0800"
        "451000210000400040112658" "0a000001" "0a000064"
        "0043" "0044" "000d" "a716" "68656c6c6f"
    )  # fmt: skip


@given(st.binary(max_size=1472), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_sums_over_a_frame_come_out_as_zero(payload: bytes, source: int, target: int) -> None:
    frame = build_udp_frame(payload, SERVER_MAC, MAC, IPv4Address(source), 67, IPv4Address(target), 68)
    ip, udp = frame[14:34], frame[34:]
    assert slow_checksum(ip) == 0
    assert int.from_bytes(ip[2:4], "big") == len(frame) - 14
    assert udp[6:8] != b"\0\0"
    assert slow_checksum(ip[12:20] + b"\0\x11" + udp[4:6] + udp) == 0


def test_arp_request_is_no_probe() -> None:
    frame = build_arp_request(SERVER_MAC, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.100"))
    assert frame.hex() == (
        "ffffffffffff" "020000000002" "0806" "0001" "0800" "0604" "0001" "020000000002" "0a000001" "000000000000"
        "0a000064" + "00" * 18
    )  # fmt: skip
    assert parse_arp(frame) == (IPv4Address("10.0.0.1"), SERVER_MAC)


def test_arp_reply() -> None:
    frame = bytes.fromhex(
        "020000000002" "525400000001" "0806" "0001" "0800" "0604" "0002" "525400000001" "0a000064" "020000000002"
        "00000000"
    )  # fmt: skip
    assert parse_arp(frame) == (IPv4Address("10.0.0.100"), MAC)


@pytest.mark.parametrize(
    ("at", "value"), [(12, 0x09), (14, 0x01), (17, 0x01), (18, 0x08), (19, 0x06), (21, 0x03), (21, 0x00)]
)
def test_what_is_not_arp_for_ipv4_over_ethernet_is_malformed(at: int, value: int) -> None:
    frame = bytearray(build_arp_request(SERVER_MAC, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.100")))
    frame[at] = value
    with pytest.raises(MalformedPacket):
        parse_arp(bytes(frame))


@pytest.mark.parametrize("size", range(42))
def test_every_truncation_of_arp(size: int) -> None:
    with pytest.raises(MalformedPacket):
        parse_arp(build_arp_request(SERVER_MAC, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.100"))[:size])


def test_echo() -> None:
    request = build_echo(0x1234, 7, b"abc")
    assert request.hex() == "0800" + f"{slow_checksum(bytes.fromhex('0800000012340007616263')):04x}" + "12340007616263"
    body = bytes.fromhex("0000000012340007616263")
    reply = body[:2] + slow_checksum(body).to_bytes(2, "big") + body[4:]
    ip = bytes.fromhex("4500001f 00000000 40010000 0a000064 0a000001".replace(" ", ""))
    assert parse_echo_reply(ip + reply) == (IPv4Address("10.0.0.100"), 0x1234, 7)
    with pytest.raises(MalformedPacket, match="icmp-checksum"):
        parse_echo_reply(ip + reply[:-1] + b"x")
    with pytest.raises(MalformedPacket, match="icmp-kind"):
        parse_echo_reply(ip + request)


@given(st.binary(max_size=80))
def test_random_bytes_are_a_declared_error(data: bytes) -> None:
    for parse in (parse_arp, parse_echo_reply):
        try:
            parse(data)
        except MalformedPacket as fault:
            assert fault.reason.split("-")[0] in {"arp", "icmp"}
