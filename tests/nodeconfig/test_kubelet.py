"""A node's kubelet and kube-proxy: configuration, unit, programs."""

from __future__ import annotations

import shlex
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
import yaml

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig


def file_of(config: NodeConfig, path: str) -> str:
    (content,) = [file.content for file in config.files if file.path == path]
    return content.decode()


def unit_of(config: NodeConfig, name: str) -> dict[str, list[str]]:
    (text,) = [unit.content or "" for unit in config.units if unit.name == name]
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            lines.setdefault(key, []).append(value)
    return lines


def command_of(config: NodeConfig, name: str) -> list[str]:
    return shlex.split(unit_of(config, name)["ExecStart"][0])


@pytest.fixture
def worker(cluster: Cluster) -> Machine:
    return replace(
        cluster.machines[2],
        ip=IPv4Address("10.10.14.31"),
        labels={"rack": "r12", "node-role.kubernetes.io/gpu": ""},
        taints=("dedicated=gpu:NoSchedule",),
    )


def test_the_kubelets_command(context: Context, cluster: Cluster, worker: Machine) -> None:
    assert command_of(build(cluster, worker, context), "kubelet.service") == [
        "/opt/bin/kubelet",
        "--config=/etc/kubernetes/kubelet.yaml",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
        "--cert-dir=/etc/kubernetes/kubelet",
        "--hostname-override=node4",
        "--node-ip=10.10.14.31",
        "--node-labels=rack=r12",
        "--register-with-taints=dedicated=gpu:NoSchedule",
    ]


def test_a_leased_address_is_the_nodes(context: Context, cluster: Cluster) -> None:
    leased = replace(context, address=IPv4Address("10.10.14.107"))
    assert "--node-ip=10.10.14.107" in command_of(build(cluster, cluster.machines[2], leased), "kubelet.service")
    unknown = command_of(build(cluster, cluster.machines[2], context), "kubelet.service")
    assert not [word for word in unknown if word.startswith("--node-ip")]


def test_a_master_is_tainted(context: Context, cluster: Cluster) -> None:
    taint = "--register-with-taints=node-role.kubernetes.io/control-plane=:NoSchedule"
    master = cluster.machines[0]
    assert taint in command_of(build(cluster, master, context), "kubelet.service")
    both = replace(master, roles=master.roles | {Role.WORKER})
    assert taint not in command_of(build(cluster, both, context), "kubelet.service")


def test_the_kubelets_configuration(context: Context, cluster: Cluster, worker: Machine) -> None:
    assert yaml.safe_load(file_of(build(cluster, worker, context), "/etc/kubernetes/kubelet.yaml")) == {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "systemd",
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "maxPods": 110,
        "readOnlyPort": 0,
        "resolvConf": "/run/systemd/resolve/resolv.conf",
        "rotateCertificates": True,
        "serializeImagePulls": False,
        "serverTLSBootstrap": False,
        "shutdownGracePeriod": "45s",
        "shutdownGracePeriodCriticalPods": "30s",
        "staticPodPath": "/etc/kubernetes/manifests",
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
    }


def test_it_starts_after_what_it_needs_and_is_started_again(
    context: Context, cluster: Cluster, worker: Machine
) -> None:
    unit = unit_of(build(cluster, worker, context), "kubelet.service")
    needed = {"containerd.service", "bootstrapper-first-boot.service", "bootstrapper-download@kubernetes.service"}
    assert needed <= set(unit["After"][0].split())
    assert needed <= set(unit["Wants"][0].split())
    # Required, a download that fails once would keep the kubelet from ever being tried again.
    assert "Requires" not in unit
    assert (unit["Restart"], unit["RestartSec"], unit["StartLimitIntervalSec"]) == (["always"], ["10"], ["0"])


def test_kube_proxy(context: Context, cluster: Cluster, worker: Machine) -> None:
    extra = {"kube-proxy": {"v": "2", "conntrack-min": "0", "kube-api-qps": "10"}}
    cluster = replace(cluster, kubernetes=replace(cluster.kubernetes, extra_args=extra))
    config = build(cluster, worker, replace(context, cluster=cluster))
    assert command_of(config, "kube-proxy.service") == [
        "/opt/bin/kube-proxy", "--config=/etc/kubernetes/kube-proxy.yaml", "--v=2",
    ]  # fmt: skip
    assert yaml.safe_load(file_of(config, "/etc/kubernetes/kube-proxy.yaml")) == {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.conf", "qps": 10.0},
        "clusterCIDR": "10.244.0.0/16",
        "conntrack": {"min": 0},
        "healthzBindAddress": "0.0.0.0:10256",
        "hostnameOverride": "node4",
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "nftables",
    }
    assert 'server: "https://k8s.prod.example.com:6443"' in file_of(config, "/etc/kubernetes/kube-proxy.conf")


def test_programs_come_from_here(context: Context, cluster: Cluster, worker: Machine) -> None:
    urls = {file.path: file.url for file in build(cluster, worker, context).remote_files}
    assert urls["/opt/bin/kubelet"] == "http://10.10.14.253/assets/kubernetes/1.35.8/amd64/kubelet"
    assert "/opt/bin/kube-proxy" in urls
    assert "/opt/bin/kubectl" not in urls
    assert "/opt/bin/kubectl" in {file.path for file in build(cluster, cluster.machines[0], context).remote_files}


def test_a_machine_without_a_node_has_none_of_it(context: Context, cluster: Cluster) -> None:
    etcd = replace(cluster.machines[0], roles=frozenset({Role.ETCD}))
    config = build(cluster, etcd, context)
    assert not [unit.name for unit in config.units if unit.name.startswith("kube")]
    assert not [file.path for file in config.files if file.path.startswith("/etc/kubernetes/")]
