"""A described machine as a QEMU command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import DiskSelector
from bootstrapper.errors import UserError
from bootstrapper.lab.machine import Card, Disk, FirmwareKind, VirtualMachine, build_command, build_machine, choose_disk
from bootstrapper.lab.rack import choose_firmware

ROOT = Path(__file__).parent.parent.parent
DIRECTORY = Path("/state/lab")


def machine_of(firmware: FirmwareKind, **values: object) -> VirtualMachine:
    return VirtualMachine(
        name="node1",
        firmware=firmware,
        cards=(Card("00:25:90:c0:f7:80", "t0.0"),),
        disks=(Disk(DIRECTORY / "node1.disk"),),
        console=DIRECTORY / "node1.console",
        variables=DIRECTORY / "node1.vars",
        **values,  # type: ignore[arg-type]
    )


def test_bios_boots_by_the_cards_own_rom_then_the_disk() -> None:
    assert build_command(machine_of(FirmwareKind.BIOS), "tcg") == [
        "qemu-system-x86_64", "-name", "node1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35,graphics=off", "-accel", "tcg", "-smp", "1", "-m", "1024", "-cpu", "max", "-rtc", "base=utc",
        "-chardev", "file,id=console,append=on,path=/state/lab/node1.console", "-serial", "chardev:console",
        "-device", "virtio-rng-pci,addr=0x1e",
        "-netdev", "tap,id=net0,ifname=t0.0,script=no,downscript=no",
        "-device", "virtio-net-pci,netdev=net0,mac=00:25:90:c0:f7:80,addr=0x2,bootindex=1",
        "-drive", "if=none,id=disk0,format=raw,cache=unsafe,discard=unmap,file=/state/lab/node1.disk",
        "-device", "virtio-blk-pci,drive=disk0,bootindex=2",
    ]  # fmt: skip


def test_uefi_boots_by_its_own_pxe_stack() -> None:
    command = " ".join(build_command(machine_of(FirmwareKind.UEFI), "kvm"))
    assert "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd" in command
    assert "if=pflash,unit=1,format=raw,file=/state/lab/node1.vars" in command
    assert "mac=00:25:90:c0:f7:80,addr=0x2,romfile= " in command
    assert "-device virtio-rng-pci" in command
    assert "bootindex" not in command
    assert "-accel kvm" in command
    assert "-cpu host" in command


def test_identity_goes_to_the_firmware() -> None:
    command = " ".join(build_command(machine_of(FirmwareKind.BIOS, uuid="4c4c4544-0046", serial="A,1"), "tcg"))
    assert "-uuid 4c4c4544-0046" in command
    assert "-smbios type=1,serial=A,,1" in command


@pytest.mark.parametrize(
    ("selector", "arguments"),
    [
        (DiskSelector(), "-device virtio-blk-pci,drive=disk0,bootindex=2"),
        (DiskSelector(serial="S1"), "-device virtio-blk-pci,drive=disk0,bootindex=2,serial=S1"),
        (DiskSelector(path="/dev/disk/by-path/pci-0000:00:1f.2-ata-1"),
         "-fw_cfg name=opt/bootstrapper/disk-path,string=/dev/disk/by-path/pci-0000:00:1f.2-ata-1"),
        (DiskSelector(model="INTEL SSD", rotational=False),
         "-device scsi-hd,bus=scsi0.0,drive=disk0,bootindex=2,product=INTEL SSD,rotation_rate=1"),
        (DiskSelector(wwn="0x5002538D00000001"),
         "-device scsi-hd,bus=scsi0.0,drive=disk0,bootindex=2,wwn=0x5002538d00000001"),
        (DiskSelector(transport="nvme"), "-device nvme,drive=disk0,bootindex=2,serial=lab"),
    ],
)  # fmt: skip
def test_the_disk_is_the_one_described(selector: DiskSelector, arguments: str) -> None:
    disk = choose_disk(selector, DIRECTORY / "d", "node1")
    vm = VirtualMachine("node1", FirmwareKind.BIOS, (Card("a", "t"),), (disk,), Path("/c"), Path("/v"))
    assert arguments in " ".join(build_command(vm, "tcg"))


@pytest.mark.parametrize(
    ("selector", "size"),
    [
        (DiskSelector(), 12_000_000_000),
        (DiskSelector(min_bytes=100_000_000_000), 100_000_000_000),
        (DiskSelector(max_bytes=11_000_000_000), 11_000_000_000),
    ],
)
def test_the_disk_has_the_size_described(selector: DiskSelector, size: int) -> None:
    assert choose_disk(selector, DIRECTORY / "d", "node1").size_bytes == size


def test_a_disk_that_cannot_be_emulated_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="node1: the lab has no disk with transport sas"):
        choose_disk(DiskSelector(transport="sas"), DIRECTORY / "d", "node1")


def test_the_example_rack() -> None:
    cluster = load((ROOT / "cluster-desc.example.yaml").read_text())
    vms = [build_machine(each, index, choose_firmware("mixed", index), DIRECTORY, 1024)
           for index, each in enumerate(cluster.machines)]  # fmt: skip
    assert [(vm.name, vm.firmware.value, vm.cards[0].mac, vm.cards[0].tap) for vm in vms] == [
        ("node1", "bios", "00:25:90:c0:f7:80", "t0.0"),
        ("node2", "uefi", "0c:c4:7a:82:c5:bc", "t1.0"),
        ("node3", "bios", "0c:c4:7a:82:c5:b8", "t2.0"),
        ("node4", "uefi", "00:25:90:c0:f6:ee", "t3.0"),
        ("00-25-90-c0-f6-d6", "bios", "00:25:90:c0:f6:d6", "t4.0"),
    ]


@pytest.mark.parametrize(("choice", "found"), [("bios", "bios bios"), ("uefi", "uefi uefi"), ("mixed", "bios uefi")])
def test_firmware(choice: str, found: str) -> None:
    assert f"{choose_firmware(choice, 0)} {choose_firmware(choice, 1)}" == found
