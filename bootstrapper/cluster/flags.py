"""What may stand in `kubernetes.extra_args`: no flag that the version in use does not know any more, none that is
written elsewhere in the description or made by us, and no value that takes away what the cluster stands on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bootstrapper.cluster.proxy_flags import refuse_proxy_flag
from bootstrapper.cluster.versions import find_removed_flag


class Fault(NamedTuple):
    message: str
    hint: str = ""


def refuse_flag(component: str, flag: str, value: str, versions: Mapping[str, str]) -> Fault | None:
    """What is wrong with one flag. `versions`: component -> the version in use."""
    removed = find_removed_flag(component, flag, versions)
    if removed is not None:
        return Fault(f"{component} {versions[component]} does not start with --{flag}: it was removed in {removed}")
    place = ELSEWHERE.get(component, {}).get(flag)
    if place is not None:
        return Fault(f"--{flag} of {component} is ours to set", place)
    if component == "kube-proxy":
        said = refuse_proxy_flag(flag, value)
        return None if said is None else Fault(*said)
    needed = NEEDED.get((component, flag))
    if needed is not None and not needed.allows(value):
        return Fault(f"--{flag}={value} of {component}: {needed.why}")
    return None


class Needed(NamedTuple):
    words: frozenset[str]
    present: bool
    "Whether each of `words` must be among the value's, or none of them may."
    why: str

    def allows(self, value: str) -> bool:
        given = set(value.split(","))
        return self.words <= given if self.present else not self.words & given


_FILES = "it points at a file that the configuration brings"
_MACHINE = "it is the machine's `ip`"
_HOST = "it is the machine's `host`"

ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "kubelet": {
        "config": _FILES, "kubeconfig": _FILES, "bootstrap-kubeconfig": _FILES, "cert-dir": _FILES,
        "client-ca-file": _FILES, "pod-manifest-path": _FILES,
        "hostname-override": _HOST, "node-ip": _MACHINE,
        "node-labels": "set `labels`", "register-with-taints": "set `taints`",
        "max-pods": "set kubernetes.max_pods", "cluster-dns": "set kubernetes.dns_ip",
        "cluster-domain": "set kubernetes.dns_domain",
    },
    "kube-apiserver": {
        "advertise-address": _MACHINE, "secure-port": "set kubernetes.api.port",
        "service-cluster-ip-range": "set kubernetes.service_cidr",
        "etcd-servers": "the members are the machines with role etcd",
        "etcd-cafile": _FILES, "etcd-certfile": _FILES, "etcd-keyfile": _FILES, "client-ca-file": _FILES,
        "tls-cert-file": _FILES, "tls-private-key-file": _FILES, "encryption-provider-config": _FILES,
        "kubelet-client-certificate": _FILES, "kubelet-client-key": _FILES, "proxy-client-cert-file": _FILES,
        "proxy-client-key-file": _FILES, "requestheader-client-ca-file": _FILES,
        "service-account-key-file": _FILES, "service-account-signing-key-file": _FILES,
    },
    "kube-controller-manager": {
        "cluster-cidr": "set kubernetes.pod_cidr", "node-cidr-mask-size": "set kubernetes.node_cidr_mask",
        "allocate-node-cidrs": "it follows from flannel.datastore",
        "service-cluster-ip-range": "set kubernetes.service_cidr",
        "kubeconfig": _FILES, "authentication-kubeconfig": _FILES, "authorization-kubeconfig": _FILES,
        "client-ca-file": _FILES, "root-ca-file": _FILES, "requestheader-client-ca-file": _FILES,
        "cluster-signing-cert-file": _FILES, "cluster-signing-key-file": _FILES,
        "service-account-private-key-file": _FILES,
    },
    "kube-scheduler": {
        "kubeconfig": _FILES, "authentication-kubeconfig": _FILES, "authorization-kubeconfig": _FILES,
    },
    "kube-proxy": {
        "config": _FILES, "kubeconfig": _FILES, "hostname-override": _HOST,
        "cluster-cidr": "set kubernetes.pod_cidr", "proxy-mode": "set kubernetes.proxy_mode",
    },
}  # fmt: skip
"Component -> flag -> where its value comes from. Set twice, two parts of the cluster would disagree."

NEEDED: Mapping[tuple[str, str], Needed] = {
    ("kube-apiserver", "anonymous-auth"): Needed(
        frozenset({"true"}),
        True,
        "the API server's own probes and the nodes' balancers ask /livez without a credential",
    ),
    ("kube-apiserver", "authorization-mode"): Needed(
        frozenset({"Node", "RBAC"}),
        True,
        "expected Node and RBAC among it: kubelets and all others have their rights by them",
    ),
    ("kube-apiserver", "disable-admission-plugins"): Needed(
        frozenset({"NodeRestriction"}), False, "without NodeRestriction each node could act for every other"
    ),
    ("kube-apiserver", "enable-bootstrap-token-auth"): Needed(
        frozenset({"true"}), True, "machines join by bootstrap tokens"
    ),
    ("kube-controller-manager", "use-service-account-credentials"): Needed(
        frozenset({"true"}), True, "otherwise every controller has the rights of all"
    ),
}
"(component, flag) -> what its value must have or must not."
