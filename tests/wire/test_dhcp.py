"""Packets: one list of values and bytes used both ways, every truncation, hostile shapes, and the fuzz oracle."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dhcp import Packet, build_packet, dotted, parse_packet

COOKIE = "63825363"
ZEROS = "00" * 192
SAMPLES = [
    (
        Packet(xid=0x3903F326, chaddr=bytes.fromhex("00053c048d59").ljust(16, b"\0"), options={53: b"\1"}),
        "01010600 3903f326 00000000 00000000 00000000 00000000 00000000 00053c048d59" + "00" * 10 + ZEROS + COOKIE
        + "350101 ff",
    ),
    (
        Packet(
            op=2, htype=1, hlen=6, hops=2, xid=1, secs=3, flags=0x8000, ciaddr=0x01020304, yiaddr=0x0A000001,
            siaddr=0x0A000002, giaddr=0x0A000003, chaddr=bytes(range(16)), sname=b"s".ljust(64, b"\0"),
            file=b"f".ljust(128, b"\0"), options={53: b"\2", 51: b"\0\0\x0e\x10", 80: b"", 82: b"\1\1a"},
        ),
        "02010602 00000001 00038000 01020304 0a000001 0a000002 0a000003 000102030405060708090a0b0c0d0e0f"
        + "73" + "00" * 63 + "66" + "00" * 127 + COOKIE + "350102 330400000e10 5000 5203010161 ff",
    ),
    (
        Packet(options={43: bytes(300)}),
        "01010600" + "00" * 24 + "00" * 16 + ZEROS + COOKIE + "2bff" + "00" * 255 + "2b2d" + "00" * 45 + "ff",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "text"), SAMPLES)
def test_both_ways(packet: Packet, text: str) -> None:
    data = bytes.fromhex(text.replace(" ", ""))
    data = data.ljust(300, b"\0")
    assert build_packet(packet) == data
    assert parse_packet(data) == packet


@pytest.mark.parametrize("packet", [packet for packet, _ in SAMPLES])
def test_every_truncation_is_a_declared_error_or_forgivable(packet: Packet) -> None:
    """Cut between two options, only the END is missing, which old clients forget themselves."""
    data = build_packet(packet)
    end = data.rindex(b"\xff") if packet.options.get(43) is None else 240 + 2 + 255 + 2 + 45
    for size in range(end):
        try:
            parsed = parse_packet(data[:size])
        except MalformedPacket as fault:
            assert fault.reason == ("dhcp-short" if size < 240 else "dhcp-option-cut")
        else:
            assert set(parsed.options) <= set(packet.options)
            assert all(packet.options[code].startswith(value) for code, value in parsed.options.items())


def raw(options: str, sname: bytes = b"", file: bytes = b"", head: str = "01010600") -> bytes:
    fixed = bytes.fromhex(head) + bytes(40) + sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return fixed + bytes.fromhex(COOKIE) + bytes.fromhex(options.replace(" ", ""))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "dhcp-short"),
        (raw("")[:239], "dhcp-short"),
        (raw("ff") + bytes(4000), "dhcp-long"),
        (raw("ff").replace(bytes.fromhex(COOKIE), bytes(4)), "dhcp-cookie"),
        (raw("ff", head="00010600"), "dhcp-op"),
        (raw("ff", head="03010600"), "dhcp-op"),
        (raw("ff", head="01011100"), "dhcp-hlen"),
        (raw("35"), "dhcp-option-cut"),
        (raw("3501"), "dhcp-option-cut"),
        (raw("3504010203"), "dhcp-option-cut"),
        (raw("350101 0c"), "dhcp-option-cut"),
        (raw("3400 ff"), "dhcp-overload"),
        (raw("340100 ff"), "dhcp-overload"),
        (raw("340104 ff"), "dhcp-overload"),
        (raw("34020101 ff"), "dhcp-overload"),
        (raw("340101 ff", file=b"\x34\x01\x02\xff"), "dhcp-overload"),
        (raw("340101 ff", file=b"\x0c\xff"), "dhcp-option-cut"),
    ],
)
def test_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        parse_packet(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("ff", {}),
        ("", {}),
        ("00 00 350101 00 00 ff", {53: b"\1"}),
        ("350101 ff 0c0161", {53: b"\1"}),
        ("0c0161 0c0162 350101 0c0163 ff", {12: b"abc", 53: b"\1"}),
        ("5000 ff", {80: b""}),
        ("e003aabbcc ff", {224: b"\xaa\xbb\xcc"}),
    ],
)
def test_walk(options: str, expected: dict[int, bytes]) -> None:
    assert parse_packet(raw(options)).options == expected


@pytest.mark.parametrize(
    ("overload", "expected", "sname", "file"),
    [
        ("340101", b"of", b"\x0c\x01s", b""),
        ("340102", b"os", b"", b"\x0c\x01f"),
        ("340103", b"ofs", b"", b""),
    ],
)
def test_overloaded_fields_are_read_after_the_options_file_first(
    overload: str, expected: bytes, sname: bytes, file: bytes
) -> None:
    packet = parse_packet(raw(overload + "0c016f ff", sname=b"\x0c\x01s\xff", file=b"\x0c\x01f\xff"))
    assert packet.options == {12: expected}
    assert packet.sname.rstrip(b"\0").rstrip(b"\xff") == sname
    assert packet.file.rstrip(b"\0").rstrip(b"\xff") == file


def test_dotted() -> None:
    assert [dotted(each) for each in (0, 0x0A0A0E0B, 0xFFFFFFFF)] == ["0.0.0.0", "10.10.14.11", "255.255.255.255"]
    assert dotted(int(IPv4Address("1.2.3.4"))) == "1.2.3.4"


packets = st.builds(
    Packet,
    op=st.sampled_from([1, 2]),
    htype=st.integers(0, 255),
    hlen=st.integers(0, 16),
    hops=st.integers(0, 255),
    xid=st.integers(0, 2**32 - 1),
    secs=st.integers(0, 65535),
    flags=st.integers(0, 65535),
    ciaddr=st.integers(0, 2**32 - 1),
    yiaddr=st.integers(0, 2**32 - 1),
    siaddr=st.integers(0, 2**32 - 1),
    giaddr=st.integers(0, 2**32 - 1),
    chaddr=st.binary(min_size=16, max_size=16),
    sname=st.binary(min_size=64, max_size=64),
    file=st.binary(min_size=128, max_size=128),
    options=st.dictionaries(
        st.integers(1, 254).filter(lambda code: code != 52), st.binary(max_size=300), max_size=8
    ),
)  # fmt: skip


@given(packets)
def test_what_is_built_is_read_back(packet: Packet) -> None:
    assert parse_packet(build_packet(packet)) == packet


@given(st.binary(max_size=400), st.booleans())
@example(raw("340103 ff", sname=b"\xff" * 64, file=b"\0" * 128)[240:], True)
def test_random_bytes_are_a_declared_error_or_read_back(tail: bytes, overloaded: bool) -> None:
    data = raw("340103" if overloaded else "", sname=tail[:64], file=tail[64:192]) + tail
    try:
        packet = parse_packet(data)
    except MalformedPacket as fault:
        assert fault.reason in {"dhcp-option-cut", "dhcp-overload"}
        return
    assert parse_packet(build_packet(packet)) == packet
