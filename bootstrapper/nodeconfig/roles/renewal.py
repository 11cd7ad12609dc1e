"""What keeps a machine's certificates from ending (design.md rule 9): a timer, a script, and a list of what there is.

The list is made from the files that the machine's parts brought: a part that brings a pair of `pki.leaves` enters it
in PAIRS, and nothing else is to be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bootstrapper.cluster.model import Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig
from bootstrapper.nodeconfig.parts import render_file, render_unit
from bootstrapper.nodeconfig.roles import etcd, flannel
from bootstrapper.nodeconfig.roles.control_plane import LEAVES, MANIFESTS
from bootstrapper.nodeconfig.roles.kubeconfig import CA, PKI, client_directory
from bootstrapper.nodeconfig.roles.kubelet import BOOTSTRAP, KUBECONFIG
from bootstrapper.templating import read

SCRIPT = "/opt/bootstrapper/renew.sh"
LIST = "/etc/bootstrapper/renew.list"
ENVIRONMENT = "/etc/bootstrapper/renew.env"
AUTHORITY = "/etc/bootstrapper/authority.pem"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine has a pair."""

    signer: str
    "The authority that signs it: `cluster`, `etcd`, `front-proxy`."
    certificate: str
    key: str
    unit: str = ""
    "Restarted for a new pair. Empty: what uses it reads it again by itself."


def build_renewal(config: NodeConfig, machine: Machine, context: Context) -> NodeConfig:
    """For what `config` holds so far. Nothing for a machine without a pair."""
    lines = list_lines(config)
    if not any(line.startswith("certificate ") for line in lines):
        return NodeConfig()
    return NodeConfig(
        files=(
            File(SCRIPT, read(context.environment, "nodes/renew/renew.sh").encode(), 0o755),
            File(LIST, ("\n".join(lines) + "\n").encode()),
            render_file(
                ENVIRONMENT,
                "renew/renew.env.j2",
                machine,
                context,
                server=context.links.https,
                authority=AUTHORITY,
            ),
        ),
        units=(
            render_unit("renew/bootstrapper-renew.service", machine, context, start=False),
            render_unit("renew/bootstrapper-renew.timer", machine, context),
        ),
    )


def list_lines(config: NodeConfig) -> list[str]:
    """What renew.sh reads; its head says how."""
    paths = {file.path for file in config.files}
    units = {unit.name for unit in config.units}
    lines = [f"authority {name} {path}" for path, name in AUTHORITIES.items() if path in paths]
    lines += [
        f"certificate {leaf} {place.signer} {place.certificate} {place.key} {place.unit}".rstrip()
        for leaf, place in PAIRS.items()
        if place.certificate in paths
    ]
    lines += [f"restart {unit}" for unit in RESTARTS if unit in units]
    lines += [f"pod {path}" for path in PODS if path in paths]
    if BOOTSTRAP in paths:
        lines += [f"token {BOOTSTRAP}", f"joined {KUBECONFIG}"]
    return lines


def _client(leaf: str, unit: str = "") -> Place:
    """A pair beside a kubeconfig; both names lead to the same directory for every program."""
    directory = client_directory(leaf)
    return Place("cluster", f"{directory}/client.crt", f"{directory}/client.key", unit)


SIGNERS: Mapping[str, str] = {"apiserver-etcd-client": "etcd", "front-proxy-client": "front-proxy"}

PAIRS: Mapping[str, Place] = {
    **{leaf: Place(SIGNERS.get(leaf, "cluster"), f"{PKI}/{leaf}.crt", f"{PKI}/{leaf}.key") for leaf in LEAVES},
    **{leaf: _client(leaf) for leaf in ("controller-manager", "scheduler", "admin", "super-admin")},
    **{leaf: Place("etcd", f"{etcd.PKI}/{name}.crt", f"{etcd.PKI}/{name}.key") for leaf, name in etcd.LEAVES.items()},
    "kube-proxy": _client("kube-proxy", "kube-proxy.service"),
    "flannel": _client("flannel", "flanneld.service"),
    "flannel-etcd-client": Place("etcd", f"{flannel.PKI}/client.crt", f"{flannel.PKI}/client.key", "flanneld.service"),
}
"""Leaf of `pki.leaves` -> where it is. The API server and etcd read their pairs at every handshake; client-go, in the
controller manager and the scheduler, every five minutes."""

AUTHORITIES: Mapping[str, str] = {
    CA: "cluster",
    f"{PKI}/etcd/ca.crt": "etcd",
    f"{PKI}/front-proxy-ca.crt": "front-proxy",
    f"{etcd.PKI}/ca.crt": "etcd",
    f"{flannel.PKI}/ca.crt": "etcd",
}
"Path -> which authority's certificates are in it."

RESTARTS = ("etcd.service", "kubelet.service", "kube-proxy.service", "flanneld.service")
PODS = tuple(f"{MANIFESTS}/{name}.yaml" for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"))
"What reads an authority only when it starts."
