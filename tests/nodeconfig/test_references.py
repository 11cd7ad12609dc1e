"""What rendered texts refer to."""

from __future__ import annotations

from rack import LINKS, load_templates, make_cluster, make_machine

from bootstrapper.description import build_context
from bootstrapper.nodeconfig.references import find_files, find_images, find_references


def test_files_behind_our_urls() -> None:
    text = (
        "get http://10.10.14.253/assets/a/1/x.tgz and https://10.10.14.253//assets/b/y, 'http://10.10.14.253/assets/c/z'.\n"
        "not http://10.10.14.25/assets/d or http://10.10.14.253/boot.ipxe\n"
    )
    assert list(find_files([text], LINKS)) == ["a/1/x.tgz", "b/y", "c/z"]


def test_images_in_every_shape() -> None:
    text = (
        'image: "registry.k8s.io/pause:3.10"\n- image: ghcr.io/a/b@sha256:' + "ab" * 32 + "\n"
        'sandbox = "registry.k8s.io/pause:3.9"\nsandbox_image = "x.io/p:1"\nimage=quay.io/c/d:1\n'
        "ctr run quay.io/e/f:v2 x\nserver = https://boot:5000/v2/quay.io/not/this:1\nimage: untagged/name\n"
    )
    assert list(find_images([text], ["quay.io"])) == [
        "registry.k8s.io/pause:3.10",
        "ghcr.io/a/b@sha256:" + "ab" * 32,
        "registry.k8s.io/pause:3.9",
        "x.io/p:1",
        "quay.io/c/d:1",
        "quay.io/c/d:1",
        "quay.io/e/f:v2",
    ]


def test_an_image_with_tag_and_digest() -> None:
    text = "image: registry.k8s.io/c:1@sha256:" + "ab" * 32 + "\nctr pull quay.io/e/f:v2@sha256:" + "cd" * 32 + "\n"
    assert list(find_images([text], ["quay.io"])) == [
        "registry.k8s.io/c:1@sha256:" + "ab" * 32,
        "quay.io/e/f:v2@sha256:" + "cd" * 32,
    ]


def test_a_worker_s() -> None:
    found = find_references(build_context(make_cluster(), load_templates(), ""), make_machine())
    assert found.files == (
        "flannel/0.28.9/amd64/flanneld-amd64",
        "cni-plugins/1.9.1/amd64/cni-plugins-linux-amd64-v1.9.1.tgz",
        "flannel-cni/1.9.1-flannel3/amd64/cni-plugin-flannel-linux-amd64-v1.9.1-flannel3.tgz",
        "kubernetes/1.35.8/amd64/kubelet",
        "kubernetes/1.35.8/amd64/kube-proxy",
        "flatcar/amd64-usr/4593.2.5/flatcar_production_pxe.vmlinuz",
        "flatcar/amd64-usr/4593.2.5/flatcar_production_pxe_image.cpio.gz",
        "flatcar/amd64-usr",
    )
    assert found.images == ("registry.k8s.io/pause:3.10.1",)


def test_an_admin_s_own_template_counts() -> None:
    templates = {
        **load_templates(),
        "nodes/base/report.sh": "ctr pull example.org/own/tool:1\nimage: example.org/own/tool:1\n",
    }
    found = find_references(build_context(make_cluster(), templates, ""), make_machine())
    assert "example.org/own/tool:1" in found.images
