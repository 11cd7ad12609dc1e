"""How a machine reaches the Kubernetes API (cluster-desc.md, "The API's address").

Three ways, all by the name `api.host`, which /etc/hosts resolves on every machine: a virtual address that kube-vip
holds on one of the masters; without one and with several masters, a balancer on every node; with one master, its
address. The control plane itself does not go that way: each master's programs ask their own API server.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig
from bootstrapper.nodeconfig.parts import is_node, render_file, render_unit
from bootstrapper.nodeconfig.roles.kubeconfig import DIRECTORY, build_client, client_directory
from bootstrapper.templating import read

KUBE_VIP_IMAGE = "ghcr.io/kube-vip/kube-vip:v1.2.3"
HAPROXY_IMAGE = "docker.io/library/haproxy:3.2.13-alpine"

LOCAL = IPv4Address("127.0.0.1")
PLACE_VIP = "nodes/kubernetes/place-vip.sh"
VIP_MANIFEST = "/etc/bootstrapper/kube-vip.yaml"


def find_server(cluster: Cluster, machine: Machine) -> str:
    """What a kubelet, kube-proxy or flanneld on `machine` has as the API's URL."""
    return f"https://{cluster.kubernetes.api.host}:{find_port(cluster, machine)}"


def find_own_server(cluster: Cluster, machine: Machine) -> str:
    """A master's own API server: for its controller manager and scheduler."""
    return f"https://{machine.ip}:{cluster.kubernetes.api.port}"


def has_balancer(cluster: Cluster) -> bool:
    return cluster.kubernetes.api.vip is None and len(cluster.with_role(Role.MASTER)) > 1


def find_port(cluster: Cluster, machine: Machine) -> int:
    """On a master the API server has every address's `api.port`, so its balancer takes the next one."""
    port = cluster.kubernetes.api.port
    if not has_balancer(cluster) or Role.MASTER not in machine.roles:
        return port
    return port + 1 if port < 65535 else port - 1


def find_api_addresses(cluster: Cluster, machine: Machine) -> tuple[IPv4Address, ...]:
    """What `api.host` is on `machine`."""
    vip = cluster.kubernetes.api.vip
    if vip is not None:
        return (vip,)
    if has_balancer(cluster) and is_node(machine):
        return (LOCAL,)
    return tuple(master.ip for master in cluster.with_role(Role.MASTER) if master.ip is not None)


def build_virtual_address(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    """kube-vip on a master, when there is a virtual address.

    Its interface is found on the machine at every boot, since only the card's MAC is known here. It needs rights before
    the first RBAC rule exists, hence a member of system:masters (kube-vip#684), and looks for `kubernetes`, which is
    its own machine: the address it is to bring up cannot be how it reaches the API.
    """
    if cluster.kubernetes.api.vip is None:
        return NodeConfig()
    leaf = "super-admin"
    manifest = render_file(
        VIP_MANIFEST,
        "kubernetes/kube-vip.yaml.j2",
        machine,
        context,
        image=KUBE_VIP_IMAGE,
        kubeconfig=f"{DIRECTORY}/{leaf}.conf",
        pair=client_directory(leaf),
    )
    script = File("/opt/bootstrapper/place-vip.sh", read(context.environment, PLACE_VIP).encode(), 0o755)
    client = build_client(leaf, f"https://kubernetes:{cluster.kubernetes.api.port}", machine, context)
    return NodeConfig(
        files=(manifest, script, *client),
        units=(render_unit("kubernetes/bootstrapper-vip.service.j2", machine, context, manifest=VIP_MANIFEST),),
    )


def build_balancer(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    """haproxy on a node, when there are several masters and no virtual address."""
    if not has_balancer(cluster):
        return NodeConfig()
    masters = [master for master in cluster.with_role(Role.MASTER) if master.ip is not None]
    port = find_port(cluster, machine)
    files: tuple[File, ...] = (
        render_file(
            f"{DIRECTORY}/balancer/haproxy.cfg",
            "kubernetes/haproxy.cfg.j2",
            machine,
            context,
            masters=masters,
            port=port,
        ),
        render_file(
            f"{DIRECTORY}/manifests/api-balancer.yaml",
            "kubernetes/api-balancer.yaml.j2",
            machine,
            context,
            image=HAPROXY_IMAGE,
            port=port,
            directory=f"{DIRECTORY}/balancer",
        ),
    )
    return NodeConfig(files=files)
