"""Where files come from and how their publisher proves them: one table (reference kubernetes.md 1.4, 2, 3.8, 3.9).

A file's name below `/assets` is COMPONENT/VERSION/ARCH/FILE; Flatcar's is flatcar/BOARD/VERSION/FILE, since its own
installer asks for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bootstrapper.assets.item import Proof


@dataclass(frozen=True, slots=True)
class Upstream:
    directory: str
    "URL of a release's directory, with `{version}`, `{arch}` and for Flatcar `{channel}` to fill in."
    checksums: str = ""
    "The checksum file beside a file, `{file}` being its name; empty: none is published."
    signature: str = ""
    "The detached signature beside it."
    key: str = ""

    def url(self, version: str, arch: str, file: str, channel: str = "") -> str:
        return f"{self.directory.format(version=version, arch=arch, channel=channel)}/{file}"

    def proof(self, url: str) -> Proof:
        directory, _, file = url.rpartition("/")

        def beside(name: str) -> str:
            if not name:
                return ""
            above = name.count("../")
            parent = directory.rsplit("/", above)[0] if above else directory
            return f"{parent}/{name.replace('../', '').format(file=file)}"

        return Proof(checksums=beside(self.checksums), signature=beside(self.signature), key=self.key)


GITHUB = "https://github.com/{}/releases/download/v{{version}}"

UPSTREAMS: Mapping[str, Upstream] = {
    "kubernetes": Upstream("https://dl.k8s.io/release/v{version}/bin/linux/{arch}", "{file}.sha256"),
    "etcd": Upstream(GITHUB.format("etcd-io/etcd"), "SHA256SUMS"),
    "cni-plugins": Upstream(GITHUB.format("containernetworking/plugins"), "{file}.sha256"),
    "flannel": Upstream(GITHUB.format("flannel-io/flannel")),
    "flannel-cni": Upstream(GITHUB.format("flannel-io/cni-plugin"), "{file}.sha256"),
    "crictl": Upstream(GITHUB.format("kubernetes-sigs/cri-tools"), "{file}.sha256"),
    "containerd": Upstream(GITHUB.format("containerd/containerd"), "{file}.sha256sum"),
    "runc": Upstream(GITHUB.format("opencontainers/runc"), "runc.sha256sum"),
    "flatcar": Upstream(
        "https://{channel}.release.flatcar-linux.net/{arch}/{version}", signature="{file}.sig", key="flatcar"
    ),
    # meta.json of the build holds every image's SHA-256, for any version; the stream's own file only the newest's.
    "fedora-coreos": Upstream(
        "https://builds.coreos.fedoraproject.org/prod/streams/{channel}/builds/{version}/{arch}",
        "meta.json",
        "{file}.sig",
    ),
    # SHA256SUMS lies three directories above, and names the file by its path.
    "debian": Upstream(
        "https://ftp.debian.org/debian/dists/{version}/main/installer-{arch}/current/images/netboot/debian-installer/{arch}",
        "../../../SHA256SUMS",
    ),
}
"First part of a name -> where it comes from."
