"""Kubeconfigs of a machine's programs. They name the key and certificate as files: a program then takes up a renewed
pair by itself, and the kubeconfig holds nothing secret.
"""

from __future__ import annotations

from bootstrapper.cluster.model import Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File
from bootstrapper.nodeconfig.parts import key_file, render_file

DIRECTORY = "/etc/kubernetes"
PKI = f"{DIRECTORY}/pki"
CA = f"{PKI}/ca.crt"


def client_directory(leaf: str) -> str:
    """A directory for each client's pair, so that a pod can be shown its own and no other; and a whole directory, so
    that the pod sees a renewed pair, which is renamed into place."""
    return f"{PKI}/{leaf}"


def build_client(leaf: str, server: str, machine: Machine, context: Context) -> tuple[File, ...]:
    """`/etc/kubernetes/<leaf>.conf` for the leaf's certificate, against `server`, and the pair it names."""
    directory = client_directory(leaf)
    pair = context.keys.pairs[leaf]
    return (
        render_file(
            f"{DIRECTORY}/{leaf}.conf",
            "kubernetes/kubeconfig.j2",
            machine,
            context,
            ca=CA,
            server=server,
            user=leaf,
            certificate=f"{directory}/client.crt",
            key=f"{directory}/client.key",
        ),
        key_file(f"{directory}/client.crt", pair.certificate, 0o644),
        key_file(f"{directory}/client.key", pair.key),
    )
