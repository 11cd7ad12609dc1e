# ruff: noqa: E501 -- messages stand here as one line each, as the admin reads them
"""What follows from a description, for programs and for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootstrapper.cluster.advice import advise
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import DiskSelector
from bootstrapper.cluster.show import describe_disk, plan, text

EXAMPLE = (Path(__file__).parents[2] / "cluster-desc.example.yaml").read_text()
SMALL = """\
version: 1
cluster: {name: small, domain: small.internal}
network: {subnet: 10.0.0.0/24, bootstrapper: 10.0.0.1, routers: []}
registry: {serve: false}
machines:
  - {macs: ["10:11:22:33:44:55", "10:11:22:33:44:56"], ip: 10.0.0.11, roles: [etcd, master, worker]}
"""


def test_the_example_s_plan() -> None:
    cluster = load(EXAMPLE)
    found = plan(cluster, advise(cluster))
    assert json.loads(json.dumps(found)) == found
    assert found["endpoints"] == {
        "bootstrapper": "10.10.14.253",
        "api": "https://k8s.prod.example.com:6443",
        "api_addresses": ["10.10.14.250"],
        "api_reached_by": "a virtual address held by the masters",
        "etcd": ["https://10.10.14.11:2379", "https://10.10.14.12:2379", "https://10.10.14.13:2379"],
        "cluster_dns": "10.96.0.10",
        "dns": "10.10.14.253",
        "ntp": "10.10.14.253",
        "registry": "10.10.14.253:5000",
    }
    assert found["machines"][4] == {
        "host": "00-25-90-c0-f6-d6",
        "fqdn": "00-25-90-c0-f6-d6.prod.example.com",
        "macs": ["00:25:90:c0:f6:d6"],
        "address": "from the pool",
        "fixed": False,
        "roles": ["flannel", "worker", "ceph-osd"],
        "profile": "storage",
        "os": "flatcar 4593.2.5",
        "arch": "amd64",
        "disk": "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
        "data_disk": None,
        "line": 125,
    }
    assert found["sizes"]["pod_blocks"] == 256
    assert [each["path"] for each in found["advice"]] == ["cluster.domain"]


def test_a_small_cluster_s_plan() -> None:
    found = plan(load(SMALL))
    assert found["endpoints"]["api_addresses"] == ["10.0.0.11"]
    assert found["endpoints"]["api_reached_by"] == "the master's own address"
    assert found["endpoints"]["registry"] is None


def test_without_a_virtual_address_every_master_is_an_address() -> None:
    found = plan(load(EXAMPLE.replace("    vip: 10.10.14.250", "    # vip:")))
    assert found["endpoints"]["api_addresses"] == ["10.10.14.11", "10.10.14.12", "10.10.14.13"]
    assert found["endpoints"]["api_reached_by"] == "a local balancer on every node"


def test_the_plan_in_columns() -> None:
    cluster = load(SMALL)
    lines = text(plan(cluster, advise(cluster))).splitlines()
    assert lines[:5] == [
        "Cluster small, domain small.internal",
        "",
        "Machines",
        "  HOST               ADDRESS    ROLES                       MAC                     DISK",
        "  10-11-22-33-44-55  10.0.0.11  etcd,master,flannel,worker  10:11:22:33:44:55 (+1)  the only non-removable disk",
    ]
    assert lines[-3:] == [
        "Advice",
        "  line 1, ssh_authorized_keys: no SSH key: nobody can log in to a machine to see why it is stuck",
        "  line 5, machines: one etcd member: when its disk is lost, the cluster is (three outlive one)",
    ]
    assert not any("registry" in line for line in lines)


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (DiskSelector(), "the only non-removable disk"),
        (DiskSelector(path="/dev/disk/by-id/x"), "/dev/disk/by-id/x"),
        (DiskSelector(model="X1", min_bytes=100 * 10**9, rotational=False), "model X1, at least 100 GB, not rotating"),
        (DiskSelector(min_bytes=2**40, max_bytes=3 * 2**40), "at least 1 TiB, at most 3 TiB"),
        (DiskSelector(transport="nvme", max_bytes=1001), "transport nvme, at most 1001 B"),
    ],
)
def test_a_disk_in_words(disk: DiskSelector, words: str) -> None:
    assert describe_disk(disk) == words
