"""How each firmware gets to the system on its disk: two tables, for its own network boot and for iPXE's.

Its own: a BIOS goes on to the disk at a DHCP answer without a boot file. A UEFI firmware takes such an answer for none
and asks again for a minute, so it is named a file that TFTP refuses at its first packet (docs/decisions/0012). Neither
runs anything on the machine.

iPXE has already asked for its script. Reference features.md 2, row 4: on UEFI a plain `exit` counts as success and ends
in the boot menu of some firmware; `exit 1` makes the boot manager go on to its next entry. On BIOS `sanboot` starts the
first disk, and where that fails `exit` gives the card's ROM its turn to go on.
"""

from __future__ import annotations

from enum import StrEnum

from bootstrapper.boot.firmware import Firmware, Kind, Stage

REFUSED_FILE = "local-disk"
"A TFTP name that nothing is ever served under."


class Way(StrEnum):
    FIRST_DISK = "first-disk"
    "`sanboot` of BIOS drive 0x80."
    NEXT_ENTRY = "next-entry"
    "`exit 1`: the firmware's boot manager takes its next entry."
    ASK_IPXE = "ask-ipxe"
    "The request did not say which firmware: iPXE's own `${platform}` decides on the machine."


def find_way(firmware: Firmware) -> Way:
    if firmware.code is None:
        return Way.ASK_IPXE
    return WAYS.get(firmware.kind, Way.ASK_IPXE)


def find_offered_file(firmware: Firmware) -> str:
    """What DHCP names to firmware that shall boot its disk; empty: nothing."""
    # iPXE would stop at the refusal, and HTTP boot wants a URL.
    if firmware.stage is not Stage.ROM or firmware.http:
        return ""
    return OFFERED_FILES.get(firmware.kind, "")


WAYS: dict[Kind, Way] = {
    Kind.BIOS: Way.FIRST_DISK,
    Kind.UEFI_X64: Way.NEXT_ENTRY,
    Kind.UEFI_IA32: Way.NEXT_ENTRY,
    Kind.UEFI_ARM64: Way.NEXT_ENTRY,
}

OFFERED_FILES: dict[Kind, str] = {
    Kind.BIOS: "",
    Kind.UEFI_X64: REFUSED_FILE,
    Kind.UEFI_IA32: REFUSED_FILE,
    Kind.UEFI_ARM64: REFUSED_FILE,
}
