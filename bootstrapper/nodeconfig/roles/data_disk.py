"""A second disk for what fills up: images and containers, and the pods' own data.

Its file system's UUID is made of the cluster and the machine, so this machine knows its disk again, whatever its name,
and takes no other for it. An empty disk that the selector finds is made into it; data of anyone else stops (rule 5).
"""

from __future__ import annotations

import uuid

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig
from bootstrapper.nodeconfig.parts import render_file, render_unit
from bootstrapper.templating import read

ENVIRONMENT = "/etc/bootstrapper/data-disk.env"
SCRIPT = "/opt/bootstrapper/data-disk.sh"
LIBRARY = "/opt/bootstrapper/lib-disk.sh"
MOUNT = "/var/lib/machinedata"


def build_data_disk(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    if machine.data_disk is None:
        return NodeConfig()
    identity = make_uuid(cluster, machine)
    files = (
        File(SCRIPT, read(context.environment, "nodes/data-disk/data-disk.sh").encode(), 0o755),
        # How a disk is chosen, and what is on it, is what the installer asks too.
        File(LIBRARY, read(context.environment, "nodes/install/lib-disk.sh").encode(), 0o755),
        render_file(
            ENVIRONMENT,
            "data-disk/data-disk.env.j2",
            machine,
            context,
            disk=machine.data_disk,
            uuid=identity,
            directories=DIRECTORIES,
        ),
        # A drop-in as a file: the unit itself is another part's. The kubelet's names its directory by itself.
        render_file(
            "/etc/systemd/system/containerd.service.d/20-data-disk.conf",
            "data-disk/containerd.conf",
            machine,
            context,
        ),
    )
    units = [
        render_unit("data-disk/bootstrapper-data-disk.service.j2", machine, context, script=SCRIPT),
        render_unit("data-disk/var-lib-machinedata.mount.j2", machine, context, uuid=identity, mount=MOUNT),
        *(
            render_unit(f"data-disk/var-lib-{name}.mount.j2", machine, context, mount=MOUNT, name=name)
            for name in DIRECTORIES
        ),
    ]
    return NodeConfig(files=files, units=tuple(units))


def make_uuid(cluster: Cluster, machine: Machine) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"bootstrapper:{cluster.name}/{machine.mac}"))


DIRECTORIES = ("containerd", "kubelet")
"Below /var/lib: what the disk is for."
