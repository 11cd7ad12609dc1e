"""A node's labels, in two halves: those its kubelet may set itself, and those only this server can set.

A kubelet with a label of a role exits (kubernetes#75457), and NodeRestriction keeps it from others of Kubernetes' own:
so that no node can draw to itself what is meant for another.
"""

from __future__ import annotations

from collections.abc import Mapping

from bootstrapper.cluster.model import Machine, Role


def split_labels(machine: Machine) -> tuple[dict[str, str], dict[str, str]]:
    """(what the kubelet registers with, what the server sets): the roles' labels and the description's."""
    labels = {f"{ROLE_PREFIX}{name}": "" for role, name in ROLE_LABELS.items() if role in machine.roles}
    labels.update(machine.labels)
    own: dict[str, str] = {}
    ours: dict[str, str] = {}
    for key, value in labels.items():
        (own if may_kubelet_set(key) else ours)[key] = value
    return own, ours


def may_kubelet_set(key: str) -> bool:
    """Kubernetes' own prefixes are closed to kubelets but for these (KubeletLabels of k8s.io/kubelet/pkg/apis)."""
    prefix, slash, _ = key.rpartition("/")
    if not slash or not _is_below(prefix, ("kubernetes.io", "k8s.io")):
        return True
    return key in KUBELET_LABELS or _is_below(prefix, KUBELET_PREFIXES)


def _is_below(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in domains)


def find_taints(machine: Machine) -> tuple[str, ...]:
    """What a node registers with: a master takes no pods unless it is a worker too."""
    alone = Role.MASTER in machine.roles and Role.WORKER not in machine.roles
    return ((CONTROL_PLANE_TAINT,) if alone else ()) + machine.taints


ROLE_PREFIX = "node-role.kubernetes.io/"
CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane=:NoSchedule"

ROLE_LABELS: Mapping[Role, str] = {
    Role.MASTER: "control-plane",
    Role.WORKER: "worker",
    Role.INGRESS: "ingress",
    Role.ETCD: "etcd",
    Role.CEPH_MON: "ceph-mon",
    Role.CEPH_OSD: "ceph-osd",
}

KUBELET_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
