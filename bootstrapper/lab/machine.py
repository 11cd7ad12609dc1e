"""One described machine as a virtual one: its cards, its disk, its firmware, and the QEMU command line that is it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bootstrapper.cluster.model import DiskSelector, Machine
from bootstrapper.errors import UserError
from bootstrapper.lab.uefi import FIRST_SLOT

GB = 1_000_000_000
DISK_BYTES = 12 * GB
"Sparse. The installer wants 10 GB, since the real image needs 8.5 GiB."
RNG_SLOT = 0x1E
"Out of the way of the cards and disks."
MEMORY_MIB = 1024
"Enough for the test system."
REAL_MEMORY_MIB = 4096
"Flatcar's PXE image lives in memory whole and needs 3 GB."
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"


class FirmwareKind(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True)
class Disk:
    path: Path
    size_bytes: int = DISK_BYTES
    serial: str = ""
    model: str = ""
    wwn: str = ""
    rotational: bool | None = None
    transport: str = ""
    wanted_path: str = ""
    "The path that the description gives the disk; the test system makes it lead to this disk."


@dataclass(frozen=True, slots=True)
class Card:
    mac: str
    tap: str


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    name: str
    firmware: FirmwareKind
    cards: tuple[Card, ...]
    disks: tuple[Disk, ...]
    console: Path
    "Where its serial console is kept."
    variables: Path
    "UEFI's own settings; unused with BIOS."
    uuid: str = ""
    serial: str = ""
    memory_mib: int = MEMORY_MIB


def build_machine(
    machine: Machine, index: int, firmware: FirmwareKind, directory: Path, memory_mib: int
) -> VirtualMachine:
    """`machine`, the `index`th of the rack (from 0), with its files in `directory`.

    Raises UserError when the description asks for a disk that cannot be emulated.
    """
    name = machine.host
    disks = [choose_disk(machine.disk, directory / f"{name}.disk", name)]
    if machine.data_disk is not None:
        disks.append(choose_disk(machine.data_disk, directory / f"{name}.data", name))
    return VirtualMachine(
        name=name,
        firmware=firmware,
        cards=tuple(Card(mac, f"t{index}.{number}") for number, mac in enumerate(machine.macs)),
        disks=tuple(disks),
        console=directory / f"{name}.console",
        variables=directory / f"{name}.vars",
        uuid=machine.uuid or "",
        serial=machine.serial or "",
        memory_mib=memory_mib,
    )


def choose_disk(selector: DiskSelector, path: Path, host: str) -> Disk:
    """A disk that `selector` matches."""
    if selector.transport not in (None, "virtio", "nvme"):
        raise UserError(
            f"machine {host}: the lab has no disk with transport {selector.transport}",
            "leave `transport` out, or use virtio or nvme, in the file for the lab",
        )
    size = max(DISK_BYTES, selector.min_bytes or 0)
    if selector.max_bytes is not None:
        size = min(size, selector.max_bytes)
    return Disk(
        path=path,
        size_bytes=size // 512 * 512,
        serial=selector.serial or "",
        model=selector.model or "",
        wwn=selector.wwn or "",
        rotational=selector.rotational,
        transport=selector.transport or "",
        wanted_path=selector.path or "",
    )


def build_command(vm: VirtualMachine, accelerator: str) -> list[str]:
    """The QEMU command line. The network comes first in the boot order, then the disk, on every firmware.

    A reset ends QEMU, and the rack powers the machine on again: after a reset in place the emulation is several times
    slower (a kernel's start took 23 s in place of 4).
    """
    command = [
        "qemu-system-x86_64",
        "-name",
        vm.name,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]
    command += ["-machine", "q35,graphics=off", "-accel", accelerator, "-smp", "1", "-m", str(vm.memory_mib)]
    command += ["-cpu", "host" if accelerator == "kvm" else "max", "-rtc", "base=utc"]
    command += ["-chardev", f"file,id=console,append=on,path={_escaped(vm.console)}", "-serial", "chardev:console"]
    # Since the fix of PixieFail, edk2's network stack does not start without a source of randomness (A7 row 9).
    command += ["-device", f"virtio-rng-pci,addr={RNG_SLOT:#x}"]
    if vm.uuid:
        command += ["-uuid", vm.uuid]
    if vm.serial:
        command += ["-smbios", f"type=1,serial={_escaped(vm.serial)}"]
    if vm.firmware is FirmwareKind.UEFI:
        command += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"]
        command += ["-drive", f"if=pflash,unit=1,format=raw,file={_escaped(vm.variables)}"]
    for number, card in enumerate(vm.cards):
        command += ["-netdev", f"tap,id=net{number},ifname={card.tap},script=no,downscript=no"]
        # BIOS: the card's own ROM is iPXE. UEFI: no ROM, so that edk2's own PXE stack runs, in an order of `uefi`'s.
        how = "romfile=" if vm.firmware is FirmwareKind.UEFI else f"bootindex={number + 1}"
        slot = FIRST_SLOT + number
        command += ["-device", f"virtio-net-pci,netdev=net{number},mac={card.mac},addr={slot:#x},{how}"]
    for number, disk in enumerate(vm.disks):
        index = f",bootindex={len(vm.cards) + number + 1}" if vm.firmware is FirmwareKind.BIOS else ""
        command += _disk_arguments(disk, number, index)
    return command


def _disk_arguments(disk: Disk, number: int, boot_index: str) -> list[str]:
    name = f"disk{number}"
    arguments = ["-drive", f"if=none,id={name},format=raw,cache=unsafe,discard=unmap,file={_escaped(disk.path)}"]
    serial = f",serial={_escaped(disk.serial)}" if disk.serial else ""
    if disk.transport == "nvme":
        arguments += ["-device", f"nvme,drive={name}{boot_index}{serial or ',serial=lab'}"]
    elif disk.model or disk.wwn or disk.rotational is not None:
        model = f",product={_escaped(disk.model)}" if disk.model else ""
        wwn = f",wwn=0x{disk.wwn.lower().removeprefix('wwn-').removeprefix('0x')}" if disk.wwn else ""
        rate = "" if disk.rotational is None else f",rotation_rate={7200 if disk.rotational else 1}"
        arguments += ["-device", f"virtio-scsi-pci,id=scsi{number}"]
        arguments += [
            "-device",
            f"scsi-hd,bus=scsi{number}.0,drive={name}{boot_index}{serial}{model}{wwn}{rate}",
        ]
    else:
        arguments += ["-device", f"virtio-blk-pci,drive={name}{boot_index}{serial}"]
    if disk.wanted_path and number == 0:
        arguments += ["-fw_cfg", f"name=opt/bootstrapper/disk-path,string={_escaped(disk.wanted_path)}"]
    return arguments


def _escaped(value: object) -> str:
    """QEMU reads a comma as the end of a value; two mean one."""
    return str(value).replace(",", ",,")
