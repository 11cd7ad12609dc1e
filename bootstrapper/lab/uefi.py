"""A UEFI machine's boot order, written into OVMF's store of variables before its first start: each card by PXE over
IPv4, then the disk.

QEMU's own `bootindex` would mean every way a card can boot: with no boot file offered, edk2 spends a minute on each of
PXE over IPv4, PXE over IPv6, HTTP over IPv4 and HTTP over IPv6 before it looks at the disk. Admins of real machines
switch the last three off; this does the same. Layouts: UEFI specification 2.10, sections 3.1.3 (load options) and 10.3
(device paths); edk2's VariableFormat.h.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence

STORE_AT = 0x48
"Where the variable store starts, after the firmware volume's header."
VARIABLES_AT = STORE_AT + 28
STORE_KIND = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")
"gEfiAuthenticatedVariableGuid."
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
"EFI_GLOBAL_VARIABLE: the owner of BootOrder and Boot####."
START, ADDED = 0x55AA, 0x3F
ATTRIBUTES = 0x7
"Non-volatile, for boot services and at run time."
ACTIVE = 0x1
END = bytes.fromhex("7fff0400")
PCI_ROOT = bytes.fromhex("02010c00d041030a00000000")
FALLBACK = "\\EFI\\BOOT\\BOOTX64.EFI"
FIRST_SLOT = 2
"The PCI slot of the first card; the others follow."


def add_boot_order(store: bytes, macs: Sequence[str]) -> bytes:
    """`store` (an untouched OVMF_VARS file) with the boot order for cards in the slots from FIRST_SLOT on.

    Raises ValueError for a store that has another format or holds variables already.
    """
    if store[STORE_AT : STORE_AT + 16] != STORE_KIND.bytes_le or store[VARIABLES_AT : VARIABLES_AT + 2] != b"\xff\xff":
        raise ValueError("the UEFI variables are not an empty store of the kind that OVMF has")
    options = [
        build_option(f"Network {mac}", PCI_ROOT + pci_node(FIRST_SLOT + number) + mac_node(mac) + ipv4_node())
        for number, mac in enumerate(macs)
    ]
    options.append(build_option("Disk", file_node(FALLBACK)))
    numbers = range(0x100, 0x100 + len(options))  # BDS numbers its own from 0
    variables = b"".join(
        build_variable(f"Boot{number:04X}", option) for number, option in zip(numbers, options, strict=True)
    )
    variables += build_variable("BootOrder", struct.pack(f"<{len(options)}H", *numbers))
    return store[:VARIABLES_AT] + variables + store[VARIABLES_AT + len(variables) :]


def build_variable(name: str, data: bytes) -> bytes:
    """One record, padded as the next one needs it."""
    encoded = (name + "\0").encode("utf-16-le")
    head = struct.pack("<HBBIQ16xIII", START, ADDED, 0, ATTRIBUTES, 0, 0, len(encoded), len(data))
    record = head + GLOBAL.bytes_le + encoded + data
    return record + b"\xff" * (-len(record) % 4)


def build_option(description: str, path: bytes) -> bytes:
    encoded = (description + "\0").encode("utf-16-le")
    return struct.pack("<IH", ACTIVE, len(path) + len(END)) + encoded + path + END


def pci_node(slot: int) -> bytes:
    return struct.pack("<BBHBB", 1, 1, 6, 0, slot)


def mac_node(mac: str) -> bytes:
    return struct.pack("<BBH32sB", 3, 11, 37, bytes.fromhex(mac.replace(":", "")), 1)


def ipv4_node() -> bytes:
    """No address yet: all zero, by DHCP."""
    return struct.pack("<BBH23x", 3, 12, 27)


def file_node(path: str) -> bytes:
    """A path without a device: the firmware looks for it on every file system it can read."""
    encoded = (path + "\0").encode("utf-16-le")
    return struct.pack("<BBH", 4, 4, 4 + len(encoded)) + encoded
