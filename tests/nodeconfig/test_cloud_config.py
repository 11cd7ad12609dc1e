from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rack import make_environment

from bootstrapper.nodeconfig.cloud_config import drop_seen, emit_cloud_config, quote
from bootstrapper.nodeconfig.cloud_config_schema import find_faults
from bootstrapper.nodeconfig.model import DropIn, File, NodeConfig, Unit, User

ENVIRONMENT: jinja2.Environment = make_environment()


def emit(config: NodeConfig, secrets: bool = True) -> str:
    return emit_cloud_config(config, ENVIRONMENT, secrets)


def test_the_text_is_this() -> None:
    config = NodeConfig(
        hostname="node1",
        files=(File("/etc/a", b"one\ntwo\n"), File("/etc/b", b"cost: $5\n", 0o600, "core:users")),
        units=(
            Unit("a.service", "[Unit]\n", enable=True, start=True, drop_ins=(DropIn("10.conf", "[Service]\n"),)),
            Unit("b.service", mask=True),
        ),
        users=(User("core", ("ssh-ed25519 A admin",)), User("eve", ("ssh-ed25519 B",), ("docker",))),
    )
    assert emit(config) == (
        "#cloud-config\n"
        'hostname: "node1"\n'
        "ssh_authorized_keys:\n"
        '  - "ssh-ed25519 A admin"\n'
        "users:\n"
        '  - name: "eve"\n'
        "    ssh_authorized_keys:\n"
        '      - "ssh-ed25519 B"\n'
        "    groups:\n"
        '      - "docker"\n'
        "write_files:\n"
        '  - path: "/etc/a"\n'
        '    permissions: "0644"\n'
        '    owner: "root:root"\n'
        "    content: |\n"
        "      one\n"
        "      two\n"
        '  - path: "/etc/b"\n'
        '    permissions: "0600"\n'
        '    owner: "core:users"\n'
        "    encoding: base64\n"
        '    content: "Y29zdDogJDUK"\n'
        "coreos:\n"
        "  units:\n"
        '    - name: "a.service"\n'
        "      enable: true\n"
        "      content: |\n"
        "        [Unit]\n"
        "      drop_ins:\n"
        '        - name: "10.conf"\n'
        "          content: |\n"
        "            [Service]\n"
        '    - name: "b.service"\n'
        "      mask: true\n"
        '    - name: "bootstrapper-start.service"\n'
        "      command: start\n"
        "      content: |\n"
        "        [Unit]\n"
        "        Description=Start what this machine's configuration brings\n"
        "\n"
        "        [Service]\n"
        "        Type=oneshot\n"
        "        ExecStart=/usr/bin/systemctl --no-block start a.service\n"
    )


def test_one_unit_is_started_and_it_waits_for_none() -> None:
    """coreos-cloudinit waits for what it starts: a download, or an etcd without its peers, would hold up the rest."""
    units = (Unit("a.service", "x"), Unit("b.service", "x", start=True), Unit("c.timer", "x", enable=True, start=True))
    document = yaml.safe_load(emit(NodeConfig(files=(File("/k", b"k", first_boot_only=True),), units=units)))
    assert [unit["name"] for unit in document["coreos"]["units"] if "command" in unit] == ["bootstrapper-start.service"]
    assert document["coreos"]["units"][-1]["content"].splitlines()[-1].split(" ", 2)[-1] == (
        "start bootstrapper-first-boot.service b.service c.timer"
    )


def test_secrets_are_left_out_of_what_anyone_may_read() -> None:
    config = NodeConfig(files=(File("/etc/key", b"KEY", secret=True), File("/etc/plain", b"plain")))
    assert "S0VZ" not in emit(config, secrets=False)
    assert "KEY" not in emit(config, secrets=False)
    assert "KEY" in emit(config)


def decoded(text: str) -> dict[str, bytes]:
    """Path -> content, as coreos-cloudinit reads it."""
    document = yaml.safe_load(text)
    files = {}
    for file in document.get("write_files", []):
        content = file["content"].encode()
        if file.get("encoding") == "base64":
            content = base64.b64decode(content)
        files[file["path"]] = content
    return files


HOSTILE = [
    "", "\n", " ", "a", "a\n\n", "\n\na", " a", "\ta", "a\t\n", "#cloud-config\n", "---\n...\n", "a: b\n  - c\n",
    "$private_ipv4", "\\$public_ipv6\n", "${x} %i %%\n", "\u0085\u2028\u2029", "\x00\x1b[2J", "\U0001f600 é",
    "x\r\ny\r\n", "'\"`$(reboot)`'\"", "{{ cluster }}{% raw %}", "|\n", "\x7f", "a \nb\n", "  two\n one\n", "\ufeffa",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_back_the_same(text: str) -> None:
    data = text.encode()
    config = NodeConfig(
        hostname="h",
        files=(File("/etc/a", data), File("/etc/b", b"after\n")),
        units=(Unit("a.service", text), Unit("b.service", "after\n")),
        users=(User("core", (text,)),),
    )
    emitted = emit(config)
    document = yaml.safe_load(emitted)
    assert set(document) == {"hostname", "ssh_authorized_keys", "write_files", "coreos"}
    assert find_faults(document) == []
    assert decoded(emitted) == {"/etc/a": data, "/etc/b": b"after\n"}
    assert [unit["content"] for unit in document["coreos"]["units"]] == [text, "after\n"]
    assert document["ssh_authorized_keys"] == [text]
    for word in ("$private_ipv4", "$public_ipv4", "$private_ipv6", "$public_ipv6"):
        assert word not in emitted  # coreos-cloudinit would replace it


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary())
def test_no_text_breaks_out(text: str, data: bytes) -> None:
    config = NodeConfig(
        hostname=text,
        files=(File("/etc/a", data), File("/etc/b", text.encode())),
        units=(Unit("a.service", text, drop_ins=(DropIn("d.conf", text),)),),
        users=(User("core", (text,)), User("other", (text,), (text,))),
    )
    emitted = emit(config)
    document = yaml.safe_load(emitted)
    assert document.get("hostname", "") == text
    assert decoded(emitted) == {"/etc/a": data, "/etc/b": text.encode()}
    unit = document["coreos"]["units"][0]
    assert unit == {"name": "a.service", "content": text, "drop_ins": [{"name": "d.conf", "content": text}]}
    assert document["users"] == [{"name": "other", "ssh_authorized_keys": [text], "groups": [text]}]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("a", '"a"'), ('"\\', '"\\"\\\\"'), ("$x", '"\\u0024x"'), ("\U0001f600", '"\\U0001f600"'), ("\n", '"\\n"')],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_first_boot_files_are_never_overwritten(tmp_path: Path) -> None:
    """The staged script, run twice as two boots would: the second leaves what the machine has made of the file."""
    target = tmp_path / "etc" / "it's a key"
    owner = f"{os.getuid()}:{os.getgid()}"
    config = NodeConfig(
        files=(File(str(target), b"first\n", 0o600, owner, first_boot_only=True), File("/etc/x", b"x\n"))
    )
    emitted = emit(config)
    document = yaml.safe_load(emitted)
    assert find_faults(document) == []
    assert document["coreos"]["units"][0]["name"] == "bootstrapper-first-boot.service"
    assert "start bootstrapper-first-boot.service" in document["coreos"]["units"][-1]["content"]
    files = decoded(emitted)
    assert str(target) not in files
    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / "0").write_bytes(files["/run/bootstrapper/first-boot/0"])
    script = files["/run/bootstrapper/first-boot/place.sh"].decode().replace("/run/bootstrapper/first-boot", str(stage))
    subprocess.run(["sh", "-c", script], check=True, timeout=10)
    assert target.read_text() == "first\n"
    assert target.stat().st_mode & 0o777 == 0o600
    target.write_text("renewed on the machine\n")
    subprocess.run(["sh", "-c", script], check=True, timeout=10)
    assert target.read_text() == "renewed on the machine\n"


def test_what_was_read_once_is_left_out() -> None:
    files = (File("/etc/a", b"a: 1\n  - path: x\n"), File("/etc/b", b"b\n"))
    units = (Unit("a.service", "[Unit]\n    - name: x\n"),)
    first = emit_cloud_config(NodeConfig("one", files, units=units), ENVIRONMENT, secrets=True)
    second = emit_cloud_config(NodeConfig("two", (*files, File("/etc/c", b"c\n")), units=units), ENVIRONMENT, True)
    seen: set[str] = set()
    assert drop_seen(first, seen) == first
    assert drop_seen(first, seen) == '#cloud-config\nhostname: "one"\n'
    assert yaml.safe_load(drop_seen(second, seen)) == {
        "hostname": "two",
        "write_files": [{"path": "/etc/c", "permissions": "0644", "owner": "root:root", "content": "c\n"}],
    }
