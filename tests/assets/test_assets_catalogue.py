"""What machines download, and what of it is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rack import FLATCAR, load_templates, make_cluster, make_machine

from bootstrapper.assets.catalogue import list_items
from bootstrapper.assets.item import Item, Proof
from bootstrapper.assets.item import Kind as ItemKind
from bootstrapper.assets.store import find_missing
from bootstrapper.assets.systems import list_assets
from bootstrapper.boot.decide import Action, Decision
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.scripts import render_script
from bootstrapper.cluster.model import Arch, AssetSource, Machine, OsFamily, Registry, Role
from bootstrapper.description import build_context
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import AssetLock

DIRECTORY = "flatcar/amd64-usr/4593.2.5"


def test_a_flatcar_machine():
    assert [(asset.name, asset.use) for asset in list_assets(make_machine())] == [
        (f"{DIRECTORY}/flatcar_production_pxe.vmlinuz", "kernel"),
        (f"{DIRECTORY}/flatcar_production_pxe_image.cpio.gz", "initrd"),
        (f"{DIRECTORY}/flatcar_production_image.bin.bz2", "image"),
        (f"{DIRECTORY}/flatcar_production_image.bin.bz2.sig", "signature"),
    ]


def test_the_boot_script_asks_for_nothing_else():
    from rack import LINKS, make_environment

    machine = make_machine()
    decision = Decision(Action.INSTALL, "", 1)
    firmware = Firmware(Kind.BIOS, Stage.IPXE, code=0)
    text = render_script(make_environment(), decision, firmware, machine, make_cluster(), LINKS, None)
    asked = {word.partition("/assets/")[2] for word in text.split() if "/assets/" in word}
    assert asked <= {asset.name for asset in list_assets(machine)}
    assert len(asked) == 2


def catalogue(*machines: Machine, **changes: object) -> dict[str, Item]:
    context = build_context(replace(make_cluster(*machines), **changes), load_templates(), "")
    return {item.name: item for item in list_items(context)}


def test_machines_of_one_version_share_their_files():
    arm = make_machine("52:54:00:00:00:09", "node9", "10.10.14.19", arch=Arch.ARM64)
    old = make_machine("52:54:00:00:00:08", "node8", "10.10.14.18", os=replace(FLATCAR, version="4230.2.1"))
    items = catalogue(make_machine(), make_machine("52:54:00:00:00:07", "node7"), arm, old)
    hosts = {name: [machine.host for machine in item.machines] for name, item in items.items()}
    assert len([name for name in items if name.startswith("flatcar/")]) == 12
    assert hosts[f"{DIRECTORY}/flatcar_production_pxe.vmlinuz"] == ["node1", "node7"]
    assert hosts["flatcar/arm64-usr/4593.2.5/flatcar_production_pxe.vmlinuz"] == ["node9"]
    assert hosts["flatcar/amd64-usr/4230.2.1/flatcar_production_image.bin.bz2"] == ["node8"]
    assert hosts["kubernetes/1.35.8/amd64/kubelet"] == ["node1", "node7", "node8"]
    assert items["registry.k8s.io/pause:3.10.1"].arches == (Arch.AMD64, Arch.ARM64)
    assert not any(name.endswith("-usr") or name == DIRECTORY for name in items)


@pytest.mark.parametrize(
    ("name", "url", "proof"),
    [
        (
            f"{DIRECTORY}/flatcar_production_image.bin.bz2",
            "https://stable.release.flatcar-linux.net/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2",
            Proof(
                signature="https://stable.release.flatcar-linux.net/amd64-usr/4593.2.5/"
                "flatcar_production_image.bin.bz2.sig",
                key="flatcar",
            ),
        ),
        (
            f"{DIRECTORY}/flatcar_production_image.bin.bz2.sig",
            "https://stable.release.flatcar-linux.net/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2.sig",
            Proof(signs=f"{DIRECTORY}/flatcar_production_image.bin.bz2", key="flatcar"),
        ),
        (
            "kubernetes/1.35.8/amd64/kube-proxy",
            "https://dl.k8s.io/release/v1.35.8/bin/linux/amd64/kube-proxy",
            Proof(checksums="https://dl.k8s.io/release/v1.35.8/bin/linux/amd64/kube-proxy.sha256"),
        ),
        (
            "flannel/0.28.9/amd64/flanneld-amd64",
            "https://github.com/flannel-io/flannel/releases/download/v0.28.9/flanneld-amd64",
            Proof(),
        ),
        (
            "flannel-cni/1.9.1-flannel3/amd64/cni-plugin-flannel-linux-amd64-v1.9.1-flannel3.tgz",
            "https://github.com/flannel-io/cni-plugin/releases/download/v1.9.1-flannel3/"
            "cni-plugin-flannel-linux-amd64-v1.9.1-flannel3.tgz",
            Proof(
                checksums="https://github.com/flannel-io/cni-plugin/releases/download/v1.9.1-flannel3/"
                "cni-plugin-flannel-linux-amd64-v1.9.1-flannel3.tgz.sha256"
            ),
        ),
        (
            "runc/1.4.3/amd64/runc.amd64",
            "https://github.com/opencontainers/runc/releases/download/v1.4.3/runc.amd64",
            Proof(
                sha256="f6ae8efc0fa40079e1475e97cbe9d1bd3f106a28d6af78a11d9f1bd565515e60",
                checksums="https://github.com/opencontainers/runc/releases/download/v1.4.3/runc.sha256sum",
            ),
        ),
    ],
)
def test_where_a_file_comes_from_and_what_proves_it(name: str, url: str, proof: Proof):
    item = catalogue(make_machine(), containerd_version="2.3.4")[name]
    assert (item.url, item.proof) == (url, proof)


def test_the_description_s_own_entries():
    etcd = "etcd/3.6.14/amd64/etcd-v3.6.14-linux-amd64.tar.gz"
    machine = make_machine(roles=frozenset({Role.ETCD}))
    assets = {
        "etcd": AssetSource("https://nas/etcd-v3.6.14-linux-amd64.tar.gz", "AB" * 32, None, None),
        f"{DIRECTORY}/flatcar_production_image.bin.bz2": AssetSource(
            "https://nas/i", None, None, "https://nas/s", "k.asc"
        ),
        "motd": AssetSource("https://nas/motd.txt", None, "cd" * 64, None),
        "tools/1.0/amd64/tool": AssetSource("https://nas/tool", "ef" * 32, None, None),
    }
    items = catalogue(machine, assets=assets)
    assert (items[etcd].url, items[etcd].proof) == (assets["etcd"].url, Proof(sha256="ab" * 32))
    image = items[f"{DIRECTORY}/flatcar_production_image.bin.bz2"]
    assert (image.url, image.proof) == ("https://nas/i", Proof(signature="https://nas/s", key="k.asc"))
    assert items[f"{image.name}.sig"].url == "https://nas/s"
    key = items[f"{image.name}.key.asc"]
    assert (key.url, key.use, key.machines) == ("file://k.asc", "key", (machine,))
    assert (key.proof, key.proof.words) == (Proof(own=True), "your own")
    assert items["files/motd/motd.txt"].proof == Proof(sha512="cd" * 64)
    assert items["tools/1.0/amd64/tool"].url == "https://nas/tool"
    other = {"etcd": AssetSource("https://nas/etcd.tgz", "ab" * 32, None, None)}
    items = catalogue(machine, assets=other)
    assert (
        items[etcd].url.startswith("https://github.com/") and items["files/etcd/etcd.tgz"].url == "https://nas/etcd.tgz"
    )


def test_a_file_proven_otherwise_has_the_hash_that_was_fetched():
    etcd = "etcd/3.6.14/amd64/etcd-v3.6.14-linux-amd64.tar.gz"
    assets = {
        "etcd": AssetSource("https://nas/etcd-v3.6.14-linux-amd64.tar.gz", None, None, "https://nas/e.sig", "k.asc"),
        "motd": AssetSource("https://nas/motd.txt", None, "cd" * 64, None),
        "tool": AssetSource("https://nas/tool.tgz", None, "ef" * 64, None),
    }
    lock = AssetLock({etcd: "12" * 32, "files/motd/motd.txt": "34" * 32})
    cluster = replace(make_cluster(make_machine(roles=frozenset({Role.ETCD}))), assets=assets)
    items = {item.name: item for item in build_catalogue(cluster, load_templates(), lock)}
    assert items[etcd].proof == Proof(sha256="12" * 32, signature="https://nas/e.sig", key="k.asc", recorded=True)
    assert items["files/motd/motd.txt"].proof == Proof(sha256="34" * 32, sha512="cd" * 64, recorded=True)
    assert items["files/tool/tool.tgz"].proof == Proof(sha512="ef" * 64)


def test_images_are_needed_only_where_a_registry_serves_them():
    assert catalogue(make_machine())["registry.k8s.io/pause:3.10.1"].url == "docker://registry.k8s.io/pause:3.10.1"
    assert not [name for name, item in catalogue(make_machine(), registry=Registry(False, 5000, ())).items()
                if item.kind is ItemKind.IMAGE]  # fmt: skip


def test_the_lock_s_entries_are_in_the_items():
    lock = AssetLock(
        {"flannel/0.28.9/amd64/flanneld-amd64": "ab" * 32},
        {"registry.k8s.io/pause:3.10.1": f"sha256:{'cd' * 32}"},
        {"registry.k8s.io/pause:3.10.1": 7, "flannel/0.28.9/amd64/flanneld-amd64": 8},
    )
    items = {item.name: item for item in build_catalogue(make_cluster(), load_templates(), lock)}
    flanneld, pause = items["flannel/0.28.9/amd64/flanneld-amd64"], items["registry.k8s.io/pause:3.10.1"]
    assert (flanneld.proof.sha256, flanneld.size) == ("ab" * 32, 8)
    assert (pause.proof.sha256, pause.size) == (f"sha256:{'cd' * 32}", 7)


def test_an_add_on_s_images_are_the_cluster_s():
    cluster = replace(make_cluster(), addons=("coredns",))
    items = {item.name: item for item in build_catalogue(cluster, load_templates(), AssetLock())}
    assert items["registry.k8s.io/coredns/coredns:v1.13.1"].needed_by() == "the cluster"


def test_systems_without_an_installer_are_listed_all_the_same():
    coreos = make_machine(os=replace(FLATCAR, family=OsFamily.FEDORA_COREOS, version="44.20260802.3.1"))
    debian = make_machine(
        "52:54:00:00:00:09", "node9", None, os=replace(FLATCAR, family=OsFamily.DEBIAN, version="trixie")
    )
    items = [item for item in catalogue(coreos, debian).values() if item.kind is ItemKind.FILE]
    base = "https://builds.coreos.fedoraproject.org/prod/streams/stable/builds/44.20260802.3.1/x86_64"
    assert [(item.url.removeprefix(base), item.proof.checksums) for item in items] == [
        ("/fedora-coreos-44.20260802.3.1-live-kernel.x86_64", f"{base}/meta.json"),
        ("/fedora-coreos-44.20260802.3.1-live-initramfs.x86_64.img", f"{base}/meta.json"),
        ("/fedora-coreos-44.20260802.3.1-live-rootfs.x86_64.img", f"{base}/meta.json"),
        ("/fedora-coreos-44.20260802.3.1-metal.x86_64.raw.xz", f"{base}/meta.json"),
        ("/fedora-coreos-44.20260802.3.1-metal.x86_64.raw.xz.sig", ""),
        ("https://ftp.debian.org/debian/dists/trixie/main/installer-amd64/current/images/netboot/debian-installer/amd64/linux",
         "https://ftp.debian.org/debian/dists/trixie/main/installer-amd64/current/images/SHA256SUMS"),
        ("https://ftp.debian.org/debian/dists/trixie/main/installer-amd64/current/images/netboot/debian-installer/amd64/initrd.gz",
         "https://ftp.debian.org/debian/dists/trixie/main/installer-amd64/current/images/SHA256SUMS"),
    ]  # fmt: skip


def test_what_is_missing(tmp_path):
    needed = tuple(each for each in catalogue(make_machine()).values() if each.name.startswith(DIRECTORY))
    assert len(find_missing(tmp_path, needed)) == 4
    directory = tmp_path / DIRECTORY
    directory.mkdir(parents=True)
    for asset in needed:
        (tmp_path / asset.name).write_bytes(b"x")
    assert find_missing(tmp_path, needed) == ()
    (directory / "flatcar_production_pxe.vmlinuz").write_bytes(b"")
    (directory / "flatcar_production_pxe_image.cpio.gz").unlink()
    (directory / "flatcar_production_pxe_image.cpio.gz").symlink_to("/etc/passwd")
    (directory / "flatcar_production_image.bin.bz2").unlink()
    (directory / "flatcar_production_image.bin.bz2").mkdir()
    (directory / "flatcar_production_image.bin.bz2.sig").unlink()
    problems = [missing.text() for missing in find_missing(tmp_path, needed)]
    assert problems == [
        f"{DIRECTORY}/flatcar_production_pxe.vmlinuz (kernel) is empty: needed by node1",
        f"{DIRECTORY}/flatcar_production_pxe_image.cpio.gz (initrd) is behind the link "
        f"{directory}/flatcar_production_pxe_image.cpio.gz, which is not followed: needed by node1",
        f"{DIRECTORY}/flatcar_production_image.bin.bz2 (image) is not a file: needed by node1",
        f"{DIRECTORY}/flatcar_production_image.bin.bz2.sig (signature) is not in {tmp_path}: needed by node1",
    ]
