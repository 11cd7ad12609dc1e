"""The three ways to the API, and the script that tells kube-vip its interface."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from bootstrapper.cluster.model import Api, Cluster, Role
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.roles.api_address import find_server

SCRIPT = Path(__file__).parent.parent.parent / "templates/nodes/kubernetes/place-vip.sh"
BALANCER = "/etc/kubernetes/manifests/api-balancer.yaml"


def texts(config: NodeConfig) -> dict[str, str]:
    return {file.path: file.content.decode() for file in config.files}


@pytest.fixture
def without_vip(cluster: Cluster) -> Callable[[int], Cluster]:
    def make(port: int) -> Cluster:
        api = Api("k8s.prod.example.com", None, port)
        return replace(cluster, kubernetes=replace(cluster.kubernetes, api=api))

    return make


def test_a_virtual_address(context: Context, cluster: Cluster) -> None:
    master = texts(build(cluster, cluster.machines[0], context))
    pod = yaml.safe_load(master["/etc/bootstrapper/kube-vip.yaml"])
    environment = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert environment["address"] == "10.10.14.250"
    assert environment["vip_interface"] == "INTERFACE"
    assert environment["k8s_config_file"] == "/etc/kubernetes/super-admin.conf"
    assert 'server: "https://kubernetes:6443"' in master["/etc/kubernetes/super-admin.conf"]
    assert pod["spec"]["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": ["kubernetes"]}]
    worker = texts(build(cluster, cluster.machines[2], context))
    assert not [path for path in (*worker, *master) if "balancer" in path]
    assert not [path for path in worker if "vip" in path or "super-admin" in path]
    assert find_server(cluster, cluster.machines[2]) == "https://k8s.prod.example.com:6443"


def test_a_balancer_on_every_node(context: Context, without_vip: Callable[[int], Cluster]) -> None:
    cluster = without_vip(6443)
    context = replace(context, cluster=cluster)
    worker, master = (texts(build(cluster, cluster.machines[index], context)) for index in (2, 0))
    configuration = worker["/etc/kubernetes/balancer/haproxy.cfg"]
    assert "    bind 127.0.0.1:6443\n" in configuration
    assert configuration.endswith("    server node1 10.10.14.11:6443\n    server node2 10.10.14.12:6443\n")
    assert find_server(cluster, cluster.machines[2]) == "https://k8s.prod.example.com:6443"
    # A master's own API server has 6443 of every address.
    assert "    bind 127.0.0.1:6444\n" in master["/etc/kubernetes/balancer/haproxy.cfg"]
    assert "port: 6444" in master[BALANCER]
    assert 'server: "https://k8s.prod.example.com:6444"' in master["/etc/kubernetes/kube-proxy.conf"]
    assert 'server: "https://10.10.14.11:6443"' in master["/etc/kubernetes/scheduler.conf"]
    assert not [path for path in master if "vip" in path or "super-admin" in path]


def test_the_highest_port_has_a_neighbour(without_vip: Callable[[int], Cluster]) -> None:
    cluster = without_vip(65535)
    assert find_server(cluster, cluster.machines[0]) == "https://k8s.prod.example.com:65534"


def test_one_master(context: Context, without_vip: Callable[[int], Cluster]) -> None:
    cluster = without_vip(6443)
    second = replace(cluster.machines[1], roles=frozenset({Role.ETCD}))
    cluster = replace(cluster, machines=(cluster.machines[0], second, cluster.machines[2]))
    for machine in cluster.machines:
        files = texts(build(cluster, machine, replace(context, cluster=cluster)))
        assert "\n10.10.14.11 k8s.prod.example.com\n" in files["/etc/hosts"]
        assert BALANCER not in files
    assert find_server(cluster, cluster.machines[2]) == "https://k8s.prod.example.com:6443"


def test_kube_vip_is_told_the_interface(tmp_path: Path, context: Context, cluster: Cluster) -> None:
    tools, manifests = tmp_path / "bin", tmp_path / "manifests"
    tools.mkdir()
    address = tools / "ip"
    address.write_text(
        "#!/bin/sh\ncat <<'E'\n"
        "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
        "2: enp3s0    inet 10.10.14.111/24 brd 10.10.14.255 scope global enp3s0\\       valid_lft forever\n"
        "7: bond0    inet 10.10.14.11/24 brd 10.10.14.255 scope global bond0\\       valid_lft forever\nE\n"
    )
    address.chmod(0o755)
    manifest = tmp_path / "kube-vip.yaml"
    manifest.write_text(texts(build(cluster, cluster.machines[0], context))["/etc/bootstrapper/kube-vip.yaml"])

    def run(wanted: IPv4Address) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "MANIFESTS": str(manifests)}
        command = ["bash", str(SCRIPT), str(wanted), str(manifest)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=False)

    assert run(IPv4Address("10.10.14.11")).returncode == 0
    assert [path.name for path in manifests.iterdir()] == ["kube-vip.yaml"]
    pod = yaml.safe_load((manifests / "kube-vip.yaml").read_text())
    assert {"name": "vip_interface", "value": "bond0"} in pod["spec"]["containers"][0]["env"]
    missing = run(IPv4Address("10.10.14.1"))
    assert (missing.returncode, missing.stderr) == (1, "no interface holds 10.10.14.1 yet\n")
