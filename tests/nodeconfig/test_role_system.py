from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrapper.cluster.model import Cluster, Flannel, Role
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.roles.ceph import build_ceph
from bootstrapper.nodeconfig.roles.system import find_modules, find_settings


@pytest.mark.parametrize(
    ("roles", "backend", "proxy", "modules"),
    [
        ({Role.ETCD}, "vxlan", "nftables", ()),
        ({Role.FLANNEL}, "vxlan", "nftables", ("vxlan",)),
        ({Role.FLANNEL, Role.WORKER}, "host-gw", "nftables", ("overlay", "br_netfilter", "nf_tables", "nf_conntrack")),
        ({Role.FLANNEL, Role.MASTER}, "wireguard", "iptables",
         ("overlay", "br_netfilter", "nf_conntrack", "wireguard")),
        ({Role.FLANNEL}, "udp", "iptables", ("tun",)),
        ({Role.CEPH_OSD}, "vxlan", "iptables", ("rbd",)),
    ],
)  # fmt: skip
def test_modules(roles: set[Role], backend: str, proxy: str, modules: tuple[str, ...], cluster: Cluster) -> None:
    kubernetes = replace(cluster.kubernetes, proxy_mode=proxy)
    changed = replace(cluster, flannel=Flannel("0.28.9", backend, "kubernetes"), kubernetes=kubernetes)
    assert find_modules(changed, replace(cluster.machines[0], roles=frozenset(roles))) == modules


def test_settings(cluster: Cluster) -> None:
    def settings(*roles: Role) -> dict[str, str]:
        return dict(find_settings(replace(cluster.machines[0], roles=frozenset(roles))))

    assert settings(Role.ETCD) == {}
    assert settings(Role.FLANNEL) == {"net.ipv4.ip_forward": "1"}
    node = settings(Role.FLANNEL, Role.WORKER)
    assert node["net.ipv4.ip_forward"] == node["net.bridge.bridge-nf-call-iptables"] == "1"


def test_the_files_are_what_the_system_reads(context: Context, cluster: Cluster) -> None:
    files = {file.path: file.content.decode() for file in build(cluster, cluster.machines[2], context).files}
    assert files["/etc/modules-load.d/10-bootstrapper.conf"].splitlines() == [
        "overlay", "br_netfilter", "nf_tables", "nf_conntrack",
    ]  # fmt: skip
    assert "net.bridge.bridge-nf-call-iptables = 1\n" in files["/etc/sysctl.d/90-bootstrapper.conf"]


def test_ceph_clients_come_from_the_mirror_of_the_image(context: Context, cluster: Cluster) -> None:
    config = build_ceph(cluster, cluster.machines[0], context)
    assert [file.path for file in config.files] == ["/opt/bin/ceph", "/opt/bin/rbd"]
    text = config.files[1].content.decode()
    assert "image=quay.io/ceph/ceph:v" in text
    assert "pull --hosts-dir /etc/containerd/certs.d " in text
    away = replace(cluster, registry=replace(cluster.registry, serve=False))
    assert "--hosts-dir" not in build_ceph(away, cluster.machines[0], context).files[0].content.decode()
