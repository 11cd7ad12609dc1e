"""The ways to the local disk, by firmware."""

from __future__ import annotations

import pytest

from bootstrapper.boot.firmware import SYSTEM, Firmware, Kind, Stage
from bootstrapper.boot.local_disk import find_offered_file


@pytest.mark.parametrize(
    ("firmware", "name"),
    [
        (Firmware(Kind.BIOS, Stage.ROM, code=0), ""),
        (Firmware(Kind.UEFI_X64, Stage.ROM, code=7), "local-disk"),
        (Firmware(Kind.UEFI_IA32, Stage.ROM, code=6), "local-disk"),
        (Firmware(Kind.UEFI_ARM64, Stage.ROM, code=11), "local-disk"),
        (Firmware(Kind.UEFI_X64, Stage.ROM, http=True, code=16), ""),
        (Firmware(Kind.UEFI_X64, Stage.IPXE, code=7), ""),
        (Firmware(Kind.OTHER, Stage.ROM, code=31), ""),
        (SYSTEM, ""),
    ],
)
def test_only_uefi_firmware_itself_is_offered_a_file_to_be_refused(firmware: Firmware, name: str) -> None:
    assert find_offered_file(firmware) == name
