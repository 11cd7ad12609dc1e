"""The programs inside the test system: configurations applied, units put in order and run."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from bootstrapper.lab.guest import units
from bootstrapper.lab.guest.boot import parse_arguments
from bootstrapper.lab.guest.cloud_config import apply_cloud_config, decode_content, parse_mode
from bootstrapper.lab.guest.ignition import apply_ignition, decode_data_url

GOLDEN = Path(__file__).parent.parent / "golden"


def test_kernel_arguments() -> None:
    assert parse_arguments("BOOT_IMAGE=x quiet ignition.config.url=http://a/b?c=d console=tty0 console=ttyS0\n") == {
        "BOOT_IMAGE": "x", "quiet": "", "ignition.config.url": "http://a/b?c=d", "console": "ttyS0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,a%20b%0A", b"a b\n"),
        ("data:;base64,aGk=", b"hi"),
        ("data:text/plain;charset=utf-8;base64,aGk%3D", b"hi"),
        ("data:,", b""),
    ],
)
def test_data_urls(url: str, data: bytes) -> None:
    assert decode_data_url(url) == data


def test_other_urls_are_refused() -> None:
    with pytest.raises(ValueError, match="not a data URL"):
        decode_data_url("http://example.com/x")


def test_ignition(tmp_path: Path) -> None:
    config = {
        "ignition": {"version": "3.3.0"},
        "storage": {
            "files": [
                {"path": "/etc/hostname", "mode": 420, "contents": {"source": "data:,node1"}},
                {"path": "/etc/key", "mode": 384, "contents": {"source": "data:;base64,c2VjcmV0"}},
                {"path": "/opt/far", "contents": {"source": "http://10.0.0.1/x"}},
                {
                    "path": "/etc/packed",
                    "contents": {
                        "compression": "gzip",
                        "source": "data:;base64," + base64.b64encode(gzip.compress(b"unpacked")).decode(),
                    },
                },
            ],
            "links": [{"path": "/etc/localtime", "target": "/usr/share/zoneinfo/Etc/UTC"}],
        },
        "systemd": {
            "units": [
                {"name": "a.service", "enabled": True, "contents": "[Service]\nExecStart=/bin/true\n"},
                {"name": "b.service", "enabled": True, "mask": True},
                {"name": "c.service", "dropins": [{"name": "10.conf", "contents": "[Service]\n"}]},
            ]
        },
    }
    enabled, passed = apply_ignition(config, tmp_path)
    assert enabled == ["a.service"]
    assert passed == ["file /opt/far from http://10.0.0.1/x", "unit c.service is changed, not brought"]
    assert (tmp_path / "etc/hostname").read_text() == "node1"
    assert (tmp_path / "etc/key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/packed").read_text() == "unpacked"
    assert (tmp_path / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Etc/UTC")
    assert (tmp_path / "etc/systemd/system/a.service").exists()
    assert (tmp_path / "etc/systemd/system/c.service.d/10.conf").exists()


def test_an_old_ignition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2\.2\.0"):
        apply_ignition({"ignition": {"version": "2.2.0"}}, tmp_path)


def test_cloud_config(tmp_path: Path) -> None:
    text = """#cloud-config
hostname: node1
write_files:
- path: /etc/a
  permissions: "0600"
  content: |
    two
    lines
- {path: /etc/b, encoding: base64, content: aGk=}
coreos:
  units:
  - name: a.service
    command: start
    content: |
      [Service]
      ExecStart=/bin/true
  - name: 00-eth0.network
    content: "[Match]\\n"
  - name: other.service
    drop_ins:
    - {name: 10.conf, content: "[Service]\\n"}
"""
    assert apply_cloud_config(text, tmp_path) == ["a.service"]
    assert (tmp_path / "etc/hostname").read_text() == "node1\n"
    assert (tmp_path / "etc/a").read_text() == "two\nlines\n"
    assert (tmp_path / "etc/a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/b").read_text() == "hi"
    assert (tmp_path / "etc/systemd/network/00-eth0.network").exists()
    assert (tmp_path / "etc/systemd/system/other.service.d/10.conf").exists()


def test_cloud_config_needs_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="#cloud-config"):
        apply_cloud_config("hostname: x\n", tmp_path)


@pytest.mark.parametrize(("value", "mode"), [("0644", 0o644), ("600", 0o600), (0o755, 0o755)])
def test_modes(value: object, mode: int) -> None:
    assert parse_mode(value) == mode


def test_content_encodings() -> None:
    packed = base64.b64encode(gzip.compress(b"x")).decode()
    assert decode_content(packed, "gzip+base64") == b"x"
    assert decode_content(packed, "gz+b64") == b"x"
    assert decode_content("x", "") == b"x"


@pytest.mark.parametrize("machine", ["node1", "node4"])
def test_what_the_server_renders_is_understood(machine: str, tmp_path: Path) -> None:
    directory = GOLDEN / machine
    started = apply_cloud_config((directory / "cloud-config").read_text(), tmp_path / "cloud")
    assert (tmp_path / "cloud/etc/hostname").read_text() == f"{machine}\n"
    enabled, _ = apply_ignition(json.loads((directory / "install").read_text()), tmp_path / "install")
    assert "bootstrapper-install.service" in enabled
    assert (tmp_path / "install/opt/bootstrapper/install.sh").read_text().startswith("#!/bin/bash")
    assert started != []


UNIT = """# comment
[Unit]
Description=x
After=b.service \\
  network-online.target
Before=c.service
ConditionPathExists=!/var/done

[Service]
Type=oneshot
Environment="A=1 2" B=3
EnvironmentFile=-/etc/none
EnvironmentFile=/etc/env
ExecStart=/bin/false
ExecStart=
ExecStart=-/bin/sh -c 'echo $$HOME ${A}' $B
"""


def test_a_unit_file() -> None:
    unit = units.parse_unit("a.service", UNIT)
    assert unit.words("Unit", "After") == {"b.service", "network-online.target"}
    assert unit.values("Service", "ExecStart") == ["-/bin/sh -c 'echo $$HOME ${A}' $B"]
    assert unit.value("Service", "Type") == "oneshot"
    assert unit.value("Service", "Restart", "no") == "no"


def test_environment_and_command(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/env").write_text("# c\nURL='http://a/ b'\nB=4 \n")
    unit = units.parse_unit("a.service", UNIT)
    environment = units.build_environment(unit, tmp_path)
    assert (environment["A"], environment["B"], environment["URL"]) == ("1 2", "4", "http://a/ b")
    words, counts = units.split_command(unit.value("Service", "ExecStart"), environment)
    assert words == ["/bin/sh", "-c", "echo $HOME 1 2", "4"]
    assert counts is False
    with pytest.raises(FileNotFoundError, match="EnvironmentFile"):
        units.build_environment(unit, tmp_path / "empty")


def test_units_run_in_their_order() -> None:
    texts = {"a": "[Unit]\nAfter=b\n", "b": "[Unit]\nAfter=network.target\n", "c": "[Unit]\nBefore=b\n"}
    parsed = [units.parse_unit(name, text) for name, text in texts.items()]
    assert [unit.name for unit in units.order_units(parsed)] == ["c", "b", "a"]


def test_a_circle_of_units_is_cut() -> None:
    parsed = [units.parse_unit("a", "[Unit]\nAfter=b\n"), units.parse_unit("b", "[Unit]\nAfter=a\n")]
    assert [unit.name for unit in units.order_units(parsed)] == ["a", "b"]


def test_conditions(tmp_path: Path) -> None:
    unit = units.parse_unit("a.service", UNIT)
    assert units.conditions_hold(unit, tmp_path)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/done").touch()
    assert not units.conditions_hold(unit, tmp_path)


def test_drop_ins_are_part_of_their_unit(tmp_path: Path) -> None:
    directory = tmp_path / "etc/systemd/system"
    (directory / "a.service.d").mkdir(parents=True)
    (directory / "a.service").write_text("[Service]\nExecStart=/bin/a\n")
    (directory / "a.service.d/10.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/b\n")
    unit = units.find_unit("a.service", tmp_path)
    assert unit is not None
    assert unit.values("Service", "ExecStart") == ["/bin/b"]
    assert units.find_unit("none.service", tmp_path) is None
