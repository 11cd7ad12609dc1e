from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from bootstrapper.cluster.model import Arch, Cluster, Flannel
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.roles.cni import build_cni
from bootstrapper.nodeconfig.roles.flannel import build_flannel


def command_of(config: NodeConfig) -> list[str]:
    (unit,) = config.units
    (line,) = [line for line in (unit.content or "").splitlines() if line.startswith("ExecStart=")]
    return line.removeprefix("ExecStart=").split(" ")


def test_shares_kept_in_kubernetes(context: Context, cluster: Cluster) -> None:
    config = build_flannel(cluster, cluster.machines[0], context)
    assert command_of(config) == [
        "/opt/bin/flanneld", "--ip-masq=true", "--iface=10.10.14.11", "--kube-subnet-mgr=true",
        "--kubeconfig-file=/etc/kubernetes/flannel.conf", "--net-config-path=/etc/flannel/net-conf.json",
    ]  # fmt: skip
    assert "Environment=NODE_NAME=node1\n" in (config.units[0].content or "")
    secret = {file.path for file in config.files if file.secret and file.first_boot_only}
    assert secret == {"/etc/kubernetes/pki/flannel/client.crt", "/etc/kubernetes/pki/flannel/client.key"}


def test_shares_kept_in_etcd(context: Context, cluster: Cluster) -> None:
    changed = replace(cluster, flannel=Flannel("0.28.9", "vxlan", "etcd"))
    config = build_flannel(changed, cluster.machines[0], context)
    assert command_of(config)[3:] == [
        "--etcd-endpoints=https://10.10.14.11:2379,https://10.10.14.12:2379", "--etcd-prefix=/coreos.com/network",
        "--etcd-cafile=/etc/flannel/pki/ca.crt", "--etcd-certfile=/etc/flannel/pki/client.crt",
        "--etcd-keyfile=/etc/flannel/pki/client.key",
    ]  # fmt: skip
    files = {file.path: file.content.decode() for file in config.files}
    assert "flannel-etcd-client-key" in files["/etc/flannel/pki/client.key"]
    assert "/etc/kubernetes/flannel.conf" not in files


def test_the_interface_is_always_the_machines_own(context: Context, cluster: Cluster) -> None:
    leased = replace(context, address=IPv4Address("10.10.14.107"))
    assert "--iface=10.10.14.107" in command_of(build_flannel(cluster, cluster.machines[2], leased))


@pytest.mark.parametrize(
    ("backend", "written"),
    [
        ("host-gw", {"Type": "host-gw"}),
        ("vxlan", {"Type": "vxlan", "Port": 8472}),
        ("wireguard", {"Type": "wireguard"}),
        ("udp", {"Type": "udp", "Port": 8285}),
    ],
)
def test_backends(backend: str, written: dict[str, object], context: Context, cluster: Cluster) -> None:
    changed = replace(cluster, flannel=Flannel("0.28.9", backend, "kubernetes"))
    (file,) = [
        file
        for file in build_flannel(changed, cluster.machines[0], context).files
        if file.path.endswith("net-conf.json")
    ]
    assert json.loads(file.content) == {
        "Network": "10.244.0.0/16", "SubnetLen": 24, "EnableIPv4": True, "Backend": written,
    }  # fmt: skip


def test_udp_is_for_amd64(context: Context, cluster: Cluster) -> None:
    changed = replace(cluster, flannel=Flannel("0.28.9", "udp", "kubernetes"))
    with pytest.raises(RenderProblem, match="node1: flannel has no udp backend for arm64"):
        build_flannel(changed, replace(cluster.machines[0], arch=Arch.ARM64), context)


def test_the_admins_flags_come_last(context: Context, cluster: Cluster) -> None:
    args = {"flanneld": {"v": "2", "iface": "eno2"}}
    changed = replace(cluster, kubernetes=replace(cluster.kubernetes, extra_args=args))
    command = command_of(build_flannel(changed, cluster.machines[0], context))
    assert "--iface=eno2" in command and command[-1] == "--v=2"


def test_the_plugins(context: Context, cluster: Cluster) -> None:
    config = build_cni(cluster, cluster.machines[0], context)
    assert sorted(file.path for file in config.remote_files) == [
        "/opt/cni/bin/bridge", "/opt/cni/bin/flannel", "/opt/cni/bin/host-local", "/opt/cni/bin/loopback",
        "/opt/cni/bin/portmap",
    ]  # fmt: skip
    assert {file.name for file in config.remote_files} == {
        "cni-plugins/1.9.1/amd64/cni-plugins-linux-amd64-v1.9.1.tgz",
        "flannel-cni/1.9.1-flannel3/amd64/cni-plugin-flannel-linux-amd64-v1.9.1-flannel3.tgz",
    }
    (conflist,) = config.files
    assert [plugin["type"] for plugin in json.loads(conflist.content)["plugins"]] == ["flannel", "portmap"]
