"""Advice about what machines download."""

from __future__ import annotations

from dataclasses import replace

from rack import make_cluster, make_machine

from bootstrapper.assets.advice import advise_items
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.cluster.model import Cluster, Registry

CLUSTER = make_cluster(make_machine())
KUBE_VIP, PAUSE = "ghcr.io/kube-vip/kube-vip:v1.2.3", "registry.k8s.io/pause:3.10.1"


def mirror(*registries: str) -> Cluster:
    return replace(CLUSTER, registry=Registry(True, 5000, registries))


def image(name: str) -> Item:
    return Item(name, Kind.IMAGE, "image", f"docker://{name}")


def program(name: str, sha256: str | None = None) -> Item:
    return Item(name, Kind.FILE, "program", "", Proof(sha256))


def test_a_registry_left_out() -> None:
    items = (image(KUBE_VIP), image(PAUSE))
    (advice,) = advise_items(items, mirror("registry.k8s.io"))
    assert (advice.path, advice.message, advice.hint) == (
        "registry.mirror",
        "ghcr.io is not in it, and machines pull ghcr.io/kube-vip/kube-vip:v1.2.3",
        "add ghcr.io",
    )
    assert advise_items(items, mirror("registry.k8s.io", "ghcr.io")) == ()


def test_files_without_a_hash_are_one_piece_of_advice() -> None:
    names = [f"{letter}/1/amd64/{letter}" for letter in "abcd"]
    (advice,) = advise_items([program("known/1/amd64/x", "f" * 64), *map(program, names)], CLUSTER)
    assert advice.message == (
        "4 files have no hash in assets.lock yet (a, b, c and 1 more), and nothing is run unproven"
    )
    assert advice.hint == "`bootstrapper fetch` gets them and writes their hashes down"
    (advice,) = advise_items([program("a/1/amd64/a")], CLUSTER)
    assert advice.message == "1 file has no hash in assets.lock yet (a), and nothing is run unproven"
    assert advise_items([program("a/1/amd64/a", "f" * 64)], CLUSTER) == ()
