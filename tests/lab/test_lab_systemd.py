"""The parts of the systemd test system that need no building: what plays coreos-cloudinit, and the disk's layout."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pytest

from bootstrapper.lab.disk_image import PARTITIONS, lay_out
from bootstrapper.lab.guest.coreos_cloudinit import apply
from bootstrapper.lab.kernel import MODULES
from bootstrapper.lab.programs import PACKAGES, SYSTEMD_BUILD
from bootstrapper.lab.systemd_system import EXTRA_MODULES, GUEST_MODULES

CONFIG = """\
#cloud-config
hostname: "alpha.example"
ssh_authorized_keys:
  - "ssh-ed25519 AAAA one"
users:
  - name: "ops"
    groups: ["sudo"]
write_files:
  - path: "/etc/kept"
    permissions: "0640"
    content: |
      kept
coreos:
  units:
    - name: "10-boot.network"
      content: |
        [Match]
    - name: "etcd.service"
      enable: true
      content: |
        [Service]
      drop_ins:
        - name: "10-more.conf"
          content: |
            [Service]
    - name: "locksmithd.service"
      mask: true
    - name: "start.service"
      command: start
      content: |
        [Unit]
"""


def test_cloud_config_is_applied_in_the_order_of_coreos_cloudinit(tmp_path: Path) -> None:
    commands: list[Sequence[str]] = []
    apply(CONFIG, tmp_path, commands.append)
    assert commands == [
        ["hostname", "alpha"],
        ["useradd", "--create-home", "--groups", "sudo", "ops"],
        ["chown", "-R", "core:", "/home/core/.ssh"],
        ["systemctl", "--no-reload", "enable", "etcd.service"],
        ["systemctl", "mask", "locksmithd.service"],
        ["systemctl", "daemon-reload"],
        ["systemctl", "restart", "systemd-networkd.service"],
        ["systemctl", "start", "start.service"],
    ]
    assert (tmp_path / "etc/hostname").read_text() == "alpha\n"
    assert (tmp_path / "home/core/.ssh/authorized_keys.d/coreos-cloudinit").read_text() == "ssh-ed25519 AAAA one\n"
    assert (tmp_path / "etc/kept").read_text() == "kept\n"
    assert (tmp_path / "etc/kept").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "etc/systemd/network/10-boot.network").read_text() == "[Match]\n"
    assert (tmp_path / "etc/systemd/system/etcd.service").read_text() == "[Service]\n"
    assert (tmp_path / "etc/systemd/system/etcd.service.d/10-more.conf").read_text() == "[Service]\n"
    assert not (tmp_path / "etc/systemd/system/locksmithd.service").exists()


@pytest.mark.parametrize("text", ["hostname: x\n", " #cloud-config\n{}\n", "#cloud-config\n- x\n",
                                  "#cloud-config\nruncmd: [x]\n", "#cloud-config\ncoreos: {etcd2: {}}\n"])  # fmt: skip
def test_what_it_does_not_know_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected|first line"):
        apply(text, tmp_path, lambda command: None)
    assert list(tmp_path.iterdir()) == []


def test_an_error_stops_the_rest(tmp_path: Path) -> None:
    def refuse(command: Sequence[str]) -> None:
        raise subprocess.CalledProcessError(1, list(command))

    with pytest.raises(subprocess.CalledProcessError):
        apply(CONFIG, tmp_path, refuse)
    assert not (tmp_path / "etc/kept").exists()


def test_usr_has_a_partition_and_root_comes_last() -> None:
    assert lay_out(0) == PARTITIONS
    places = {part.label: (part.number, part.start_mib, part.size_mib) for part in lay_out(60 * 1024 * 1024 + 1)}
    assert places == {
        "EFI-SYSTEM": (1, 1, 62),
        "BIOS-BOOT": (2, 63, 1),
        "OEM": (6, 64, 8),
        "USR-A": (3, 72, 61),
        "ROOT": (9, 133, 88),
    }


def test_what_it_is_made_of_is_there() -> None:
    room = Path(str(files("bootstrapper.lab")))
    assert all((room / "guest" / f"{name}.py").is_file() for name in GUEST_MODULES)
    assert set(SYSTEMD_BUILD) <= PACKAGES.keys()
    assert set(EXTRA_MODULES).isdisjoint(MODULES)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_its_first_process_is_sound_shell() -> None:
    script = Path(str(files("bootstrapper.lab"))) / "systemd/init"
    subprocess.run(["shellcheck", "--severity", "warning", "-s", "sh", str(script)], check=True)
