"""OVMF's boot order. The expected bytes are what OVMF itself wrote for the same card (those it makes by itself
carry one more GUID at the end)."""

from __future__ import annotations

import struct

import pytest

from bootstrapper.lab.uefi import add_boot_order, build_option, file_node, ipv4_node, mac_node, pci_node

MAC = "52:54:00:00:00:0b"
PXE_OVER_IPV4 = (
    "0100000056005500450046004900200050005800450076003400200028004d00410043003a00350032003500340030003000300030003000"
    "3000300042002900000002010c00d041030a00000000010106000002030b250052540000000b00000000000000000000000000000000000000"
    "0000000000000001030c1b0000000000000000000000000000000000000000000000007fff0400"
)
PCI_ROOT = bytes.fromhex("02010c00d041030a00000000")


def empty_store() -> bytes:
    head = bytes(0x48) + bytes.fromhex("782cf3aa7b949a43a1802e144ec37792b8ff03005afe000000000000")
    return head + b"\xff" * 4096


def test_a_boot_option_is_what_the_firmware_writes() -> None:
    path = PCI_ROOT + pci_node(2) + mac_node(MAC) + ipv4_node()
    assert build_option("UEFI PXEv4 (MAC:52540000000B)", path).hex() == PXE_OVER_IPV4


def test_a_file_on_any_disk() -> None:
    assert file_node("\\A").hex() == "04040a005c0041000000"


def test_the_order_is_network_then_disk() -> None:
    store = add_boot_order(empty_store(), [MAC])
    assert len(store) == len(empty_store())
    variables = dict(read_variables(store))
    assert variables["BootOrder"] == b"\x00\x01\x01\x01"
    assert variables["Boot0100"][:6] == b"\x01\0\0\0\x56\0"
    assert "Disk\0".encode("utf-16-le") in variables["Boot0101"]
    assert "\\EFI\\BOOT\\BOOTX64.EFI\0".encode("utf-16-le") in variables["Boot0101"]


def test_each_card_has_its_slot() -> None:
    variables = dict(read_variables(add_boot_order(empty_store(), [MAC, "52:54:00:00:00:0c"])))
    assert variables["BootOrder"] == b"\x00\x01\x01\x01\x02\x01"
    assert pci_node(3).hex() == "010106000003"
    assert pci_node(3) + mac_node("52:54:00:00:00:0c") in variables["Boot0101"]


def test_a_store_that_is_in_use_is_left_alone() -> None:
    with pytest.raises(ValueError, match="not an empty store"):
        add_boot_order(add_boot_order(empty_store(), [MAC]), [MAC])
    with pytest.raises(ValueError, match="not an empty store"):
        add_boot_order(bytes(8192), [MAC])


def read_variables(store: bytes) -> list[tuple[str, bytes]]:
    found, at = [], 0x64
    while store[at : at + 2] == b"\xaa\x55":
        name_size, data_size = struct.unpack_from("<II", store, at + 36)
        name = store[at + 60 : at + 60 + name_size].decode("utf-16-le").rstrip("\0")
        found.append((name, store[at + 60 + name_size : at + 60 + name_size + data_size]))
        at = (at + 60 + name_size + data_size + 3) & ~3
    return found
