"""Which container images the machines' own configurations name, and which of them our registry would not have."""

from __future__ import annotations

from collections.abc import Iterator

from bootstrapper.cluster.model import Cluster, Role
from bootstrapper.errors import Problem
from bootstrapper.nodeconfig.kubernetes_versions import find_version
from bootstrapper.nodeconfig.roles import api_address, ceph
from bootstrapper.nodeconfig.roles.control_plane import COMPONENTS, image_of


def list_images(cluster: Cluster) -> tuple[str, ...]:
    """Every image, with its registry and tag, each once."""
    return tuple(dict.fromkeys(_images(cluster)))


def _images(cluster: Cluster) -> Iterator[str]:
    version = cluster.kubernetes.version
    row = find_version(version)
    yield f"registry.k8s.io/pause:{row.pause}"
    yield from (image_of(component, version) for component in COMPONENTS)
    if cluster.kubernetes.api.vip is not None:
        yield api_address.KUBE_VIP_IMAGE
    if api_address.has_balancer(cluster):
        yield api_address.HAPROXY_IMAGE
    if cluster.with_role(Role.CEPH_MON) or cluster.with_role(Role.CEPH_OSD):
        yield ceph.IMAGE
    if "coredns" in cluster.addons:
        yield f"registry.k8s.io/coredns/coredns:{row.coredns}"


def advise_images(cluster: Cluster) -> tuple[Problem, ...]:
    """A piece of advice for each registry that images come from and that `registry.mirror` leaves out."""
    if not cluster.registry.serve:
        return ()
    wanted: dict[str, list[str]] = {}
    for image in list_images(cluster):
        wanted.setdefault(image.partition("/")[0], []).append(image)
    return tuple(
        Problem(
            cluster.lines.get("registry.mirror", 0),
            "registry.mirror",
            f"{registry} is not in it, and machines pull {', '.join(images)}",
            f"add {registry}",
            cluster.file,
        )
        for registry, images in wanted.items()
        if registry not in cluster.registry.mirror
    )
