"""What boots the machine: its architecture, and how far the boot has come. The table from firmware to first file.

Architecture codes are IANA's "Processor Architecture Types" (option 93, RFC 4578 section 2.1); 7 and 9 are both taken
as x64 UEFI, since the RFC's text and its erratum swap them and firmware sends either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A firmware family, as the boot file table and the admin know it."""

    BIOS = "BIOS"
    UEFI_X64 = "UEFI x64"
    UEFI_IA32 = "UEFI IA32"
    UEFI_ARM64 = "UEFI arm64"
    OTHER = "other"
    NONE = "none"
    "Not a network boot: a DHCP client of a running system."


class Stage(StrEnum):
    ROM = "rom"
    "The firmware (or the card's ROM) asks for its first file."
    IPXE = "ipxe"
    "iPXE asks: it gets a script's URL, never a binary again, so that no loop can arise (reference A6.4)."
    SYSTEM = "system"
    "An installer or an installed system: an address and nothing to boot."


@dataclass(frozen=True, slots=True)
class Firmware:
    kind: Kind
    stage: Stage
    http: bool = False
    "UEFI HTTP boot (`HTTPClient`): wants a URL, not a TFTP name."
    code: int | None = None
    "The architecture code it sent."


SYSTEM = Firmware(Kind.NONE, Stage.SYSTEM)


def identify(vendor_class: str, architectures: Sequence[int], user_class: str, ipxe_options: bool) -> Firmware:
    """Who asks, from a DHCP request's options 60, 93, 77, and whether 175 (iPXE's own) is there.

    `vendor_class` is "" when absent. Option 93 lists codes, of which the first known one counts; without it the
    `Arch:` field of option 60 does, then BIOS (reference A5, rows 60 and 93).
    """
    ipxe = ipxe_options or "iPXE" in user_class
    pxe = vendor_class.startswith("PXEClient")
    http = vendor_class.startswith("HTTPClient")
    if not (pxe or http or ipxe):
        return SYSTEM
    codes = tuple(architectures) or _codes_of(vendor_class)
    code = next((each for each in codes if each in KINDS), codes[0] if codes else 0)
    kind, http_code = KINDS.get(code, (Kind.OTHER, False))
    return Firmware(kind, Stage.IPXE if ipxe else Stage.ROM, http or (http_code and not ipxe), code)


def _codes_of(vendor_class: str) -> tuple[int, ...]:
    """The code in `PXEClient:Arch:00007:UNDI:003016`."""
    parts = vendor_class.split(":")
    if len(parts) > 2 and parts[1] == "Arch" and parts[2].isascii() and parts[2].isdigit():
        return (int(parts[2][:5]),)
    return ()


def find_boot_file(firmware: Firmware) -> str | None:
    """The TFTP name of the first file for a firmware that asks for one; None: we have nothing it could run."""
    return BOOT_FILES.get(firmware.kind)


def find_arch(kind: str) -> str:
    """The processors that a firmware family is of (`amd64`), by the family's name; empty: not known. A BIOS does not
    say whether its processor has 64 bits; those of this century have."""
    return ARCHES.get(kind, "")


ARCHES: dict[str, str] = {Kind.BIOS: "amd64", Kind.UEFI_X64: "amd64", Kind.UEFI_IA32: "386", Kind.UEFI_ARM64: "arm64"}

KINDS: dict[int, tuple[Kind, bool]] = {
    0: (Kind.BIOS, False),
    6: (Kind.UEFI_IA32, False),
    7: (Kind.UEFI_X64, False),
    9: (Kind.UEFI_X64, False),
    11: (Kind.UEFI_ARM64, False),
    15: (Kind.UEFI_IA32, True),
    16: (Kind.UEFI_X64, True),
    19: (Kind.UEFI_ARM64, True),
    20: (Kind.BIOS, True),
}
"Code -> (family, whether the code itself says HTTP boot)."

BOOT_FILES: dict[Kind, str] = {
    Kind.BIOS: "undionly.kpxe",
    Kind.UEFI_X64: "snponly.efi",
}
"Family -> the file's name in the distribution's ipxe package. Flat names: Lenovo HR330A fails on `ipxe/...`."
