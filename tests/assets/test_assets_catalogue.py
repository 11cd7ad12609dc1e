"""What machines download, and what of it is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rack import FLATCAR, make_cluster, make_machine

from bootstrapper.assets.catalogue import list_assets, list_cluster_assets
from bootstrapper.assets.store import find_missing
from bootstrapper.boot.decide import Action, Decision
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.scripts import render_script
from bootstrapper.cluster.model import Arch, OsFamily
from bootstrapper.errors import RenderProblem

DIRECTORY = "flatcar/amd64-usr/4593.2.5"


def test_a_flatcar_machine():
    assert [(asset.name, asset.use) for asset in list_assets(make_machine())] == [
        (f"{DIRECTORY}/flatcar_production_pxe.vmlinuz", "kernel"),
        (f"{DIRECTORY}/flatcar_production_pxe_image.cpio.gz", "initrd"),
        (f"{DIRECTORY}/flatcar_production_image.bin.bz2", "image"),
        (f"{DIRECTORY}/flatcar_production_image.bin.bz2.sig", "signature"),
    ]


def test_the_boot_script_asks_for_nothing_else():
    from rack import LINKS, make_environment

    machine = make_machine()
    decision = Decision(Action.INSTALL, "", 1)
    firmware = Firmware(Kind.BIOS, Stage.IPXE, code=0)
    text = render_script(make_environment(), decision, firmware, machine, make_cluster(), LINKS, None)
    asked = {word.partition("/assets/")[2] for word in text.split() if "/assets/" in word}
    assert asked <= {asset.name for asset in list_assets(machine)}
    assert len(asked) == 2


def test_machines_of_one_version_share_their_assets():
    arm = make_machine("52:54:00:00:00:09", "node9", "10.10.14.19", arch=Arch.ARM64)
    old = make_machine("52:54:00:00:00:08", "node8", "10.10.14.18", os=replace(FLATCAR, version="4230.2.1"))
    needed = list_cluster_assets(make_cluster(make_machine(), make_machine("52:54:00:00:00:07", "node7"), arm, old))
    assert len(needed) == 12
    hosts = {asset.name: [machine.host for machine in machines] for asset, machines in needed.items()}
    assert hosts[f"{DIRECTORY}/flatcar_production_pxe.vmlinuz"] == ["node1", "node7"]
    assert hosts["flatcar/arm64-usr/4593.2.5/flatcar_production_pxe.vmlinuz"] == ["node9"]
    assert hosts["flatcar/amd64-usr/4230.2.1/flatcar_production_image.bin.bz2"] == ["node8"]


def test_a_system_without_an_installer():
    with pytest.raises(RenderProblem):
        list_assets(make_machine(os=replace(FLATCAR, family=OsFamily.DEBIAN)))


def test_what_is_missing(tmp_path):
    needed = list_cluster_assets(make_cluster(make_machine()))
    assert len(find_missing(tmp_path, needed)) == 4
    directory = tmp_path / DIRECTORY
    directory.mkdir(parents=True)
    for asset in needed:
        (tmp_path / asset.name).write_bytes(b"x")
    assert find_missing(tmp_path, needed) == ()
    (directory / "flatcar_production_pxe.vmlinuz").write_bytes(b"")
    (directory / "flatcar_production_pxe_image.cpio.gz").unlink()
    (directory / "flatcar_production_pxe_image.cpio.gz").symlink_to("/etc/passwd")
    (directory / "flatcar_production_image.bin.bz2").unlink()
    (directory / "flatcar_production_image.bin.bz2").mkdir()
    (directory / "flatcar_production_image.bin.bz2.sig").unlink()
    problems = [missing.text() for missing in find_missing(tmp_path, needed)]
    assert problems == [
        f"{DIRECTORY}/flatcar_production_pxe.vmlinuz (kernel) is empty: needed by node1",
        f"{DIRECTORY}/flatcar_production_pxe_image.cpio.gz (initrd) is behind the link "
        f"{directory}/flatcar_production_pxe_image.cpio.gz, which is not followed: needed by node1",
        f"{DIRECTORY}/flatcar_production_image.bin.bz2 (image) is not a file: needed by node1",
        f"{DIRECTORY}/flatcar_production_image.bin.bz2.sig (signature) is not in {tmp_path}: needed by node1",
    ]
