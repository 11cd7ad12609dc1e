"""What differs between the minor versions of Kubernetes in what we write: one table, and nothing else asks for one.

Facts from the release notes and from kubeadm's own manifests (reference kubernetes.md 3.1-3.5). Flags that a version
removed, and which versions a user may choose, are in `cluster.versions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bootstrapper.cluster.versions import minor_of

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class KubernetesVersion:
    pause: str
    "Tag of registry.k8s.io/pause, which containerd starts each pod with."
    coredns: str
    "Tag of registry.k8s.io/coredns/coredns."
    kubelet_config: Mapping[str, object]
    "Fields of KubeletConfiguration."
    proxy_modes: frozenset[str]
    scheduler_live: str = "/livez"
    scheduler_ready: str = "/readyz"
    flags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    "Component -> flags that only this version wants."

    def flags_of(self, component: str) -> Mapping[str, str]:
        return self.flags.get(component, NONE)

    def find_proxy_mode(self, wanted: str) -> str:
        """`wanted`, or what every version has: only the test-only row lacks one that a user may ask for."""
        return wanted if wanted in self.proxy_modes else "iptables"


def find_version(version: str) -> KubernetesVersion:
    """The row of a version that `check` let through. KeyError for any other."""
    return VERSIONS[minor_of(version)]


RUNTIME = "unix:///run/containerd/containerd.sock"

_MODES = frozenset({"nftables", "iptables", "ipvs"})
_SHUTDOWN = {"shutdownGracePeriod": "45s", "shutdownGracePeriodCriticalPods": "30s"}
_CONFIG: Mapping[str, object] = {"containerRuntimeEndpoint": RUNTIME, **_SHUTDOWN}

VERSIONS: Mapping[str, KubernetesVersion] = {
    "1.37": KubernetesVersion("3.10.2", "v1.14.6", _CONFIG, _MODES),
    "1.36": KubernetesVersion("3.10.2", "v1.14.2", _CONFIG, _MODES),
    "1.35": KubernetesVersion("3.10.1", "v1.13.1", _CONFIG, _MODES),
    # Test-only, since `check` refuses it: the newest whose server programs a distribution has the source of. The
    # runtime is a flag (a field since 1.27), a graceful shutdown is still behind a gate, the unencrypted ports are on.
    "1.20": KubernetesVersion(
        pause="3.2",
        coredns="1.7.0",
        kubelet_config={"featureGates": {"GracefulNodeShutdown": True}, **_SHUTDOWN},
        proxy_modes=frozenset({"iptables", "ipvs"}),
        scheduler_live="/healthz",
        scheduler_ready="/healthz",
        flags={
            "kubelet": {"container-runtime": "remote", "container-runtime-endpoint": RUNTIME},
            "kube-apiserver": {"insecure-port": "0"},
            "kube-controller-manager": {"port": "0"},
            "kube-scheduler": {"port": "0"},
        },
    ),
}
"Minor -> what is written differently. 1.37 differs from 1.36 in nothing that we write but its images."
