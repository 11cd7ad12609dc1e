"""How containerd puts a pod on the network: flannel's plugin, and the four that it calls."""

from __future__ import annotations

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.parts import render_file
from bootstrapper.nodeconfig.roles.downloads import remote_file

PROGRAMS = "/opt/cni/bin"
VERSION = "1.9.1"
"Of containernetworking/plugins."
FLANNEL_VERSION = "1.9.1-flannel3"
"Of flannel-io/cni-plugin: since 1.0 it is not among the others."
PLUGINS = ("bridge", "host-local", "loopback", "portmap")


def build_cni(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    arch = machine.arch
    archive = f"cni-plugins-linux-{arch}-v{VERSION}.tgz"
    flannel = f"cni-plugin-flannel-linux-{arch}-v{FLANNEL_VERSION}.tgz"
    # It needs no order: the plugin refuses until flanneld has written its share, and the kubelet asks again.
    return NodeConfig(
        files=(render_file("/etc/cni/net.d/10-flannel.conflist", "flannel/10-flannel.conflist", machine, context),),
        remote_files=(
            *(
                remote_file(context, "cni-plugins", VERSION, arch, archive, f"{PROGRAMS}/{name}", name)
                for name in PLUGINS
            ),
            remote_file(
                context, "flannel-cni", FLANNEL_VERSION, arch, flannel, f"{PROGRAMS}/flannel", f"flannel-{arch}"
            ),
        ),
    )
