"""data-disk.sh on files in the place of disks, with the real wipefs and mkfs.ext4; and the units it comes with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrapper.cluster.model import Cluster, DiskSelector
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context

TEMPLATES = Path(__file__).parent.parent.parent / "templates" / "nodes"
UUID = "3e1f7b44-6f3e-5b52-9a3d-0d4f4a1f8f10"

needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("jq", "wipefs", "mkfs.ext4", "blkid", "debugfs")),
    reason="needs jq, util-linux and e2fsprogs",
)


class Disks:
    """Files that lsblk calls disks, and the script run over them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        self.listed: list[dict[str, object]] = []
        library = root / "opt"
        library.mkdir()
        shutil.copy(TEMPLATES / "install/lib-disk.sh", library)
        (root / "env").write_text(
            f"DATA_UUID={UUID}\nDATA_DIRECTORIES='containerd kubelet'\nDISK_SERIAL=DATA1\nDISK_PATH= DISK_WWN=\n"
        )
        self.write("lsblk", f"cat {root}/lsblk.json")
        # The one look-up that goes over all devices of this computer.
        self.write(
            "blkid",
            'if [ "$1" = --uuid ]; then\n'
            f'for f in {root}/*.img; do [ "$(/sbin/blkid -p -o value -s UUID "$f")" = "$2" ] && exit 0; done; exit 2\n'
            'fi\nexec /sbin/blkid "$@"',
        )
        self.write("udevadm", "exit 0")

    def write(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def add(self, name: str, serial: str) -> Path:
        path = self.root / f"{name}.img"
        with path.open("wb") as file:
            file.truncate(32 << 20)
        self.listed.append(
            {
                "name": name, "path": str(path), "type": "disk", "rm": False, "ro": False, "size": 32 << 20,
                "rota": False, "tran": "sata", "model": "M", "serial": serial, "wwn": None, "mountpoint": None,
            }
        )  # fmt: skip
        return path

    def run(self) -> subprocess.CompletedProcess[str]:
        (self.root / "lsblk.json").write_text(json.dumps({"blockdevices": self.listed}))
        environment = {
            **os.environ,
            "PATH": f"{self.bin}:/usr/sbin:/sbin:{os.environ['PATH']}",
            "BOOTSTRAPPER_DIRECTORY": str(self.root / "opt"),
            "BOOTSTRAPPER_DATA_ENV": str(self.root / "env"),
            "DATA_TRIES": "1",
        }
        command = ["bash", str(TEMPLATES / "data-disk/data-disk.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    return Disks(tmp_path)


@needs_tools
def test_an_empty_disk_becomes_this_machines(disks: Disks) -> None:
    disks.add("sda", "SYSTEM")
    disk = disks.add("sdb", "DATA1")
    done = disks.run()
    assert done.returncode == 0, done.stderr
    assert "is this machine's data disk now" in done.stdout
    listing = subprocess.run(["debugfs", "-R", "ls -l", str(disk)], capture_output=True, text=True, check=True).stdout
    assert {"containerd", "kubelet"} <= set(listing.split())
    before = disk.read_bytes()
    again = disks.run()
    assert (again.returncode, again.stdout) == (0, "")
    assert disk.read_bytes() == before


@needs_tools
def test_somebodys_data_stops_it(disks: Disks) -> None:
    disk = disks.add("sdb", "DATA1")
    subprocess.run(["mkfs.ext4", "-q", "-L", "precious", str(disk)], check=True)
    before = disk.read_bytes()
    done = disks.run()
    assert done.returncode == 1
    assert "holds data that is not this machine's (ext4 on the whole disk)" in done.stderr
    assert disk.read_bytes() == before


@needs_tools
def test_none_and_several_stop_it(disks: Disks) -> None:
    disks.add("sda", "SYSTEM")
    assert "matches 0 disks" in disks.run().stderr
    disks.add("sdb", "DATA1")
    disks.add("sdc", "DATA1")
    done = disks.run()
    assert done.returncode == 1
    assert "matches 2 disks, and must match exactly one" in done.stderr


def test_units_are_mounted_before_what_fills_them(context: Context, cluster: Cluster) -> None:
    machine = replace(cluster.machines[0], data_disk=DiskSelector(serial="DATA1"))
    config = build(cluster, machine, context)
    units = {unit.name: unit.content or "" for unit in config.units}
    files = {file.path: file.content.decode() for file in config.files}
    assert "What=/var/lib/machinedata/kubelet\nWhere=/var/lib/kubelet\n" in units["var-lib-kubelet.mount"]
    assert "RequiresMountsFor=/var/lib/kubelet\n" in units["kubelet.service"]
    drop_in = files["/etc/systemd/system/containerd.service.d/20-data-disk.conf"]
    assert drop_in.endswith("[Unit]\nRequiresMountsFor=/var/lib/containerd\n")
    assert "DISK_SERIAL=DATA1\n" in files["/etc/bootstrapper/data-disk.env"]
    other = replace(machine, macs=("02:00:00:00:00:99",))
    assert units["var-lib-machinedata.mount"] != next(
        unit.content for unit in build(cluster, other, context).units if unit.name == "var-lib-machinedata.mount"
    )
