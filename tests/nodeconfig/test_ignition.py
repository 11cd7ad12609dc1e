from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.nodeconfig.ignition import emit_ignition
from bootstrapper.nodeconfig.model import DropIn, File, NodeConfig, RemoteFile, Unit, User


def test_the_document_is_this() -> None:
    config = NodeConfig(
        hostname="node1",
        files=(File("/opt/x", b"hi", 0o755, "core:users"), File("/etc/key", b"KEY", 0o600, secret=True)),
        remote_files=(RemoteFile("/opt/bin/etcd", "etcd/x", "http://10.0.0.1/assets/etcd/x", "ab" * 32),),
        units=(
            Unit("10-boot.network", "[Match]\n"),
            Unit("a.service", "[Unit]\n", start=True, drop_ins=(DropIn("1.conf", "x"),)),
            Unit("b.service", mask=True),
        ),
        users=(User("core", ("ssh-ed25519 A",), ("docker",)),),
    )
    assert json.loads(emit_ignition(config, secrets=False)) == {
        "ignition": {"version": "3.3.0"},
        "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": ["ssh-ed25519 A"], "groups": ["docker"]}]},
        "storage": {
            "files": [
                {
                    "path": "/opt/x",
                    "overwrite": True,
                    "mode": 493,
                    "contents": {"source": "data:;base64,aGk="},
                    "user": {"name": "core"},
                    "group": {"name": "users"},
                },
                {
                    "path": "/etc/hostname",
                    "overwrite": True,
                    "mode": 420,
                    "contents": {"source": "data:;base64,bm9kZTEK"},
                },
                {
                    "path": "/etc/systemd/network/10-boot.network",
                    "overwrite": True,
                    "mode": 420,
                    "contents": {"source": "data:;base64,W01hdGNoXQo="},
                },
            ]
        },
        "systemd": {
            "units": [
                {
                    "name": "a.service",
                    "enabled": True,
                    "contents": "[Unit]\n",
                    "dropins": [{"name": "1.conf", "contents": "x"}],
                },
                {"name": "b.service", "mask": True},
            ]
        },
    }


def test_secrets_come_with_a_claim() -> None:
    config = NodeConfig(files=(File("/etc/key", b"KEY", 0o600, secret=True),))
    (file,) = json.loads(emit_ignition(config, secrets=True))["storage"]["files"]
    assert (file["mode"], file["contents"]["source"]) == (384, "data:;base64,S0VZ")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary())
def test_no_text_breaks_out(text: str, data: bytes) -> None:
    config = NodeConfig(files=(File("/etc/a", data),), units=(Unit("a.service", text),), users=(User("core", (text,)),))
    document = json.loads(emit_ignition(config, secrets=True))
    assert base64.b64decode(document["storage"]["files"][0]["contents"]["source"].partition(",")[2]) == data
    assert document["systemd"]["units"] == [{"name": "a.service", "contents": text}]
    assert document["passwd"]["users"][0]["sshAuthorizedKeys"] == [text]
