"""A node's kube-proxy, as a unit beside the kubelet: services work before any pod does, and its credential is its own.

Its flags are not looked at once it has a configuration file: the admin's become fields of it (`cluster.proxy_flags`).
"""

from __future__ import annotations

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.cluster.proxy_flags import split_proxy_flags
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.flags import list_flags, quote_exec
from bootstrapper.nodeconfig.kubernetes_versions import find_version
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.parts import render_file, render_unit
from bootstrapper.nodeconfig.roles.api_address import find_server
from bootstrapper.nodeconfig.roles.downloads import download_unit, remote_file
from bootstrapper.nodeconfig.roles.kubeconfig import DIRECTORY, build_client

CONFIG = f"{DIRECTORY}/kube-proxy.yaml"
LEAF = "kube-proxy"


def build_kube_proxy(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    kubernetes = cluster.kubernetes
    flags, fields = split_proxy_flags(kubernetes.extra_args.get("kube-proxy", {}))
    config: dict[str, object] = {
        "clientConnection": {"kubeconfig": f"{DIRECTORY}/{LEAF}.conf"},
        "clusterCIDR": str(kubernetes.pod_cidr),
        # kube-proxy finds its own Node by it; the system's host name may be set late.
        "hostnameOverride": machine.host,
        "mode": find_version(kubernetes.version).find_proxy_mode(kubernetes.proxy_mode),
        "healthzBindAddress": "0.0.0.0:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    for name, value in fields.items():
        known = config.get(name)
        config[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    words = ["/opt/bin/kube-proxy", f"--config={CONFIG}", *list_flags(flags)]
    files = (
        render_file(CONFIG, "kubernetes/kube-proxy.yaml.j2", machine, context, config=config),
        *build_client(LEAF, find_server(cluster, machine), machine, context),
    )
    unit = render_unit(
        "kubernetes/kube-proxy.service.j2",
        machine,
        context,
        command=quote_exec(words, machine.host),
        download=download_unit("kubernetes"),
    )
    program = remote_file(context, "kubernetes", kubernetes.version, machine.arch, "kube-proxy")
    return NodeConfig(files=files, remote_files=(program,), units=(unit,))
