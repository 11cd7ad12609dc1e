"""How a machine that is installed gets to the system on its disk when it boots over the network all the same.

Two tables by firmware, for its own network boot and for iPXE's; and one, `ROUTES`, by the description's `local_boot`,
for a machine whose firmware needs another way. None of them runs anything on the machine but our iPXE, and that only to
start the disk (docs/decisions/0014).

Firmware's own: a BIOS goes on to the disk at a DHCP answer without a boot file. A UEFI firmware takes such an answer
for none and asks again for a minute, so it is named a file that TFTP refuses at its first packet (docs/decisions/0012).

iPXE has already asked for its script. Reference features.md 2, row 4: on UEFI a plain `exit` counts as success and ends
in the boot menu of some firmware; `exit 1` makes the boot manager go on to its next entry. On BIOS `sanboot` starts the
first disk, and where that fails `exit` gives the card's ROM its turn to go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bootstrapper.boot.firmware import Firmware, Kind, Stage, find_boot_file
from bootstrapper.cluster.model import LocalBoot

REFUSED_FILE = "local-disk"
"A TFTP name that nothing is ever served under."


class Way(StrEnum):
    """What the script does that iPXE, GRUB or SYSLINUX is given."""

    FIRST_DISK = "first-disk"
    "Starts the first disk (iPXE: `sanboot` of BIOS drive 0x80)."
    NEXT_ENTRY = "next-entry"
    "`exit 1`: the firmware's boot manager takes its next entry."
    EXIT = "exit"
    "`exit`: ends as if all had gone well."
    ASK_IPXE = "ask-ipxe"
    "The request did not say which firmware: iPXE's own `${platform}` decides on the machine."


class Hand(StrEnum):
    """What DHCP hands to the firmware itself."""

    BY_FIRMWARE = "by firmware"
    NO_FILE = "no file"
    REFUSED_FILE = "refused file"
    IPXE = "ipxe"
    "Our iPXE, which then asks for its script."
    SILENCE = "silence"
    "No answer to any network boot; the system on the disk is given its address."


@dataclass(frozen=True, slots=True)
class Route:
    hand: Hand
    way: Way | None = None
    "None: by the firmware."
    missing: bool = False
    "The script is answered with 404: iPXE, and firmware that fetches it itself, goes on to its next entry."


ROUTES: dict[LocalBoot, Route] = {
    LocalBoot.AUTO: Route(Hand.BY_FIRMWARE),
    LocalBoot.NO_FILE: Route(Hand.NO_FILE),
    LocalBoot.REFUSED_FILE: Route(Hand.REFUSED_FILE),
    LocalBoot.NO_OFFER: Route(Hand.SILENCE),
    LocalBoot.FIRST_DISK: Route(Hand.IPXE, Way.FIRST_DISK),
    LocalBoot.NEXT_ENTRY: Route(Hand.IPXE, Way.NEXT_ENTRY),
    LocalBoot.EXIT: Route(Hand.IPXE, Way.EXIT),
    LocalBoot.HTTP_404: Route(Hand.IPXE, missing=True),
}


def find_way(firmware: Firmware, local_boot: LocalBoot = LocalBoot.AUTO) -> Way:
    way = ROUTES[local_boot].way
    if way is not None:
        return way
    if firmware.code is None:
        return Way.ASK_IPXE
    return WAYS.get(firmware.kind, Way.ASK_IPXE)


def find_offered_file(firmware: Firmware, local_boot: LocalBoot = LocalBoot.AUTO) -> str:
    """What DHCP names to firmware that shall boot its disk; empty: nothing."""
    # iPXE would stop at the refusal, and HTTP boot wants a URL.
    if firmware.stage is not Stage.ROM or firmware.http:
        return ""
    match ROUTES[local_boot].hand:
        case Hand.NO_FILE | Hand.SILENCE:
            return ""
        case Hand.REFUSED_FILE:
            return REFUSED_FILE
        case Hand.IPXE:
            return find_boot_file(firmware) or OFFERED_FILES.get(firmware.kind, "")
        case Hand.BY_FIRMWARE:
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
