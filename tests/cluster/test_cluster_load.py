"""The description's text to its values: the example, defaults, implied roles, levels."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster, Provision, Role
from bootstrapper.errors import ClusterProblems

EXAMPLE = Path(__file__).parents[2] / "cluster-desc.example.yaml"


@pytest.fixture(scope="module")
def example() -> Cluster:
    return load(EXAMPLE.read_text())


def test_the_example(example: Cluster) -> None:
    assert example.name == "prod"
    assert [machine.host for machine in example.machines] == ["node1", "node2", "node3", "node4", "00-25-90-c0-f6-d6"]
    assert example.network.link.network == IPv4Network("10.10.14.0/24")
    assert example.os.kernel_args == ("console=ttyS0,115200n8",)
    storage = example.by_mac["00:25:90:c0:f6:d6"]
    assert storage.disk.path == "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"
    assert storage.roles == {Role.WORKER, Role.CEPH_OSD, Role.FLANNEL}
    assert example.by_host["node3"].roles == {Role.ETCD, Role.MASTER, Role.INGRESS, Role.FLANNEL}


MINIMAL = """\
version: 1
cluster: {name: small, domain: small.internal}
network: {subnet: 10.0.0.0/24, bootstrapper: 10.0.0.1, routers: [10.0.0.254]}
machines:
  - {mac: 10:11:22:33:44:55, ip: 10.0.0.11, roles: [etcd, master, worker]}
"""


def test_the_smallest_file_has_every_default() -> None:
    cluster = load(MINIMAL)
    machine = cluster.machines[0]
    assert machine.mac == "10:11:22:33:44:55"
    assert machine.host == "10-11-22-33-44-55"
    assert machine.line == 5
    assert machine.os.provision is Provision.CLOUD_CONFIG
    assert cluster.etcd_version == "3.6.14"
    assert cluster.kubernetes.api.host == "k8s.small.internal"
    assert cluster.kubernetes.dns_ip == IPv4Address("10.96.0.10")
    assert cluster.network.dhcp.lease_s == 43200
    assert cluster.network.dns.upstream == ()
    assert cluster.network.ntp.upstream == ()


POOLED = MINIMAL.replace("10.0.0.254]", "10.0.0.254], dhcp: {range: 10.0.0.100-10.0.0.109}")


def test_an_approved_machine_is_a_worker_like_one_that_is_written() -> None:
    cluster = load(POOLED, approved=("02:00:00:00:00:09", "10:11:22:33:44:55"))
    assert [machine.host for machine in cluster.machines] == ["10-11-22-33-44-55", "02-00-00-00-00-09"]
    assert cluster == load(POOLED + '  - {mac: "02:00:00:00:00:09", roles: [worker]}\n')


def test_an_approved_machine_is_checked_like_one_that_is_written() -> None:
    with pytest.raises(ClusterProblems) as caught:
        load(MINIMAL, approved=("02:00:00:00:00:09",))
    assert [problem.path for problem in caught.value.problems] == ["network.dhcp.range"]
