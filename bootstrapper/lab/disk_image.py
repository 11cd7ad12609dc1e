"""The image that the lab's installer writes to disk: a GPT with Flatcar's partition and file system labels, bootable by
BIOS and by UEFI. Made without mounting or loop devices, so no privilege is needed.

GRUB for BIOS has to be put in place by hand: `boot.img` in the first sector is told where `core.img` starts, and
core.img's own first sector where its rest does (GRUB's include/grub/i386/pc/boot.h gives both offsets).
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

SECTOR = 512
MIB = 1024 * 1024
GRUB = Path("/usr/lib/grub")
BOOT_KERNEL_SECTOR = 0x5C
"In boot.img: the 64-bit sector where core.img starts."
BOOT_DRIVE_CHECK = 0x66
"In boot.img: a jump that two NOPs replace on a hard disk, for a BIOS that hands over a wrong drive number."
CORE_FIRST_BLOCK = 0x1F4
"In core.img's first sector: where the rest starts (64 bits)."


@dataclass(frozen=True, slots=True)
class Partition:
    number: int
    label: str
    kind: str
    "sgdisk's type code."
    start_mib: int
    size_mib: int


PARTITIONS = (
    Partition(1, "EFI-SYSTEM", "ef00", 1, 62),
    Partition(2, "BIOS-BOOT", "ef02", 63, 1),
    Partition(6, "OEM", "8300", 64, 8),
    Partition(9, "ROOT", "8300", 72, 88),
)
"Numbers and labels as in a Flatcar image; small, since every byte is unpacked by an emulated processor."

GRUB_CFG = """\
set timeout=0
search --no-floppy --label EFI-SYSTEM --set esp
search --no-floppy --label OEM --set oem
set linux_append=""
if [ -f ($oem)/grub.cfg ]; then source ($oem)/grub.cfg; fi
echo "lab: starting the installed system"
linux ($esp)/flatcar/vmlinuz-a root=LABEL=ROOT console=ttyS0,115200n8 quiet $linux_append
initrd ($esp)/flatcar/initrd
boot
"""
BIOS_MODULES = ("biosdisk", "part_gpt", "fat", "ext2", "normal", "linux", "configfile", "search", "search_label",
                "echo", "test", "serial", "terminal")  # fmt: skip
EFI_MODULES = ("part_gpt", "fat", "ext2", "normal", "linux", "configfile", "search", "search_label", "echo", "test")
EARLY_CFG = "search --no-floppy --label EFI-SYSTEM --set root\nset prefix=($root)/grub\n"


def lay_out(usr_bytes: int) -> tuple[Partition, ...]:
    """The partitions, with USR-A of that size before ROOT, which comes last so that it can grow; 0: without."""
    if not usr_bytes:
        return PARTITIONS
    *others, root = PARTITIONS
    usr = Partition(3, "USR-A", "8300", root.start_mib, -(-usr_bytes // MIB))
    return (*others, usr, replace(root, start_mib=usr.start_mib + usr.size_mib))


def build_disk_image(kernel: bytes, initrd: bytes, work: Path, usr: Path | None = None) -> Path:
    """The raw image, as a sparse file below `work`; `usr` is a read-only file system, for its partition."""
    disk = work / "disk.img"
    partitions = lay_out(usr.stat().st_size if usr is not None else 0)
    places = {part.label: part for part in partitions}
    with disk.open("wb") as opened:
        opened.truncate((partitions[-1].start_mib + partitions[-1].size_mib + 1) * MIB)
    _run(["sgdisk", "--clear", *_table(partitions), str(disk)])
    contents = {
        "EFI-SYSTEM": _build_esp(kernel, initrd, work).read_bytes(),
        "BIOS-BOOT": _build_core(work),
        "OEM": _build_ext4("OEM", 8, work).read_bytes(),
        "ROOT": _build_ext4("ROOT", 88, work, journal=usr is not None).read_bytes(),
    }
    if usr is not None:
        contents["USR-A"] = usr.read_bytes()
    for label, data in contents.items():
        _copy_into(disk, places[label].start_mib * MIB, data)
    core_sector = places["BIOS-BOOT"].start_mib * MIB // SECTOR
    boot = patch_boot((GRUB / "i386-pc/boot.img").read_bytes(), core_sector)
    _copy_into(disk, 0, boot[:440])  # the rest of the sector holds the protective partition table
    return disk


def _table(partitions: Sequence[Partition]) -> list[str]:
    words = []
    for part in partitions:
        end = (part.start_mib + part.size_mib) * MIB // SECTOR - 1
        words += [f"--new={part.number}:{part.start_mib}M:{end}"]
        words += [f"--change-name={part.number}:{part.label}", f"--typecode={part.number}:{part.kind}"]
    return words


def patch_boot(boot: bytes, core_sector: int) -> bytes:
    patched = bytearray(boot)
    struct.pack_into("<Q", patched, BOOT_KERNEL_SECTOR, core_sector)
    patched[BOOT_DRIVE_CHECK : BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
    return bytes(patched)


def patch_core(core: bytes, core_sector: int) -> bytes:
    patched = bytearray(core)
    struct.pack_into("<Q", patched, CORE_FIRST_BLOCK, core_sector + 1)
    return bytes(patched)


def _build_core(work: Path) -> bytes:
    early, core = work / "early.cfg", work / "core.img"
    early.write_text("serial\nterminal_output serial\n" + EARLY_CFG)
    _run(["grub-mkimage", "-O", "i386-pc", "-d", str(GRUB / "i386-pc"), "-p", "/grub", "-c", str(early),
          "-o", str(core), *BIOS_MODULES])  # fmt: skip
    bios_boot = next(part for part in PARTITIONS if part.label == "BIOS-BOOT")
    return patch_core(core.read_bytes(), bios_boot.start_mib * MIB // SECTOR)


def _build_esp(kernel: bytes, initrd: bytes, work: Path) -> Path:
    early, loader, esp = work / "early-efi.cfg", work / "bootx64.efi", work / "esp.img"
    early.write_text(EARLY_CFG)
    _run(["grub-mkimage", "-O", "x86_64-efi", "-d", str(GRUB / "x86_64-efi"), "-p", "/grub", "-c", str(early),
          "-o", str(loader), *EFI_MODULES])  # fmt: skip
    with esp.open("wb") as opened:
        opened.truncate(next(part.size_mib for part in PARTITIONS if part.label == "EFI-SYSTEM") * MIB)
    _run(["mkfs.vfat", "-F", "32", "-s", "1", "-n", "EFI-SYSTEM", str(esp)])
    (work / "vmlinuz").write_bytes(kernel)
    (work / "initrd").write_bytes(initrd)
    (work / "grub.cfg").write_text(GRUB_CFG)
    _run(["mmd", "-i", str(esp), "::/EFI", "::/EFI/BOOT", "::/grub", "::/flatcar"])
    for source, target in (("bootx64.efi", "EFI/BOOT/BOOTX64.EFI"), ("grub.cfg", "grub/grub.cfg"),
                           ("vmlinuz", "flatcar/vmlinuz-a"), ("initrd", "flatcar/initrd")):  # fmt: skip
        _run(["mcopy", "-i", str(esp), str(work / source), f"::/{target}"])
    return esp


def _build_ext4(label: str, size_mib: int, work: Path, journal: bool = False) -> Path:
    path = work / f"{label}.img"
    plain = ["-O", "^metadata_csum" if journal else "^has_journal,^metadata_csum", "-m", "0"]
    _run(["mkfs.ext4", "-q", "-F", "-L", label, *plain, str(path), f"{size_mib}M"])
    return path


def _copy_into(disk: Path, offset: int, data: bytes) -> None:
    """Write `data`, leaving out blocks of zeros so that the file stays sparse."""
    with disk.open("r+b") as opened:
        for start in range(0, len(data), MIB):
            block = data[start : start + MIB]
            if block.strip(b"\0"):
                opened.seek(offset + start)
                opened.write(block)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
