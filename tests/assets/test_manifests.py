"""Image names and manifests, read with care: they come from the network and from bundles."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bootstrapper.assets.manifests import ImageName, choose_children, parse_manifest, split_name
from bootstrapper.assets.skopeo import explain
from bootstrapper.cluster.model import Arch
from bootstrapper.errors import UserError

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("registry.k8s.io/pause:3.10.1", ImageName("registry.k8s.io/pause", "3.10.1")),
        ("ghcr.io/kube-vip/kube-vip:v1", ImageName("ghcr.io/kube-vip/kube-vip", "v1")),
        ("docker.io/haproxy:3.2", ImageName("docker.io/library/haproxy", "3.2")),
        ("docker.io/library/haproxy:3.2", ImageName("docker.io/library/haproxy", "3.2")),
        (f"quay.io/ceph/ceph@{ONE}", ImageName("quay.io/ceph/ceph", "", ONE)),
        (f"quay.io/ceph/ceph:v20@{ONE}", ImageName("quay.io/ceph/ceph", "v20", ONE)),
        ("my.example.com:5000/a/b:1", ImageName("my.example.com_5000/a/b", "1")),
    ],
)
def test_where_an_image_is_kept(name: str, expected: ImageName) -> None:
    assert split_name(name) == expected


def manifest(**changes: Any) -> bytes:
    document = {
        "schemaVersion": 2,
        "config": {"digest": ONE, "size": 10},
        "layers": [{"digest": TWO, "size": 20}, {"digest": TWO, "size": 9, "urls": ["https://elsewhere"]}],
    }
    return json.dumps(document | changes).encode()


def index(*platforms: tuple[str, str]) -> bytes:
    entries = [
        {"digest": f"sha256:{number:064x}", "size": 5, "platform": {"os": system, "architecture": arch}}
        for number, (system, arch) in enumerate(platforms)
    ]
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def test_a_manifest_and_an_index() -> None:
    found = parse_manifest(manifest(), "it")
    # A layer that lies elsewhere (Windows') is not ours to keep.
    assert [(blob.digest, blob.size) for blob in found.blobs] == [(ONE, 10), (TWO, 20)]
    assert not found.is_index
    found = parse_manifest(index(("linux", "amd64"), ("windows", "amd64"), ("linux", "arm64")), "it")
    assert found.is_index
    assert [child.arch for child in choose_children(found, (Arch.ARM64,), "it")] == ["arm64"]
    assert len(choose_children(found, (Arch.AMD64, Arch.ARM64), "it")) == 2


def test_an_image_without_a_needed_architecture() -> None:
    found = parse_manifest(index(("linux", "amd64"), ("windows", "amd64")), "it")
    with pytest.raises(UserError, match="x is not made for arm64; it is for linux/amd64, windows/amd64"):
        choose_children(found, (Arch.AMD64, Arch.ARM64), "x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2}',
        b'{"schemaVersion": 2, "manifests": []}',
        b'{"schemaVersion": 2, "manifests": 3}',
        manifest(config={"digest": "sha256:../../etc/passwd", "size": 1}),
        manifest(config={"digest": ONE, "size": -1}),
        manifest(config={"digest": ONE, "size": True}),
        manifest(config=None),
        manifest(layers="x"),
        b"\xff\xfe",
        b" " * (5 << 20),
    ],
)
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(UserError, match="x is no image manifest or index"):
        parse_manifest(data, "x")


def test_skopeo_in_plain_words() -> None:
    said = (
        'time="2026-11-21T12:00:00Z" level=fatal msg="Error parsing image name \\"docker://x/y\\": manifest unknown"\n'
    )
    assert explain(said) == 'Error parsing image name "docker://x/y": manifest unknown'
    assert explain("") == "skopeo ended without a word"
    assert explain("plain\x1b[31m words") == "plain?[31m words"
