"""flanneld as a service of the host, with a credential of its own: the kubelet's may read its own Node only.

Where the shares of the pod network are kept decides what it is given. `kubernetes`: each Node's podCIDR, by a client
certificate that may read Nodes and write their status. `etcd`: below PREFIX, by a client certificate whose name is an
etcd user that may touch nothing else (`kube.members` makes the user; its name is the certificate's, `flannel`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bootstrapper.cluster.model import Arch, Cluster, Machine, Role
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.flags import list_flags, merge_flags, quote_exec
from bootstrapper.nodeconfig.model import File, NodeConfig
from bootstrapper.nodeconfig.parts import key_file, render_file, render_unit
from bootstrapper.nodeconfig.roles import etcd
from bootstrapper.nodeconfig.roles.api_address import find_server
from bootstrapper.nodeconfig.roles.downloads import download_unit, remote_file
from bootstrapper.nodeconfig.roles.kubeconfig import DIRECTORY, build_client

PREFIX = "/coreos.com/network"
NETWORK = "/etc/flannel/net-conf.json"
PKI = "/etc/flannel/pki"
USES_ETCD = "etcd"


def build_flannel(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    if cluster.flannel.backend == "udp" and machine.arch is not Arch.AMD64:
        raise RenderProblem(f"{machine.host}: flannel has no udp backend for {machine.arch}", "use vxlan or host-gw")
    in_etcd = cluster.flannel.datastore == USES_ETCD
    ours = {**flannel_flags(cluster, machine, context), **(_etcd_flags(cluster) if in_etcd else _kube_flags())}
    flags = merge_flags(ours, cluster.kubernetes.extra_args.get("flanneld", {}))
    version, arch = cluster.flannel.version, machine.arch
    unit = render_unit(
        "flannel/flanneld.service.j2",
        machine,
        context,
        command=quote_exec(["/opt/bin/flanneld", *list_flags(flags)], machine.host),
        download=download_unit("flannel"),
    )
    return NodeConfig(
        files=(
            File(NETWORK, (build_network_config(cluster) + "\n").encode()),
            *(
                _etcd_keys(context)
                if in_etcd
                else build_client("flannel", find_server(cluster, machine), machine, context)
            ),
        ),
        remote_files=(remote_file(context, "flannel", version, arch, f"flanneld-{arch}", path="/opt/bin/flanneld"),),
        units=(unit,),
    )


def build_network_seed(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    """On etcd members: the network that flanneld looks for in etcd, written once: a change is for a new cluster."""
    if cluster.flannel.datastore != USES_ETCD:
        return NodeConfig()
    script = "/opt/bootstrapper/flannel-network.sh"
    variables: dict[str, Any] = {
        "key": f"{PREFIX}/config",
        "network": NETWORK_SEED,
        "env": etcd.CLIENT_ENVIRONMENT,
        "script": script,
    }
    return NodeConfig(
        files=(
            File(NETWORK_SEED, (build_network_config(cluster) + "\n").encode()),
            render_file(script, "flannel/flannel-network.sh.j2", machine, context, 0o755, **variables),
        ),
        units=(render_unit("flannel/flannel-network.service.j2", machine, context, **variables),),
    )


def build_network_config(cluster: Cluster) -> str:
    """flannel's own configuration of the whole network, the same on every machine."""
    kubernetes = cluster.kubernetes
    document = {
        "Network": str(kubernetes.pod_cidr),
        "SubnetLen": kubernetes.node_cidr_mask,
        "EnableIPv4": True,
        "Backend": BACKENDS[cluster.flannel.backend],
    }
    return json.dumps(document)


def flannel_flags(cluster: Cluster, machine: Machine, context: Context) -> dict[str, str]:
    """`iface` is always given: without it flanneld takes the card of the default route, which may be another one."""
    address = machine.ip or context.address
    return {"ip-masq": "true"} | ({"iface": str(address)} if address is not None else {})


def list_modules(cluster: Cluster) -> tuple[str, ...]:
    return MODULES[cluster.flannel.backend]


def _kube_flags() -> dict[str, str]:
    return {"kube-subnet-mgr": "true", "kubeconfig-file": f"{DIRECTORY}/flannel.conf", "net-config-path": NETWORK}


def _etcd_flags(cluster: Cluster) -> dict[str, str]:
    return {
        "etcd-endpoints": ",".join(etcd.list_endpoints(cluster)),
        "etcd-prefix": PREFIX,
        "etcd-cafile": f"{PKI}/ca.crt",
        "etcd-certfile": f"{PKI}/client.crt",
        "etcd-keyfile": f"{PKI}/client.key",
    }


def _etcd_keys(context: Context) -> tuple[File, ...]:
    pair = context.keys.pairs["flannel-etcd-client"]
    return (
        key_file(f"{PKI}/ca.crt", context.keys.authorities["etcd"], 0o644),
        key_file(f"{PKI}/client.crt", pair.certificate, 0o644),
        key_file(f"{PKI}/client.key", pair.key),
    )


NETWORK_SEED = "/etc/etcd/flannel-network.json"
FLANNEL_ROLES = frozenset({Role.FLANNEL})
"Implied by every role that makes a node."

BACKENDS: Mapping[str, Mapping[str, object]] = {
    "host-gw": {"Type": "host-gw"},
    "vxlan": {"Type": "vxlan", "Port": 8472},
    "wireguard": {"Type": "wireguard"},
    "udp": {"Type": "udp", "Port": 8285},
}
"`flannel.backend` -> flannel's own words for it."
MODULES: Mapping[str, tuple[str, ...]] = {
    "host-gw": (),
    "vxlan": ("vxlan",),
    "wireguard": ("wireguard",),
    "udp": ("tun",),
}
"`flannel.backend` -> the kernel modules it needs."
