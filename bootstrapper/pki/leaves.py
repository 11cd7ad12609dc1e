"""Every certificate of the cluster: who signs it, what it says, and which machines have it. One table, `LEAVES`.

Nobody gets a pair that this table does not give it; renewal issues what this table says and nothing that the asker
wrote. Names, groups and usages are kubeadm's (reference kubernetes.md 6); what differs says why. Kubelets are not here:
each makes its own key, and joins by a bootstrap token and a CSR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address

from cryptography import x509

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.pki.certificates import CLIENT, SERVER, Profile

LIFE = timedelta(days=365)
LOCALHOST = IPv4Address("127.0.0.1")


class Signer(StrEnum):
    """The authorities. Beside them stands this server's own (`pki.authority`), which signs none of these."""

    CLUSTER = "cluster"
    ETCD = "etcd"
    FRONT_PROXY = "front-proxy"


AUTHORITY_NAMES: Mapping[Signer, str] = {
    Signer.CLUSTER: "kubernetes",
    Signer.ETCD: "etcd-ca",
    Signer.FRONT_PROXY: "front-proxy-ca",
}
"Authority -> its common name."

Names = Callable[[Cluster, Machine], tuple[str | IPv4Address, ...]]
Condition = Callable[[Cluster], bool]


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    signer: Signer
    common_name: str
    "Empty: the machine's host name, or none for what is this server's own."
    organization: str
    usages: tuple[x509.ObjectIdentifier, ...]
    names: Names
    "Host names and addresses, for what is connected to."
    roles: frozenset[Role]
    "Any of them; empty: this server alone has it."
    wanted: Condition = lambda _cluster: True
    "Whether the cluster has a use for it at all."


def find_leaves(cluster: Cluster, machine: Machine) -> Iterator[Leaf]:
    """What `machine` has, by its roles."""
    return (leaf for leaf in LEAVES if leaf.roles & machine.roles and leaf.wanted(cluster))


def find_leaf(cluster: Cluster, machine: Machine, name: str) -> Leaf | None:
    """The leaf `name`, if `machine` has it."""
    return next((leaf for leaf in find_leaves(cluster, machine) if leaf.name == name), None)


def find_own_leaf(name: str) -> Leaf:
    """A leaf of this server's. KeyError for one it has not."""
    found = next((leaf for leaf in LEAVES if leaf.name == name and leaf.name in OWN), None)
    if found is None:
        raise KeyError(name)
    return found


def make_profile(leaf: Leaf, cluster: Cluster, machine: Machine) -> Profile:
    """What the certificate of `leaf` says for `machine`.

    Its owner stands in it as a URN, which nothing in the cluster reads: many machines have the same subject, and a
    renewal must know whose certificate it is shown.
    """
    names: list[x509.GeneralName] = [_general(name) for name in dict.fromkeys(leaf.names(cluster, machine))]
    names.append(x509.UniformResourceIdentifier(make_urn(machine.mac, leaf.name)))
    return Profile(leaf.common_name or machine.host, leaf.organization, leaf.usages, tuple(names), LIFE)


def make_own_profile(leaf: Leaf) -> Profile:
    names = (x509.UniformResourceIdentifier(make_urn("server", leaf.name)),)
    return Profile(leaf.common_name, leaf.organization, leaf.usages, names, LIFE)


def make_urn(owner: str, leaf: str) -> str:
    return f"{URN}{owner.replace(':', '-')}:{leaf}"


def parse_urn(text: str) -> tuple[str, str] | None:
    """(MAC, leaf name) of what `make_urn` made for a machine."""
    owner, _, leaf = text.removeprefix(URN).partition(":")
    if not text.startswith(URN) or not leaf:
        return None
    return owner.replace("-", ":"), leaf


def _general(name: str | IPv4Address) -> x509.GeneralName:
    return x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name)


def _none(_cluster: Cluster, _machine: Machine) -> tuple[str | IPv4Address, ...]:
    return ()


def _apiserver_names(cluster: Cluster, machine: Machine) -> tuple[str | IPv4Address, ...]:
    kubernetes = cluster.kubernetes
    addresses = [kubernetes.service_cidr.network_address + 1, kubernetes.api.vip, machine.ip, LOCALHOST]
    return (
        machine.host,
        cluster.fqdn(machine),
        kubernetes.api.host,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{kubernetes.dns_domain}",
        "localhost",
        *(address for address in addresses if address is not None),
    )


def _etcd_names(cluster: Cluster, machine: Machine) -> tuple[str | IPv4Address, ...]:
    """The domain as well: who finds the members by its SRV records checks the certificate against it."""
    addresses = (machine.ip, LOCALHOST) if machine.ip is not None else (LOCALHOST,)
    return (machine.host, cluster.fqdn(machine), cluster.domain, "localhost", *addresses)


def _has_vip(cluster: Cluster) -> bool:
    return cluster.kubernetes.api.vip is not None


def _flannel_in_etcd(cluster: Cluster) -> bool:
    return cluster.flannel.datastore == "etcd"


def _flannel_in_kubernetes(cluster: Cluster) -> bool:
    return cluster.flannel.datastore == "kubernetes"


URN = "urn:bootstrapper:"

_MASTER = frozenset({Role.MASTER})
_ETCD = frozenset({Role.ETCD})
_FLANNEL = frozenset({Role.FLANNEL})
_NODES = frozenset({Role.MASTER, Role.WORKER, Role.INGRESS})
_SERVER: frozenset[Role] = frozenset()

_S, _C = tuple(SERVER), tuple(CLIENT)
_BOTH = (*_S, *_C)
"etcd's gateway calls its own client port: without both usages on both, members and clients are refused (etcd#9398)."

LEAVES: tuple[Leaf, ...] = (
    Leaf("apiserver", Signer.CLUSTER, "kube-apiserver", "", _S, _apiserver_names, _MASTER),
    # No group since 1.35.5 and 1.36.1: the role binding we create names the user (kubernetes#138957).
    Leaf("apiserver-kubelet-client", Signer.CLUSTER, "kube-apiserver-kubelet-client", "", _C, _none, _MASTER),
    Leaf("apiserver-etcd-client", Signer.ETCD, "kube-apiserver-etcd-client", "", _C, _none, _MASTER),
    Leaf("front-proxy-client", Signer.FRONT_PROXY, "front-proxy-client", "", _C, _none, _MASTER),
    Leaf("controller-manager", Signer.CLUSTER, "system:kube-controller-manager", "", _C, _none, _MASTER),
    Leaf("scheduler", Signer.CLUSTER, "system:kube-scheduler", "", _C, _none, _MASTER),
    Leaf("admin", Signer.CLUSTER, "kubernetes-admin", "kubeadm:cluster-admins", _C, _none, _MASTER),
    # kube-vip needs rights before the first role binding exists (kube-vip#684).
    Leaf("super-admin", Signer.CLUSTER, "kubernetes-super-admin", "system:masters", _C, _none, _MASTER, _has_vip),
    Leaf("etcd-server", Signer.ETCD, "", "", _BOTH, _etcd_names, _ETCD),
    Leaf("etcd-peer", Signer.ETCD, "", "", _BOTH, _etcd_names, _ETCD),
    Leaf("etcd-healthcheck-client", Signer.ETCD, "kube-etcd-healthcheck-client", "", _C, _none, _ETCD),
    Leaf("kube-proxy", Signer.CLUSTER, "system:kube-proxy", "", _C, _none, _NODES),
    Leaf("flannel", Signer.CLUSTER, "flannel", "", _C, _none, _FLANNEL, _flannel_in_kubernetes),
    Leaf("flannel-etcd-client", Signer.ETCD, "flannel", "", _C, _none, _FLANNEL, _flannel_in_etcd),
    # This server's own. It makes the role bindings that give anybody rights, so it needs them before there are any.
    Leaf("bootstrapper", Signer.CLUSTER, "bootstrapper", "system:masters", _C, _none, _SERVER),
    # Without a common name: etcd's gateway, which it speaks to, refuses every other once authentication is on.
    Leaf("bootstrapper-etcd", Signer.ETCD, "", "bootstrapper", _C, _none, _SERVER),
)

OWN = ("bootstrapper", "bootstrapper-etcd", "admin")
"What this server has itself; `admin` for the kubeconfig that it writes."
