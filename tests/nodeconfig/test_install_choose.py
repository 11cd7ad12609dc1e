"""Which disk install.sh's selector picks, against lsblk's JSON as real machines give it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "templates" / "nodes" / "install"

pytestmark = pytest.mark.skipif(not shutil.which("jq") or not shutil.which("bash"), reason="needs bash and jq")


def disk(name: str, size: int, **more: object) -> dict[str, object]:
    fields = {"rm": False, "ro": False, "rota": False, "tran": "sata", "model": None, "serial": None, "wwn": None}
    return {"name": name, "path": f"/dev/{name}", "type": "disk", "size": size, "mountpoint": None, **fields, **more}


SSD = disk("sda", 480_000_000_000, model="SAMSUNG MZ7LH480", serial="S3Z1NB0K", wwn="0x5002538e40a1b2c3")
HDD = disk("sdb", 4_000_000_000_000, rota=True, model="ST4000NM0035", serial="ZC1", wwn="0x5000c500a1b2c3d4")
NVME = disk("nvme0n1", 960_000_000_000, tran="nvme", model="INTEL SSDPE2KX", serial="PHLJ1", wwn="eui.0100000001")
STICK = disk("sdz", 32_000_000_000, rm=True, tran="usb", serial="STICK")
NOISE = [
    {
        "name": "loop0",
        "path": "/dev/loop0",
        "type": "loop",
        "rm": False,
        "ro": True,
        "size": 300_000_000,
        "rota": False,
    },
    disk("zram0", 4_000_000_000, tran=None),
    disk("mmcblk0boot0", 4_194_304, tran=None),
    {"name": "sr0", "path": "/dev/sr0", "type": "rom", "rm": True, "ro": False, "size": 1_073_741_312, "rota": True},
    disk("nbd0", 0, tran=None),
]


def choose(devices: list[dict[str, object]], **selector: str) -> str:
    """The chosen path, or `refused: ` and the reason."""
    variables = "\n".join(f"DISK_{key.upper()}={shlex.quote(value)}" for key, value in selector.items())
    script = f"""
set -u -o pipefail
. {shlex.quote(str(SCRIPTS / "lib-disk.sh"))}
list_block_devices() {{ printf '%s' {shlex.quote(json.dumps({"blockdevices": devices}))}; }}
{variables}
if choose_disk; then echo "$disk"; else echo "refused: $reason"; fi
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("devices", "selector", "expected"),
    [
        ([SSD, STICK, *NOISE], {}, "/dev/sda"),
        ([SSD, HDD], {"rotational": "no"}, "/dev/sda"),
        ([SSD, HDD], {"rotational": "yes"}, "/dev/sdb"),
        ([SSD, HDD, NVME], {"transport": "nvme"}, "/dev/nvme0n1"),
        ([SSD, HDD, NVME], {"min_bytes": "500000000000", "max_bytes": "1000000000000"}, "/dev/nvme0n1"),
        ([SSD, HDD], {"wwn": "0x5000c500a1b2c3d4"}, "/dev/sdb"),
        ([SSD, HDD], {"wwn": "5000C500A1B2C3D4"}, "/dev/sdb"),
        ([SSD, HDD], {"wwn": "wwn-0x5000c500a1b2c3d4"}, "/dev/sdb"),
        ([SSD, NVME], {"wwn": "0100000001"}, "/dev/nvme0n1"),
        ([SSD, HDD], {"serial": "S3Z1NB0K"}, "/dev/sda"),
        ([SSD, HDD], {"model": "ST4000NM0035"}, "/dev/sdb"),
        ([SSD, STICK], {"serial": "STICK"}, "/dev/sdz"),
        ([SSD, STICK], {"transport": "usb"}, "/dev/sdz"),
        ([SSD, HDD], {"path": "/dev/sdb"}, "/dev/sdb"),
        # util-linux before 2.33 wrote every value as text.
        ([{**SSD, "size": "480000000000", "rm": "0", "ro": "0", "rota": "0"}], {}, "/dev/sda"),
    ],
)
def test_the_disk_meant_is_chosen(devices: list[dict[str, object]], selector: dict[str, str], expected: str) -> None:
    assert choose(devices, **selector) == expected


@pytest.mark.parametrize(
    ("devices", "selector", "words"),
    [
        (NOISE, {}, "matches 0 disks, and must match exactly one; this machine has: no disk at all"),
        ([SSD, HDD], {}, "(none given: the only non-removable disk) matches 2 disks"),
        ([STICK], {}, "/dev/sdz 32 GB usb serial STICK removable"),
        ([SSD], {"serial": "WRONG"}, "(serial WRONG) matches 0 disks"),
        ([SSD], {"serial": "$(reboot)`reboot`'\""}, "(serial $(reboot)`reboot`'\") matches 0 disks"),
        ([disk("sda", 480_000_000_000, ro=True)], {}, "/dev/sda 480 GB sata read-only"),
        ([SSD, HDD], {"min_bytes": "100000000000"}, "size >= 100000000000"),
        ([SSD, HDD], {"path": "/dev/sda1"}, "(path /dev/sda1) matches 0 disks"),
    ],
)
def test_zero_or_several_stop_and_say_what_is_there(
    devices: list[dict[str, object]], selector: dict[str, str], words: str
) -> None:
    answer = choose(devices, **selector)
    assert answer.startswith("refused: the disk selector")
    assert words in answer


def test_the_disk_of_the_running_system_is_never_chosen() -> None:
    root = disk("sda", 480_000_000_000, children=[{"name": "sda1", "type": "part", "mountpoint": "/"}])
    deep = disk("sdb", 480_000_000_000, children=[{"name": "sdb1", "children": [{"name": "vg-x", "mountpoint": "/x"}]}])
    assert choose([root, deep, disk("sdc", 480_000_000_000)]) == "/dev/sdc"
    for path in ("/dev/sda", "/dev/sdb"):
        refusal = choose([root, deep], path=path)
        assert "matches 0 disks" in refusal
        assert "mounted at /" in refusal


def test_what_flatcar_mounts_by_label_does_not_count() -> None:
    parts = [{"name": "sda6", "mountpoint": "/oem"}, {"name": "sda1", "mountpoint": "/boot"}]
    assert choose([disk("sda", 480_000_000_000, children=parts)]) == "/dev/sda"
    rooted = [*parts, {"name": "sda9", "mountpoint": "/"}]
    assert "mounted at /" in choose([disk("sda", 480_000_000_000, children=rooted)])
