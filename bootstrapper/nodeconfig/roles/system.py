"""The kernel as the machine's roles need it: modules and settings, loaded before what needs them at every boot."""

from __future__ import annotations

from collections.abc import Mapping

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.parts import is_node, render_file, render_unit
from bootstrapper.nodeconfig.roles.flannel import FLANNEL_ROLES, list_modules

CEPH = frozenset({Role.CEPH_MON, Role.CEPH_OSD})
SYSTEM_ROLES = FLANNEL_ROLES | CEPH


def build_system(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    return NodeConfig(
        files=(
            render_file(
                "/etc/modules-load.d/10-bootstrapper.conf",
                "system/modules.j2",
                machine,
                context,
                modules=find_modules(cluster, machine),
            ),
            render_file(
                "/etc/sysctl.d/90-bootstrapper.conf",
                "system/sysctl.j2",
                machine,
                context,
                settings=find_settings(machine),
            ),
        ),
        units=(render_unit("system/bootstrapper-system.service", machine, context),),
    )


def find_modules(cluster: Cluster, machine: Machine) -> tuple[str, ...]:
    modules: list[str] = []
    if is_node(machine):
        modules += ["overlay", "br_netfilter", *PROXY_MODULES[cluster.kubernetes.proxy_mode]]
    if FLANNEL_ROLES & machine.roles:
        modules += list_modules(cluster)
    if CEPH & machine.roles:
        modules.append("rbd")
    return tuple(modules)


def find_settings(machine: Machine) -> Mapping[str, str]:
    return (FORWARD if FLANNEL_ROLES & machine.roles else {}) | (NODE if is_node(machine) else {})


PROXY_MODULES: Mapping[str, tuple[str, ...]] = {
    "nftables": ("nf_tables", "nf_conntrack"),
    "iptables": ("nf_conntrack",),
    "ipvs": ("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "nf_conntrack"),
}
"`kubernetes.proxy_mode` -> modules."

FORWARD = {"net.ipv4.ip_forward": "1"}
NODE = {
    # Without them a service's address fails between two pods of one machine (kubernetes#24019).
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    # What the kubelet sets itself, or refuses to start without, under protectKernelDefaults.
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    # The defaults are for one user's programs; here all pods are one user.
    "fs.inotify.max_user_instances": "8192",
    "fs.inotify.max_user_watches": "524288",
    "vm.max_map_count": "262144",
}
