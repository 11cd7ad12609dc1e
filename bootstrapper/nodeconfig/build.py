"""What a machine's installed system shall be: the part that every machine has, and what its roles add.

A part slots in with one line in `ROLES`: the roles that bring it, and a function from (cluster, machine, context) to a
`NodeConfig`.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from bootstrapper.cluster.model import Cluster, Machine, OsFamily, Role
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig, Unit, User
from bootstrapper.nodeconfig.network import build_network, find_time_servers
from bootstrapper.nodeconfig.parts import NODES, Part
from bootstrapper.nodeconfig.report import build_report
from bootstrapper.nodeconfig.roles.api_address import build_balancer, build_virtual_address, find_api_addresses
from bootstrapper.nodeconfig.roles.ceph import build_ceph
from bootstrapper.nodeconfig.roles.cni import build_cni
from bootstrapper.nodeconfig.roles.containerd import build_containerd
from bootstrapper.nodeconfig.roles.control_plane import build_control_plane
from bootstrapper.nodeconfig.roles.data_disk import build_data_disk
from bootstrapper.nodeconfig.roles.downloads import build_downloads
from bootstrapper.nodeconfig.roles.etcd import build_etcd
from bootstrapper.nodeconfig.roles.flannel import FLANNEL_ROLES, build_flannel, build_network_seed
from bootstrapper.nodeconfig.roles.kube_proxy import build_kube_proxy
from bootstrapper.nodeconfig.roles.kubelet import build_kubelet
from bootstrapper.nodeconfig.roles.renewal import build_renewal
from bootstrapper.nodeconfig.roles.system import CEPH, SYSTEM_ROLES, build_system
from bootstrapper.templating import render

AUTHORITY_PATH = "/etc/bootstrapper/authority.pem"


def build(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    """Everything `machine` gets. Raises RenderProblem, naming the machine, for what cannot be rendered."""
    if machine.os.family is not OsFamily.FLATCAR:
        raise RenderProblem(
            f"{machine.host}: no configuration can be made for os.family {machine.os.family.value} yet",
            "use flatcar",
        )
    config = build_base(cluster, machine, context)
    for roles, part in ROLES:
        if roles & machine.roles:
            config = config + part(cluster, machine, context)
    config = config + build_renewal(config, machine, context) + build_downloads(config.remote_files, context)
    return config + build_report(config, cluster, machine, context)


def build_base(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    """Name, network, names and time, access and updates."""
    files = [
        _rendered("/etc/hosts", "nodes/base/hosts.j2", machine, context, hosts=find_hosts(cluster, machine, context)),
        _rendered("/etc/flatcar/update.conf", "nodes/base/update.conf.j2", machine, context),
        *build_services(cluster, machine, context),
        File(AUTHORITY_PATH, context.authority_pem.encode()),
    ]
    units = (
        *build_network(cluster, machine, context),
        _unit("bootstrapper-timezone.service", machine, context, suffix=".j2", start=True),
        *((Unit("locksmithd.service", mask=True),) if machine.os.updates.strategy == "off" else ()),
    )
    return NodeConfig(
        hostname=machine.host,
        files=tuple(files),
        units=units,
        users=(User("core", cluster.ssh_authorized_keys),),
        kernel_args=find_kernel_args(machine),
    )


def build_services(cluster: Cluster, machine: Machine, context: Context) -> tuple[File, ...]:
    """Names and time from here, and from nobody on the internet (rule 8): both daemons have built-in fallbacks."""
    ntp = find_time_servers(cluster, context.links.address)
    return (
        _rendered(
            "/etc/systemd/timesyncd.conf.d/10-bootstrapper.conf",
            "nodes/base/timesyncd.conf.j2",
            machine,
            context,
            ntp=ntp,
        ),
        _rendered("/etc/systemd/resolved.conf.d/10-bootstrapper.conf", "nodes/base/resolved.conf.j2", machine, context),
    )


def find_hosts(cluster: Cluster, machine: Machine, context: Context) -> list[tuple[IPv4Address, list[str]]]:
    """What must be found with our name server off (rule 9): this machine, this server, the API, etcd and masters."""
    hosts: list[tuple[IPv4Address, list[str]]] = []

    def add(address: IPv4Address, *names: str) -> None:
        hosts.append((address, list(names)))

    own = machine.ip or context.address
    if own is not None:
        add(own, cluster.fqdn(machine), machine.host)
    add(context.links.address, f"bootstrapper.{cluster.domain}", "bootstrapper")
    for address in find_api_addresses(cluster, machine):
        add(address, cluster.kubernetes.api.host)
    for peer in cluster.machines:
        if peer is not machine and peer.ip is not None and peer.roles & {Role.ETCD, Role.MASTER}:
            add(peer.ip, cluster.fqdn(peer), peer.host)
    return hosts


def find_kernel_args(machine: Machine) -> tuple[str, ...]:
    """The installed system's own, the machine's console last: the last one named is /dev/console."""
    if machine.console is None:
        return machine.os.kernel_args
    console = f"console={machine.console.removeprefix('console=')}"
    return machine.os.kernel_args if console in machine.os.kernel_args else (*machine.os.kernel_args, console)


def _rendered(
    path: str,
    template: str,
    machine: Machine,
    context: Context,
    **variables: object,
) -> File:
    values = {"cluster": context.cluster, "machine": machine, **variables}
    return File(path, render(context.environment, template, values, machine.host).encode())


def _unit(name: str, machine: Machine, context: Context, suffix: str = "", start: bool = False) -> Unit:
    """A unit from templates/nodes/base; one to be started is enabled as well."""
    values = {"cluster": context.cluster, "machine": machine}
    text = render(context.environment, f"nodes/base/{name}{suffix}", values, machine.host)
    return Unit(name, text, enable=start, start=start)


ROLES: tuple[tuple[frozenset[Role], Part], ...] = (
    (SYSTEM_ROLES, build_system),
    (frozenset({Role.ETCD}), build_etcd),
    (frozenset({Role.ETCD}), build_network_seed),
    (NODES | CEPH, build_containerd),
    (FLANNEL_ROLES, build_flannel),
    (NODES, build_cni),
    (CEPH, build_ceph),
    (NODES, build_data_disk),
    (NODES, build_kubelet),
    (NODES, build_kube_proxy),
    (NODES, build_balancer),
    (frozenset({Role.MASTER}), build_control_plane),
    (frozenset({Role.MASTER}), build_virtual_address),
)
"""The roles that bring a part, any of them, and the part, which comes once: a machine that is master and worker has one
kubelet. The one place to enter a part."""
