from __future__ import annotations

from dataclasses import replace

from bootstrapper.cluster.model import Api, Cluster, Registry
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.images import advise_images, list_images


def test_what_machines_pull(cluster: Cluster) -> None:
    assert list_images(cluster) == (
        "registry.k8s.io/pause:3.10.1",
        "registry.k8s.io/kube-apiserver:v1.35.8",
        "registry.k8s.io/kube-controller-manager:v1.35.8",
        "registry.k8s.io/kube-scheduler:v1.35.8",
        "ghcr.io/kube-vip/kube-vip:v1.2.3",
    )
    kubernetes = replace(cluster.kubernetes, version="1.37.1", api=Api("k8s.prod.example.com", None, 6443))
    other = replace(cluster, kubernetes=kubernetes, addons=("coredns",))
    assert list_images(other)[4:] == (
        "docker.io/library/haproxy:3.2.13-alpine",
        "registry.k8s.io/coredns/coredns:v1.14.6",
    )


def test_every_image_in_a_file_is_in_the_list(context: Context, cluster: Cluster) -> None:
    named = set()
    for machine in cluster.machines:
        for file in build(cluster, machine, context).files:
            for line in file.content.decode().splitlines():
                if line.strip().startswith("image: "):
                    named.add(line.partition("image: ")[2].strip('"'))
    assert len(named) == 4
    assert named <= set(list_images(cluster))


def test_a_registry_left_out(cluster: Cluster) -> None:
    mirrored = replace(cluster, registry=Registry(True, 5000, ("registry.k8s.io",)))
    (advice,) = advise_images(mirrored)
    assert (advice.path, advice.message, advice.hint) == (
        "registry.mirror",
        "ghcr.io is not in it, and machines pull ghcr.io/kube-vip/kube-vip:v1.2.3",
        "add ghcr.io",
    )
    assert advise_images(replace(cluster, registry=Registry(True, 5000, ("registry.k8s.io", "ghcr.io")))) == ()
    assert advise_images(replace(cluster, registry=Registry(False, 5000, ()))) == ()
