from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrapper.cluster.model import Cluster, Role
from bootstrapper.nodeconfig.node_labels import find_taints, may_kubelet_set, split_labels


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("rack", True),
        ("example.com/tier", True),
        ("node.kubernetes.io/instance-type", True),
        ("sub.node.kubernetes.io/x", True),
        ("kubelet.kubernetes.io/x", True),
        ("topology.kubernetes.io/zone", True),
        ("kubernetes.io/arch", True),
        ("topology.kubernetes.io/other", False),
        ("node-role.kubernetes.io/worker", False),
        ("node-restriction.kubernetes.io/x", False),
        ("kubernetes.io/x", False),
        ("k8s.io/x", False),
        ("foo.k8s.io/x", False),
        ("notkubernetes.io/x", True),
    ],
)
def test_what_a_kubelet_may_set(key: str, expected: bool) -> None:
    assert may_kubelet_set(key) is expected


def test_labels_are_split(cluster: Cluster) -> None:
    labels = {"rack": "r12", "node-role.kubernetes.io/gpu": "", "node-restriction.kubernetes.io/team": "a"}
    machine = replace(cluster.machines[0], roles=frozenset({Role.ETCD, Role.MASTER, Role.INGRESS}), labels=labels)
    own, servers = split_labels(machine)
    assert own == {"rack": "r12"}
    assert servers == {
        "node-role.kubernetes.io/control-plane": "",
        "node-role.kubernetes.io/ingress": "",
        "node-role.kubernetes.io/etcd": "",
        "node-role.kubernetes.io/gpu": "",
        "node-restriction.kubernetes.io/team": "a",
    }


def test_a_master_is_tainted_unless_it_is_a_worker(cluster: Cluster) -> None:
    master = replace(cluster.machines[0], taints=("a=b:NoExecute",))
    assert find_taints(master) == ("node-role.kubernetes.io/control-plane=:NoSchedule", "a=b:NoExecute")
    # An ingress on a master keeps the master's taint (cluster-desc.md).
    ingress = replace(master, roles=frozenset({Role.MASTER, Role.INGRESS}), taints=())
    assert find_taints(ingress) == ("node-role.kubernetes.io/control-plane=:NoSchedule",)
    assert find_taints(replace(master, roles=frozenset({Role.MASTER, Role.WORKER}), taints=())) == ()
    assert find_taints(cluster.machines[2]) == ()
