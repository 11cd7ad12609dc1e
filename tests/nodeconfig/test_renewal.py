"""What a machine renews, by what its parts brought."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rack import LINKS, make_cluster, make_environment, make_machine

from bootstrapper.cluster.model import Flannel, Role
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context

SCRIPT = Path(__file__).parent.parent.parent / "templates/nodes/renew/renew.sh"


def find_list(roles: set[Role], datastore: str = "kubernetes") -> list[str] | None:
    machine = make_machine(roles=frozenset(roles))
    cluster = replace(make_cluster(machine), flannel=Flannel("0.28.9", "host-gw", datastore))
    config = build(cluster, machine, Context(cluster, LINKS, make_environment(), "", token="x" * 43))
    files = {file.path: file.content.decode() for file in config.files}
    text = files.get("/etc/bootstrapper/renew.list")
    assert (text is None) == ("bootstrapper-renew.timer" not in {unit.name for unit in config.units})
    if text is None:
        return None
    for line in text.splitlines():
        kind, *words = line.split()
        wanted = {"authority": words[1:], "certificate": words[2:4], "pod": words, "token": words}.get(kind, [])
        assert set(wanted) <= set(files), line
    return text.splitlines()


def test_a_worker():
    assert find_list({Role.WORKER, Role.FLANNEL}) == [
        "authority cluster /etc/kubernetes/pki/ca.crt",
        "certificate kube-proxy cluster /etc/kubernetes/pki/kube-proxy/client.crt"
        " /etc/kubernetes/pki/kube-proxy/client.key kube-proxy.service",
        "certificate flannel cluster /etc/kubernetes/pki/flannel/client.crt"
        " /etc/kubernetes/pki/flannel/client.key flanneld.service",
        "restart kubelet.service",
        "restart kube-proxy.service",
        "restart flanneld.service",
        "token /etc/kubernetes/bootstrap-kubelet.conf",
        "joined /etc/kubernetes/kubelet.conf",
    ]


def test_an_etcd_member():
    assert find_list({Role.ETCD}) == [
        "authority etcd /etc/etcd/pki/ca.crt",
        "certificate etcd-server etcd /etc/etcd/pki/server.crt /etc/etcd/pki/server.key",
        "certificate etcd-peer etcd /etc/etcd/pki/peer.crt /etc/etcd/pki/peer.key",
        "certificate etcd-healthcheck-client etcd /etc/etcd/pki/healthcheck-client.crt"
        " /etc/etcd/pki/healthcheck-client.key",
        "restart etcd.service",
    ]


def test_a_host_on_flannels_network_alone():
    lines = find_list({Role.FLANNEL}, "etcd")
    assert lines == [
        "authority etcd /etc/flannel/pki/ca.crt",
        "certificate flannel-etcd-client etcd /etc/flannel/pki/client.crt /etc/flannel/pki/client.key flanneld.service",
        "restart flanneld.service",
    ]


@pytest.mark.parametrize(
    ("leaf", "signer"),
    [
        ("apiserver", "cluster"),
        ("apiserver-kubelet-client", "cluster"),
        ("apiserver-etcd-client", "etcd"),
        ("front-proxy-client", "front-proxy"),
        ("controller-manager", "cluster"),
        ("scheduler", "cluster"),
        ("admin", "cluster"),
        ("kube-proxy", "cluster"),
    ],
)
def test_a_master(leaf, signer):
    lines = find_list({Role.MASTER, Role.FLANNEL})
    assert [line.split()[2] for line in lines if line.startswith(f"certificate {leaf} ")] == [signer]
    assert "pod /etc/kubernetes/manifests/kube-apiserver.yaml" in lines


def test_a_machine_without_a_pair_has_no_timer():
    assert find_list({Role.CEPH_OSD}) is None


def test_bash_reads_the_script():
    assert subprocess.run(["bash", "-n", SCRIPT], capture_output=True).stderr == b""
