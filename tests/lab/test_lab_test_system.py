"""The parts of the test system that need no building."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bootstrapper.cluster.load import load
from bootstrapper.errors import UserError
from bootstrapper.lab import cpio
from bootstrapper.lab.disk_image import patch_boot, patch_core
from bootstrapper.lab.initrd import find_modules, parse_ldd
from bootstrapper.lab.kernel import boot_order, module_name, order_modules, parse_depends
from bootstrapper.lab.programs import PACKAGES, find_missing
from bootstrapper.lab.rack import prepare_state, tail
from bootstrapper.lab.test_system import FILES, prepare_assets

ROOT = Path(__file__).parent.parent.parent
DIRECTORY = "flatcar/amd64-usr/4593.2.5"


def test_newc_record() -> None:
    archive = cpio.build_newc([cpio.file("init", b"#!", 0o755)])
    assert archive[:110] == (
        b"07070100000001000081ED000000000000000000000001000000000000000200000000000000000000000000000000"
        b"0000000500000000"
    )
    assert archive[110:120] == b"init\0\0#!\0\0"
    assert len(archive) % 4 == 0
    assert b"TRAILER!!!" in archive


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_reads_our_archive(tmp_path: Path) -> None:
    archive = cpio.build_newc(
        [cpio.file("usr/bin/x", b"12345"), cpio.link("bin", "usr/bin"), cpio.directory("usr", 0o700)]
    )
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "bin/x").read_bytes() == b"12345"
    assert (tmp_path / "usr").stat().st_mode & 0o777 == 0o700


def test_ldd() -> None:
    text = """\tlinux-vdso.so.1 (0x00007ffc)
\tlibtinfo.so.6 => /lib/x86_64-linux-gnu/libtinfo.so.6 (0x00007f6b)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f6c)
"""
    assert parse_ldd(text) == ["/lib/x86_64-linux-gnu/libtinfo.so.6", "/lib64/ld-linux-x86-64.so.2"]
    assert parse_ldd("\tstatically linked\n") == []


def test_modules_come_after_what_they_need() -> None:
    needs = {"virtio_net": ["net_failover"], "net_failover": ["failover"], "failover": [], "virtio_blk": ["failover"]}
    assert order_modules(["virtio_net", "virtio_blk"], needs.__getitem__) == [
        "failover", "net_failover", "virtio_net", "virtio_blk",
    ]  # fmt: skip
    assert boot_order([("a.ko", b"1"), ("b.ko", b"2")])["usr/lib/lab/modules/order"] == b"a.ko\nb.ko\n"


def test_a_modules_own_list() -> None:
    assert parse_depends(b"x\0license=GPL\0depends=virtio,virtio-ring\0name=y\0") == ["virtio", "virtio_ring"]
    assert parse_depends(b"x\0depends=\0") == []
    assert module_name("kernel/drivers/char/hw_random/virtio-rng.ko.xz") == "virtio_rng"


def test_grub_is_told_where_its_rest_is() -> None:
    boot = patch_boot(bytes(512), 129024)
    assert boot[0x5C:0x64] == b"\x00\xf8\x01\x00\x00\x00\x00\x00"
    assert boot[0x66:0x68] == b"\x90\x90"
    assert patch_core(bytes(1024), 129024)[0x1F4:0x1FC] == b"\x01\xf8\x01\x00\x00\x00\x00\x00"


def test_the_guest_gets_the_modules_it_imports() -> None:
    found = find_modules()
    assert {
        "bootstrapper.lab.guest.boot",
        "bootstrapper.lab.guest.units",
        "yaml.loader",
        "json.decoder",
    } <= found.keys()
    assert not {"ssl", "asyncio", "bootstrapper.cluster", "rich"} & found.keys()


def test_missing_programs_are_named_by_their_packages() -> None:
    present = {"ip", "curl"}
    missing = find_missing(["ip", "ethtool", "curl", "lsblk", "blkid"], lambda name: name if name in present else None)
    assert missing == ["ethtool", "util-linux"]


def test_make_installs_every_package() -> None:
    essential = {"apt", "dpkg", "bash", "libc-bin", "coreutils", "grub-common"}
    text = (ROOT / "packaging/dependencies.sh").read_text()
    listed = text[text.index('lab="') :].split('"')[1].replace("\\\n", "").split()
    listed += text[text.index('[lab-etcd]="') :].split('"')[1].split()
    assert set(PACKAGES.values()) - essential - set(listed) == set()


def test_real_images_take_the_test_systems_place(tmp_path: Path) -> None:
    given = tmp_path / "given"
    (given / DIRECTORY).mkdir(parents=True)
    for name in FILES:
        (given / DIRECTORY / name).write_bytes(b"real")
    cluster = load((ROOT / "cluster-desc.example.yaml").read_text())
    said: list[str] = []
    assert prepare_assets(cluster, given, tmp_path / "assets", tmp_path / "cache", said.append) is False
    assert (tmp_path / "assets" / DIRECTORY / FILES[0]).read_bytes() == b"real"
    assert not (tmp_path / "cache").exists()
    assert said == [f"{DIRECTORY}: the images in {given}"]


def test_a_system_that_the_lab_cannot_boot_is_refused(tmp_path: Path) -> None:
    text = (
        (ROOT / "cluster-desc.example.yaml").read_text().replace("roles: [worker]}", "roles: [worker], arch: arm64}", 1)
    )
    assert "arch: arm64" in text
    with pytest.raises(UserError, match="node4: the lab cannot boot flatcar on arm64"):
        prepare_assets(load(text), None, tmp_path / "assets", tmp_path / "cache", print)


def test_only_a_directory_of_the_labs_own_is_emptied(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "state.db").touch()
    with pytest.raises(UserError, match="was not made by the lab"):
        prepare_state(foreign, keep=False)
    assert (foreign / "state.db").exists()
    own = tmp_path / "own"
    directory = prepare_state(own, keep=False)
    (own / "state.db").touch()
    (directory / "a.disk").touch()
    prepare_state(own, keep=True)
    assert (directory / "a.disk").exists()
    prepare_state(own, keep=False)
    assert not (directory / "a.disk").exists()
    assert not (own / "state.db").exists()


def test_the_end_of_a_console_without_its_control_characters(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.write_bytes(b"one\r\n\x1b[2Jtwo\r\n\n\x07three")
    assert tail(console, 2) == "[2Jtwo\nthree"
    assert tail(tmp_path / "none", 2) == "(nothing)"
