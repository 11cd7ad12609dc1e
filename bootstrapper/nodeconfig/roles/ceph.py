"""A Ceph machine's client: `ceph` and `rbd`, from Ceph's own image, since /usr is read-only.

The kernel's part is `system`'s. Which disks Ceph takes is decided in the cluster (Rook takes those with nothing on
them); no disk but the install disk is ever written to from here (design.md rule 5).
"""

from __future__ import annotations

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.parts import render_file
from bootstrapper.nodeconfig.roles.containerd import REGISTRIES

IMAGE = "quay.io/ceph/ceph:v20.2.4"
PROGRAMS = ("ceph", "rbd")


def build_ceph(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    return NodeConfig(
        files=tuple(
            render_file(
                f"/opt/bin/{program}",
                "ceph/client.sh.j2",
                machine,
                context,
                0o755,
                program=program,
                image=IMAGE,
                registries=REGISTRIES if cluster.registry.serve else "",
            )
            for program in PROGRAMS
        )
    )
