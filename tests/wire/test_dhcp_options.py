"""The table of options, both ways."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dhcp_options import (
    Value,
    build_option,
    build_options,
    build_value,
    parse_sub_options,
    parse_value,
)


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        (1, IPv4Address("255.255.255.0"), "ffffff00"),
        (3, (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")), "0a0000010a000002"),
        (12, "node1", "6e6f646531"),
        (12, "\xff\0", "ff00"),
        (51, 43200, "0000a8c0"),
        (53, 1, "01"),
        (55, (1, 3, 6), "010306"),
        (57, 1472, "05c0"),
        (93, (7, 9), "00070009"),
        (224, b"\1\2", "0102"),
        (61, b"", ""),
    ],
)
def test_values_both_ways(code: int, value: Value, text: str) -> None:
    assert build_value(code, value) == bytes.fromhex(text)
    assert parse_value(code, bytes.fromhex(text)) == value


@pytest.mark.parametrize(
    ("code", "text"),
    [(1, "ffffff"), (3, ""), (3, "0a00000101"), (12, ""), (51, "0001"), (53, ""), (55, ""), (57, "05"), (93, "000700")],
)
def test_a_value_of_another_shape_is_malformed(code: int, text: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        parse_value(code, bytes.fromhex(text))
    assert caught.value.reason == "dhcp-option-shape"


def test_a_long_value_is_split() -> None:
    assert build_option(82, bytes(256)) == b"\x52\xff" + bytes(255) + b"\x52\x01\0"
    assert build_option(82, b"") == b"\x52\0"
    assert build_options({53: b"\1", 12: b"a"}) == b"\x35\1\1\x0c\1a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("060108ff", {6: b"\x08"}),
        ("0104657468310202ab01", {1: b"eth1", 2: b"\xab\x01"}),
        ("47040000 0000 ff 0101", {71: bytes(4)}),
    ],
)
def test_sub_options(text: str, expected: dict[int, bytes]) -> None:
    assert parse_sub_options(bytes.fromhex(text.replace(" ", ""))) == expected


@given(st.integers(1, 254), st.binary(max_size=260))
def test_any_bytes_of_an_option_are_a_declared_error_or_come_back(code: int, data: bytes) -> None:
    try:
        value = parse_value(code, data)
    except MalformedPacket as fault:
        assert fault.reason == "dhcp-option-shape"
        return
    assert build_value(code, value) == data
