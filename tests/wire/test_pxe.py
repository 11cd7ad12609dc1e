"""What firmware and iPXE put into their options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.wire.pxe import (
    build_boot_block,
    build_uuid,
    find_boot_item,
    find_uuid,
    parse_architectures,
    parse_user_class,
)


@pytest.mark.parametrize(
    ("text", "expected"), [("", ()), ("0007", (7,)), ("00070009", (7, 9)), ("00", ()), ("000700", ())]
)
def test_architectures(text: str, expected: tuple[int, ...]) -> None:
    assert parse_architectures(bytes.fromhex(text)) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ""),
        (b"iPXE", "iPXE"),
        (b"\x04iPXE", "iPXE"),
        (b"\x04iPXE\x03foo", "iPXE,foo"),
        (b"\x04iPX", "\x04iPX"),
        (b"\x00", "\x00"),
        (b"gPXE", "gPXE"),
    ],
)
def test_user_class(data: bytes, expected: str) -> None:
    assert parse_user_class(data) == expected


def test_uuid_is_little_endian_on_the_wire() -> None:
    data = bytes.fromhex("00 33221100 5544 7766 8899 aabbccddeeff".replace(" ", ""))
    assert find_uuid(data) == "00112233-4455-6677-8899-aabbccddeeff"
    assert build_uuid("00112233-4455-6677-8899-aabbccddeeff") == data


@pytest.mark.parametrize("data", [b"", b"\0", bytes(16), bytes(18), b"\1" + bytes(16)])
def test_what_is_no_uuid_is_none(data: bytes) -> None:
    assert find_uuid(data) == ""


@pytest.mark.parametrize(
    ("text", "item", "block"),
    [
        ("", "", "060108ff"),
        ("470400000000ff", "00000000", "470400000000060108ff"),
        ("47040000", "", "060108ff"),
        ("470200ff", "", "060108ff"),
    ],
)
def test_the_boot_item_is_echoed(text: str, item: str, block: str) -> None:
    found = find_boot_item(bytes.fromhex(text))
    assert found.hex() == item
    assert build_boot_block(found).hex() == block


@given(st.binary(max_size=255))
def test_nothing_here_raises(data: bytes) -> None:
    parse_architectures(data)
    parse_user_class(data)
    find_uuid(data)
    find_boot_item(data)
