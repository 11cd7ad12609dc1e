from __future__ import annotations

import base64
import calendar
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rack import TEMPLATES

from bootstrapper.cluster.model import AssetSource, Cluster, DiskSelector
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.install import build_grub, build_install
from bootstrapper.nodeconfig.outputs import render_output

HOSTILE = "'; reboot; echo '$(reboot)`reboot`\"\\\nIFS=x #"


def variables(context: Context, cluster: Cluster, tmp_path: Path, index: int = 0) -> dict[str, str]:
    """install.env as bash reads it."""
    document = json.loads(render_output("install", context, cluster.machines[index]).text)
    files = {file["path"]: file["contents"]["source"] for file in document["storage"]["files"]}
    path = tmp_path / "install.env"
    path.write_bytes(base64.b64decode(files["/etc/bootstrapper/install.env"].partition(",")[2]))
    script = f"set -a; . {path}; exec env -0"
    done = subprocess.run(["bash", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    assert done.stderr == b""
    return dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if "=" in line)


def test_what_the_script_is_told(context: Context, cluster: Cluster, tmp_path: Path) -> None:
    machine = replace(
        cluster.machines[0],
        macs=("00:25:90:c0:f7:80", "00:25:90:c0:f7:81"),
        disk=DiskSelector(path="/dev/disk/by-path/pci-0", min_bytes=100, rotational=False),
    )
    changed = replace(cluster, machines=(machine,))
    told = variables(replace(context, cluster=changed, generation=3, order_id="9f86d081", wipe=True), changed, tmp_path)
    expected = {
        "CLUSTER_NAME": "prod",
        "MACHINE_HOST": "node1",
        "MACHINE_MAC": "00:25:90:c0:f7:80",
        "MACHINE_MACS": "00:25:90:c0:f7:80 00:25:90:c0:f7:81",
        "GENERATION": "3",
        "ORDER_ID": "9f86d081",
        "WIPE": "yes",
        "HEALTH_URL": "http://10.10.14.253/healthz",
        "CONFIG_URL": "https://10.10.14.253/m/secret-of-this-boot/config",
        "REPORT_URL": "https://10.10.14.253/m/secret-of-this-boot/report",
        "PROVISION": "cloud-config",
        "IMAGE_BASE": "http://10.10.14.253/assets/flatcar/amd64-usr",
        "IMAGE_VERSION": "4593.2.5",
        "DISK_PATH": "/dev/disk/by-path/pci-0",
        "DISK_WWN": "",
        "DISK_MIN_BYTES": "100",
        "DISK_MAX_BYTES": "",
        "DISK_ROTATIONAL": "no",
        "DISK_TRANSPORT": "",
    }
    assert {key: told[key] for key in expected} == expected


def test_nothing_breaks_out_of_the_variables(context: Context, cluster: Cluster, tmp_path: Path) -> None:
    disk = DiskSelector(path=HOSTILE, wwn=HOSTILE, serial=HOSTILE, model=HOSTILE, transport=HOSTILE)
    machine = replace(cluster.machines[0], disk=disk, host=HOSTILE)
    changed = replace(cluster, machines=(machine,), name=HOSTILE)
    told = variables(replace(context, cluster=changed), changed, tmp_path)
    for name in (
        "DISK_PATH",
        "DISK_WWN",
        "DISK_SERIAL",
        "DISK_MODEL",
        "DISK_TRANSPORT",
        "MACHINE_HOST",
        "CLUSTER_NAME",
    ):
        assert told[name] == HOSTILE
    assert "IFS" not in told


def test_the_live_system_neither_updates_nor_reboots_by_itself(context: Context, cluster: Cluster) -> None:
    config = build_install(cluster.machines[0], context)
    (update,) = [file.content for file in config.files if file.path == "/etc/flatcar/update.conf"]
    assert update == b"GROUP=stable\nSERVER=disabled\n"
    assert [unit.name for unit in config.units if unit.mask] == ["locksmithd.service"]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((), ""),
        (("console=ttyS0,115200n8", "a"), 'set linux_append="$linux_append console=ttyS0,115200n8 a"\n'),
        (('x="$y"\\',), 'set linux_append="$linux_append x=\\"\\$y\\"\\\\"\n'),
    ],
)
def test_grub_gets_one_line(args: tuple[str, ...], line: str) -> None:
    assert build_grub(args, "node1") == line


@pytest.mark.parametrize("arg", ["a\nset x=1", "\x00", "é"])
def test_grub_takes_no_second_line(arg: str) -> None:
    with pytest.raises(RenderProblem, match="node1: kernel argument"):
        build_grub((arg,), "node1")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_date_header_is_read_like_the_calendar_says(tmp_path: Path) -> None:
    (tmp_path / "etc/bootstrapper").mkdir(parents=True)
    (tmp_path / "etc/bootstrapper/install.env").write_text("GENERATION=1\n")
    good = {
        "Thu, 01 Jan 1970 00:00:00 GMT": 0,
        "Fri, 20 Nov 2026 13:05:33 GMT": calendar.timegm((2026, 11, 20, 13, 5, 33)),
        "Thu, 29 Feb 2024 23:59:59 GMT": calendar.timegm((2024, 2, 29, 23, 59, 59)),
        "Fri, 01 Mar 2024 00:00:00 GMT": calendar.timegm((2024, 3, 1, 0, 0, 0)),
        "Mon, 08 Sep 2031 08:09:08 GMT": calendar.timegm((2031, 9, 8, 8, 9, 8)),
        "Sun, 31 Dec 2100 23:00:00 GMT": calendar.timegm((2100, 12, 31, 23, 0, 0)),
    }
    bad = ["", "soon", "Fri, 20 Nox 2026 13:05:33 GMT", "Fri, 20 anF 2026 13:05:33 GMT", "2026-11-20T13:05:33Z"]
    calls = "\n".join(f'parse_http_date "{text}" || echo refused' for text in (*good, *bad))
    script = f". {TEMPLATES}/nodes/install/install.sh\n{calls}\n"
    done = subprocess.run(
        ["bash", "-c", script], env={"BOOTSTRAPPER_BASE": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    assert done.stdout.split() == [*(str(seconds) for seconds in good.values()), *(["refused"] * len(bad))]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_the_scripts_pass_shellcheck() -> None:
    scripts = sorted(str(path) for path in (TEMPLATES / "nodes").rglob("*.sh"))
    assert len(scripts) >= 4
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "--external-sources", "--source-path=SCRIPTDIR", *scripts],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == ""


def test_an_image_of_the_admin_s_own_is_checked_with_its_own_key(
    context: Context, cluster: Cluster, tmp_path: Path
) -> None:
    image = "flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
    assert "IMAGE_KEY_URL" not in variables(context, cluster, tmp_path)
    own = replace(cluster, assets={image: AssetSource("https://nas/i", None, None, "https://nas/i.sig", "own.asc")})
    told = variables(replace(context, cluster=own), own, tmp_path)
    assert told["IMAGE_KEY_URL"] == f"https://10.10.14.253/assets/{image}.key.asc"
    flatcar = replace(cluster, assets={image: AssetSource("https://nas/i", None, None, "https://nas/i.sig", "flatcar")})
    assert "IMAGE_KEY_URL" not in variables(replace(context, cluster=flatcar), flatcar, tmp_path)
