"""install.sh's guard against real signatures, made by the real programs, on loop devices."""

from __future__ import annotations

import json
import shlex
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "templates" / "nodes" / "install"
SIZE = 11_000_000_000  # sparse

pytestmark = pytest.mark.interop

Run = Callable[..., str]


def sh(*command: str, data: bytes = b"") -> str:
    done = subprocess.run(command, capture_output=True, input=data, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(SIZE)
    name = sh("losetup", "--show", "--find", "--partscan", str(image)).strip()
    try:
        yield name
    finally:
        subprocess.run(["partx", "--delete", name], capture_output=True)
        sh("losetup", "--detach", name)


@pytest.fixture
def call(device: str, tmp_path: Path) -> Run:
    """`call(commands, generation=2, ...)`: lib-disk.sh with `device` shown as the machine's only disk."""
    authority = tmp_path / "authority.pem"
    authority.write_text("the authority\n")

    def run(
        commands: str, generation: int = 1, wipe: str = "no", cluster: str = "prod", macs: str = "", order: str = ""
    ) -> str:
        mac = "00:25:90:c0:f7:80"
        script = f"""
set -u -o pipefail
CLUSTER_NAME={cluster} MACHINE_HOST=node1 MACHINE_MAC={mac} MACHINE_MACS="{macs or mac}" GENERATION={generation}
ORDER_ID={order} WIPE={wipe} IMAGE_VERSION=1.2.3 AUTHORITY={authority} OEM_GRUB={tmp_path / "grub"}
. {shlex.quote(str(SCRIPTS / "lib-disk.sh"))}
list_block_devices() {{
    lsblk --json --bytes --output NAME,PATH,TYPE,RM,RO,SIZE,ROTA,TRAN,MODEL,SERIAL,WWN,MOUNTPOINT {device} \\
        | jq '.blockdevices |= map(.type = "disk")'
}}
choose_disk || {{ echo "refused: $reason"; exit; }}
{commands}
"""
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


JUDGE = 'if judge_disk; then echo "$verdict"; else echo "refused: $reason"; fi'


def test_an_empty_disk_may_be_used(call: Run) -> None:
    assert call(JUDGE) == "empty"


def test_an_empty_partition_table_is_empty(call: Run, device: str) -> None:
    sh("sgdisk", "--clear", device)
    assert call(JUDGE) == "empty"


def write_at(device: str, offset: int, data: bytes) -> None:
    with Path(device).open("r+b") as file:
        file.seek(offset)
        file.write(data)


def make_raid_member(device: str) -> None:
    """A version 1.2 superblock (Linux' md_p.h): this kernel has no RAID for mdadm to make one with."""
    block = bytearray(256 + 2 * 2)
    struct.pack_into("<III", block, 0, 0xA92B4EFC, 1, 0)
    block[16:32] = bytes(range(16))
    struct.pack_into("<Q", block, 144, 8)  # super_offset, in sectors
    struct.pack_into("<I", block, 220, 2)  # max_dev
    total = sum(struct.unpack(f"<{len(block) // 4}I", bytes(block)))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    write_at(device, 4096, bytes(block))


def make_zfs_member(device: str) -> None:
    for index in range(16):
        write_at(device, 128 * 1024 + index * 1024, struct.pack("<QQ", 0x00BAB10C, 5000))


CHEAP = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "-")
MAKERS: dict[str, Callable[[str], object]] = {
    "ext4": lambda device: sh("mkfs.ext4", "-q", device),
    "xfs": lambda device: sh("mkfs.xfs", "-q", device),
    "btrfs": lambda device: sh("mkfs.btrfs", "-q", device),
    "vfat": lambda device: sh("mkfs.vfat", device),
    "swap": lambda device: sh("mkswap", device),
    "LVM2_member": lambda device: sh("pvcreate", "--yes", device),
    "linux_raid_member": make_raid_member,
    "zfs_member": make_zfs_member,
    "ceph_bluestore": lambda device: write_at(device, 0, b"bluestore block device\n" + b"0" * 36 + b"\n"),
    "crypto_LUKS": lambda device: sh("cryptsetup", "luksFormat", "--batch-mode", *CHEAP, device, data=b"secret"),
    "bcache": lambda device: sh("make-bcache", "-B", device),
    "ntfs": lambda device: sh("mkfs.ntfs", "-q", "-F", "-Q", device),
    "iso9660": lambda device: write_at(device, 32768, b"\1CD001\1\0" + b" " * 64),
    "VMFS_volume_member": lambda device: write_at(device, 1024 * 1024, b"\x0d\xd0\x01\xc0" + b"\1" * 256),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_data_on_the_whole_disk_stops(call: Run, device: str, kind: str) -> None:
    MAKERS[kind](device)
    answer = call(JUDGE)
    assert answer.startswith(f"refused: {device} holds data that is not ours (")
    assert f"{kind} on the whole disk" in answer
    assert "reinstall node1 --wipe" in answer
    assert call(JUDGE, wipe="yes") == "wipe"


@pytest.mark.parametrize("kind", MAKERS)
def test_data_in_a_partition_stops(call: Run, device: str, kind: str) -> None:
    sh("sgdisk", "--new=1:0:+1G", "--change-name=1:data", device)
    sh("partx", "--update", device)
    MAKERS[kind](f"{device}p1")
    answer = call(JUDGE)
    assert f'partition {device[5:]}p1 "data": ' in answer
    assert kind in answer
    assert answer.startswith("refused: ")


def test_a_partition_without_known_content_stops(call: Run, device: str) -> None:
    sh("sgdisk", "--new=1:0:+1G", device)
    assert "p1: no known content" in call(JUDGE)


@pytest.mark.parametrize("table", [False, True])
def test_content_that_nothing_knows_stops(call: Run, device: str, table: bool) -> None:
    """A database or a virtual machine on the bare disk, encryption without a header."""
    if table:
        sh("sgdisk", "--clear", device)
    write_at(device, 600_000, b"somebody's row")
    answer = call(JUDGE)
    assert answer.startswith("refused: ")
    assert "data of an unknown kind at its beginning" in answer
    assert call(JUDGE, wipe="yes") == "wipe"
    assert call("release_disk && echo released") == "released"
    assert call(JUDGE) == "empty"


def test_a_disk_cleared_by_hand_is_empty(call: Run, device: str) -> None:
    write_image(device)
    sh("sgdisk", "--zap-all", device)
    sh("dd", "if=/dev/zero", f"of={device}", "bs=1M", "count=1", "conv=nocreat")
    assert call(JUDGE) == "empty"


def test_a_dos_table_counts_as_well(call: Run, device: str) -> None:
    sh("sfdisk", device, data=b"label: dos\n,1G\n")
    assert "p1: no known content" in call(JUDGE)


def test_a_damaged_table_is_not_taken_for_an_empty_one(call: Run, device: str) -> None:
    sh("sgdisk", "--new=1:0:+1G", device)
    write_at(device, 512, b"\0" * 512)
    write_at(device, 1024, b"\xff" * 4096)
    assert call(JUDGE).startswith("refused: ")


def test_too_small(call: Run) -> None:
    assert call("MIN_DISK_BYTES=12000000000; " + JUDGE).endswith(
        "has 11000000000 bytes and the image needs 12000000000"
    )


def test_sectors_of_4096_bytes_are_refused(call: Run, device: str) -> None:
    sh("losetup", "--sector-size", "4096", device)
    assert "sectors of 4096 bytes and the image needs 512" in call(JUDGE)


def write_image(device: str) -> None:
    """The partitions of a Flatcar image that matter here."""
    sh("sgdisk", "--clear", "--new=1:0:+64M", "--change-name=1:EFI-SYSTEM", "--new=6:0:+256M", "--change-name=6:OEM",
       "--new=9:0:+256M", "--change-name=9:ROOT", device)  # fmt: skip
    subprocess.run(["partx", "--add", device], capture_output=True)
    sh("mkfs.btrfs", "-q", "-f", "-L", "OEM", f"{device}p6")
    sh("mkfs.ext4", "-q", "-L", "ROOT", f"{device}p9")


def read_oem(device: str, tmp_path: Path, name: str) -> str:
    at = tmp_path / "at"
    at.mkdir(exist_ok=True)
    sh("mount", "-o", "ro", f"{device}p6", str(at))
    try:
        return (at / name).read_text()
    finally:
        sh("umount", str(at))


def test_our_own_earlier_install_is_ours_and_no_other(call: Run, device: str, tmp_path: Path) -> None:
    (tmp_path / "grub").write_text('set linux_append="$linux_append console=ttyS0"\n')
    write_image(device)
    assert "refused" in call(JUDGE)  # a Flatcar without our marker is somebody's
    assert call("write_oem && echo written", generation=3) == "written"
    assert "console=ttyS0" in read_oem(device, tmp_path, "grub.cfg")
    marker = json.loads(read_oem(device, tmp_path, "bootstrapper.json"))
    assert {key: marker[key] for key in ("cluster", "mac", "host", "generation", "version")} == {
        "cluster": "prod", "mac": "00:25:90:c0:f7:80", "host": "node1", "generation": 3, "version": "1.2.3",
    }  # fmt: skip

    assert call(JUDGE, generation=4) == "ours"
    assert call(JUDGE, generation=4, macs="00:25:90:c0:f7:99 00:25:90:c0:f7:80") == "ours"
    assert call(JUDGE, generation=4, macs="00:25:90:c0:f7:99").startswith("refused: ")
    assert call(JUDGE, generation=4, cluster="other").startswith("refused: ")
    assert call(JUDGE, generation=3) == "adopt"
    assert call(JUDGE, generation=3, wipe="yes") == "adopt", "the order was carried out, only its report was lost"
    assert call(JUDGE, generation=4, wipe="yes") == "wipe"

    assert call(JUDGE, generation=2) == "adopt", "a later install of the same server: the first one is done"

    (tmp_path / "authority.pem").write_text("a new authority: the state was lost\n")
    lost = call(JUDGE, generation=2)
    assert "already holds install 3 of this machine and the server orders install 2" in lost
    assert "was the server's state lost?" in lost
    assert call(JUDGE, generation=2, wipe="yes") == "wipe"
    assert "was the server's state lost?" in call(JUDGE, generation=3)


def test_an_order_is_known_by_its_identity_and_not_by_its_number(call: Run, device: str, tmp_path: Path) -> None:
    """Of a server that was restored from a backup, and gives the same numbers again."""
    write_image(device)
    assert call("write_oem && echo written", generation=2, order="b2") == "written"
    assert call(JUDGE, generation=2, order="b2") == "adopt"
    for number in (1, 2, 3):
        assert call(JUDGE, generation=number, order="d4") == "ours"
        assert call(JUDGE, generation=number, order="d4", wipe="yes") == "wipe"
    assert call("judge_disk && write_oem && echo written", generation=2, order="c3") == "written"
    assert json.loads(read_oem(device, tmp_path, "bootstrapper.json"))["earlier"] == ["b2"]
    assert call(JUDGE, generation=2, order="b2") == "adopt", "it was carried out before the one that is there"
    assert call(JUDGE, generation=1) == "adopt", "the first install was before every order"


def test_the_oem_partition_of_an_earlier_install_may_be_mounted(call: Run, device: str, tmp_path: Path) -> None:
    write_image(device)
    assert call("write_oem && echo written") == "written"
    at = tmp_path / "mounted"
    at.mkdir()
    sh("mount", f"{device}p6", str(at))
    assert "mounted at" in call(JUDGE, generation=2)  # anywhere else, somebody uses it
    sh("umount", str(at))
    oem = Path("/oem")
    oem.mkdir()
    try:
        sh("mount", f"{device}p6", str(oem))
        assert call(JUDGE, generation=2) == "ours"
        assert not oem.is_mount()
    finally:
        subprocess.run(["umount", str(oem)], capture_output=True)
        oem.rmdir()


def test_a_spoilt_marker_is_nobodys(call: Run, device: str, tmp_path: Path) -> None:
    write_image(device)
    at = tmp_path / "at"
    at.mkdir()
    for text in ("", "no json", "[1]", '{"cluster": "prod", "mac": "00:25:90:c0:f7:80", "generation": "1; reboot"}'):
        sh("mount", f"{device}p6", str(at))
        (at / "bootstrapper.json").write_text(text)
        sh("umount", str(at))
        assert call(JUDGE, generation=9).startswith("refused: "), text


def test_an_install_cut_short_is_ours(call: Run, device: str) -> None:
    assert call("mark_begun && echo marked", generation=2) == "marked"
    assert call(JUDGE, generation=2) == "empty"
    write_image(device)
    assert call(JUDGE, generation=2) == "interrupted"
    assert call(JUDGE, generation=3, macs="00:25:90:c0:f7:99 00:25:90:c0:f7:80") == "interrupted"
    assert call(JUDGE, generation=2, macs="00:25:90:c0:f7:99").startswith("refused: ")
    assert call(JUDGE, generation=2, cluster="pro").startswith("refused: ")
    sh("sgdisk", "--new=10:0:+1G", "--change-name=10:data", device)
    assert call(JUDGE, generation=2).startswith("refused: ")
    sh("sgdisk", "--delete=10", device)
    assert call("clear_begun && echo cleared", generation=2) == "cleared"
    assert call(JUDGE, generation=2).startswith("refused: ")


def test_another_flatcar_in_the_machine_is_told(call: Run, device: str, tmp_path: Path) -> None:
    image = tmp_path / "other.img"
    with image.open("wb") as file:
        file.truncate(2_000_000_000)
    other = sh("losetup", "--show", "--find", str(image)).strip()
    try:
        show = f"""list_disks() {{ echo '[{{"path": "{device}"}}, {{"path": "{other}"}}]'; }}; describe_other_systems"""
        assert call(show) == ""
        sh("sgdisk", "--new=3:0:+64M", "--change-name=3:USR-A", other)
        assert call(show) == f"; WARNING: {other} holds a Flatcar as well, and the machine may boot that one"
    finally:
        sh("losetup", "--detach", other)


def test_release_leaves_no_signature(call: Run, device: str) -> None:
    write_image(device)
    assert call("release_disk && echo released") == "released"
    assert sh("wipefs", "--noheadings", device) == ""
    assert call(JUDGE) == "empty"
