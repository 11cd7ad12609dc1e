"""Hostile text in every field of the description that takes free text: refused with a reason, or no more than text in
each language that it is rendered into. What a benign value gives has the same shape."""

from __future__ import annotations

import base64
import copy
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hostile import HOSTILE, MARK
from rack import make_environment

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import ClusterProblems, RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import OUTPUTS, render_output

ENVIRONMENT = make_environment()
TOKEN = "t" * 43
DESCRIPTION: dict[str, Any] = {
    "version": 1,
    "cluster": {"name": "prod", "domain": "prod.example.com"},
    "network": {"subnet": "10.10.14.0/24", "bootstrapper": "10.10.14.253", "routers": ["10.10.14.254"],
                "dhcp": {"range": "10.10.14.100-10.10.14.199"}, "dns": {"records": {"nas": "10.10.14.9"}}},
    "os": {"version": "4593.2.5", "timezone": "Etc/UTC", "kernel_args": ["quiet"]},
    "kubernetes": {"version": "1.35.8", "extra_args": {"kubelet": {"v": "2"}, "etcd": {"snapshot-count": "1"},
                                                       "kube-apiserver": {"v": "2"}}},
    "registry": {"mirror": ["registry.k8s.io", "ghcr.io", "quay.io", "docker.io"]},
    "ssh_authorized_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGG4zZHmEkso6L1N7GxxqGk+kCJB/3TOJOco9m8T/DAg me"],
    "profiles": {"storage": {"labels": {"rack": "r12"}}},
    "machines": [
        {"mac": "00:25:90:c0:f7:80", "host": "node1", "ip": "10.10.14.11", "roles": ["etcd", "master", "worker"],
         "disk": {"model": "Model", "serial": "Serial"}, "labels": {"rack": "r12"},
         "taints": ["dedicated=x:NoSchedule"],
         "console": "ttyS0,115200n8", "kernel_args": ["mitigations=auto"], "profile": "storage",
         "data_disk": {"model": "Model2"},
         "interfaces": [{"name": "ens1", "kind": "physical", "mac": "00:25:90:c0:f6:da"}]},
    ],
}  # fmt: skip
FIELDS = (
    "cluster.name", "cluster.domain", "network.dns.records.nas", "os.version", "os.timezone", "os.kernel_args.0",
    "os.channel", "kubernetes.version", "kubernetes.api.host", "kubernetes.extra_args.kubelet.v",
    "kubernetes.extra_args.etcd.snapshot-count", "kubernetes.extra_args.kube-apiserver.v", "kubernetes.dns_domain",
    "registry.mirror.0", "ssh_authorized_keys.0", "machines.0.host", "machines.0.disk.model", "machines.0.disk.serial",
    "machines.0.disk.path", "machines.0.disk.wwn", "machines.0.labels.rack", "machines.0.taints.0",
    "machines.0.console", "machines.0.kernel_args.0", "machines.0.data_disk.model", "machines.0.interfaces.0.name",
    "machines.0.mac",
    "machines.0.uuid", "machines.0.serial", "machines.0.profile", "etcd.version", "flannel.version",
)  # fmt: skip
AROUND = {"kernel_args.0": "a={}", "ssh_authorized_keys.0": "{key} {{}}", "taints.0": "a={}:NoSchedule"}
"Where the hostile text stands in what is otherwise right."


def put(path: str, value: str) -> dict[str, Any]:
    changed = copy.deepcopy(DESCRIPTION)
    *parents, last = path.split(".")
    at: Any = changed
    for name in parents:
        at = at[int(name)] if name.isdigit() else at.setdefault(name, {})
    if last.isdigit():
        at[int(last)] = value
    else:
        at[last] = value
    return changed


def write(document: dict[str, Any]) -> str:
    """As YAML; JSON is YAML, but for what its scanner refuses before anybody looks at the value."""
    return yaml.dump(document, allow_unicode=True, sort_keys=False, width=10**9)


def render(cluster: Cluster) -> dict[str, str]:
    context = Context(cluster, Links(cluster.network.bootstrapper), ENVIRONMENT, "AUTHORITY\n", token=TOKEN)
    return {name: render_output(name, context, cluster.machines[0]).text for name in OUTPUTS}


def shape_of(outputs: dict[str, str]) -> dict[str, object]:
    """Everything that a reader of these texts acts on, without the values."""
    shape: dict[str, object] = {}
    for name, text in outputs.items():
        if name in ("boot.ipxe", "grub.cfg", "pxelinux.cfg"):
            shape[name] = [line.split(" ")[0] for line in text.split("\n")]
        elif name in ("ignition", "install"):
            document = json.loads(text)
            shape[f"{name} keys"] = keys_of(document)
            for file in document["storage"]["files"]:
                shape[f"{name} {file['path']}"] = shape_of_file(file["path"], decode(file["contents"]["source"]))
            for unit in document["systemd"]["units"]:
                shape[f"{name} unit {unit['name']}"] = shape_of_unit(unit.get("contents", ""))
        elif name == "cloud-config":
            document = yaml.safe_load(text)
            shape[name] = keys_of(document | {"write_files": []})
            for file in document["write_files"]:
                content = file["content"]
                content = base64.b64decode(content).decode() if file.get("encoding") == "base64" else content
                shape[f"{name} {file['path']}"] = shape_of_file(file["path"], content)
        else:
            shape[name] = keys_of(yaml.safe_load(text))
    return shape


def decode(source: str) -> str:
    head, _, body = source.partition(",")
    assert "gzip" not in head
    return base64.b64decode(body).decode() if head.endswith("base64") else body


def shape_of_file(path: str, text: str) -> object:
    if path.endswith((".env", "/etc/environment")):
        return [word.partition("=")[0] for word in shlex.split(text, comments=True)]
    if path.endswith((".yaml", ".yml", ".json", ".conflist")) or "/manifests/" in path:
        return [keys_of(each) for each in yaml.safe_load_all(text)]
    if path.endswith((".service", ".mount", ".timer", ".network", ".netdev")):
        return shape_of_unit(text)
    return len(text.splitlines()), text.count("\n")


def shape_of_unit(text: str) -> list[object]:
    """Sections, keys, and how many words a command has."""
    lines: list[object] = []
    for line in text.split("\n"):
        key = line.partition("=")[0]
        lines.append((key, len(shlex.split(line))) if key.startswith("Exec") else key)
    return lines


def keys_of(value: object) -> object:
    if isinstance(value, dict):
        return {MARK if MARK in str(key) else key: keys_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [keys_of(inner) for inner in value]
    return type(value).__name__


def benign(path: str) -> Iterator[str]:
    """Values that are right where `path` is: the one there, and words of a free text."""
    at: Any = DESCRIPTION
    for name in path.split("."):
        at = at[int(name)] if name.isdigit() else at.get(name) if isinstance(at, dict) else None
    if isinstance(at, str):
        yield at
    yield "word"


@pytest.mark.parametrize("path", FIELDS)
def test_hostile_text_is_refused_or_stays_text(path: str) -> None:
    around = next((text for end, text in AROUND.items() if path.endswith(end)), "{}")
    around = (
        around.format(key=DESCRIPTION["ssh_authorized_keys"][0].rpartition(" ")[0]) if "{key}" in around else around
    )
    shape = None
    for value in benign(path):
        try:
            shape = shape_of(render(load(write(put(path, value)), "d.yaml")))
            break
        except ClusterProblems:
            continue
    for kind, hostile in HOSTILE.items():
        for text in (hostile, around.format(hostile)) if around != "{}" else (hostile,):
            try:
                document = write(put(path, text))
            except UnicodeEncodeError:
                continue
            try:
                cluster = load(document, "d.yaml")
            except ClusterProblems as error:
                assert error.problems
                continue
            try:
                outputs = render(cluster)
            except RenderProblem:
                continue  # `check` renders as well, and says so
            assert shape is not None, f"{kind}: {text!r} is taken where no plain word is"
            assert shape_of(outputs) == shape, f"{kind}: {text!r}"
            for name in ("boot.ipxe", "grub.cfg", "pxelinux.cfg"):
                assert f"${{{MARK}}}" not in outputs[name]
                assert f"$({MARK})" not in outputs[name]


def test_an_ssh_key_with_quotes_is_the_key_that_was_written() -> None:
    key = DESCRIPTION["ssh_authorized_keys"][0].rpartition(" ")[0] + ' "it\'s" `me` $(HOME) {{x}} #1 %n'
    outputs = render(load(write(put("ssh_authorized_keys.0", key)), "d.yaml"))
    assert yaml.safe_load(outputs["cloud-config"])["ssh_authorized_keys"] == [key]
    assert json.loads(outputs["ignition"])["passwd"]["users"][0]["sshAuthorizedKeys"] == [key]


def test_a_disks_model_reaches_the_installers_shell_as_it_is() -> None:
    model = "A \"B\" 'C' $(reboot) `reboot` ${HOME} ; reboot # \\ % {{ 7*7 }}"
    outputs = render(load(write(put("machines.0.disk.model", model)), "d.yaml"))
    files = {
        each["path"]: decode(each["contents"]["source"]) for each in json.loads(outputs["install"])["storage"]["files"]
    }
    words = dict(word.split("=", 1) for word in shlex.split(files["/etc/bootstrapper/install.env"], comments=True))
    assert words["DISK_MODEL"] == model
