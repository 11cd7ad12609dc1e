"""A machine's containerd without the machine: its configuration and its files, below a directory of a test."""

from __future__ import annotations

from pathlib import Path

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.templating import build_environment

PLACES = ("/etc/containerd", "/etc/bootstrapper", "/var/lib/containerd", "/run/containerd")


def install_containerd(root: Path, description: str, authority_pem: str) -> None:
    """What the first machine of `description` is given for it, every path of its own below `root`."""
    cluster = load(description, "cluster-desc.yaml")
    links = Links(cluster.network.bootstrapper)
    context = Context(cluster, links, build_environment(load_templates(None)), authority_pem, token="TOKEN")
    for file in build(cluster, cluster.machines[0], context).files:
        if "containerd" in file.path or file.path.endswith("authority.pem"):
            path = root / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            text = file.content.decode()
            for place in PLACES:
                text = text.replace(f'"{place}', f'"{root}{place}')
            path.write_text(text)
