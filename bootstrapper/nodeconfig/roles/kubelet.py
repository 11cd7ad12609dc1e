"""A node's kubelet: its configuration file, its unit, and the token it joins with. It makes its own key."""

from __future__ import annotations

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.flags import list_flags, merge_flags, quote_exec
from bootstrapper.nodeconfig.kubernetes_versions import RUNTIME, find_version
from bootstrapper.nodeconfig.model import NodeConfig, RemoteFile
from bootstrapper.nodeconfig.node_labels import find_taints, split_labels
from bootstrapper.nodeconfig.parts import key_file, render_file, render_text, render_unit
from bootstrapper.nodeconfig.roles.api_address import find_server
from bootstrapper.nodeconfig.roles.downloads import download_unit, remote_file
from bootstrapper.nodeconfig.roles.kubeconfig import CA, DIRECTORY

CONFIG = f"{DIRECTORY}/kubelet.yaml"
KUBECONFIG = f"{DIRECTORY}/kubelet.conf"
BOOTSTRAP = f"{DIRECTORY}/bootstrap-kubelet.conf"
CERTIFICATES = f"{DIRECTORY}/kubelet"
"Its own key and certificate. Not below /var/lib/kubelet, which may be another disk and outlive an install."


def build_kubelet(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    kubernetes = cluster.kubernetes
    version = find_version(kubernetes.version)
    command = ["/opt/bin/kubelet", *list_flags(kubelet_flags(cluster, machine, context))]
    bootstrap = render_text(
        "kubernetes/bootstrap-kubelet.conf.j2",
        machine,
        context,
        ca=CA,
        server=find_server(cluster, machine),
        token=context.keys.bootstrap_token,
    )
    files = (
        key_file(CA, context.keys.authorities["cluster"], 0o644),
        key_file(BOOTSTRAP, bootstrap),
        render_file(CONFIG, "kubernetes/kubelet.yaml.j2", machine, context, ca=CA, version=version),
        render_file("/etc/crictl.yaml", "kubernetes/crictl.yaml.j2", machine, context, runtime=RUNTIME),
        # logind kills what is running 5 s into a shutdown unless it is told to wait as long as the kubelet asks for.
        render_file("/etc/systemd/logind.conf.d/10-kubelet.conf", "kubernetes/logind.conf", machine, context),
    )
    unit = render_unit(
        "kubernetes/kubelet.service.j2",
        machine,
        context,
        command=quote_exec(command, machine.host),
        download=download_unit("kubernetes"),
    )
    return NodeConfig(files=files, remote_files=list_programs(cluster, machine, context), units=(unit,))


def list_programs(cluster: Cluster, machine: Machine, context: Context) -> tuple[RemoteFile, ...]:
    names = ("kubelet", "kubectl") if Role.MASTER in machine.roles else ("kubelet",)
    version = cluster.kubernetes.version
    return tuple(remote_file(context, "kubernetes", version, machine.arch, name) for name in names)


def kubelet_flags(cluster: Cluster, machine: Machine, context: Context) -> dict[str, str]:
    """What is a flag only, or differs from machine to machine; all else is in the configuration file."""
    address = machine.ip or context.address
    labels, _ = split_labels(machine)
    ours = {
        "config": CONFIG,
        "kubeconfig": KUBECONFIG,
        "bootstrap-kubeconfig": BOOTSTRAP,
        "cert-dir": CERTIFICATES,
        "hostname-override": machine.host,
    }
    if address is not None:
        ours["node-ip"] = str(address)
    if labels:
        ours["node-labels"] = ",".join(f"{key}={value}" for key, value in labels.items())
    if taints := find_taints(machine):
        ours["register-with-taints"] = ",".join(taints)
    kubernetes = cluster.kubernetes
    flags = merge_flags(ours, find_version(kubernetes.version).flags_of("kubelet"))
    return merge_flags(flags, kubernetes.extra_args.get("kubelet", {}))
