"""containerd with our configuration, and its way to registries through our hosts.toml.

The distribution's is 1.6, which reads version 2 of the configuration and ignores a version 3; Debian's newest is 2.1.
"""

from __future__ import annotations

import shutil
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from containerd_node import install_containerd
from newer_programs import SETS, SYSTEM
from oci_layout import make_layout
from wires import Machine as Namespace
from wires import Rack, need, run, wait_for

from bootstrapper.pki.authority import load_identity

pytestmark = pytest.mark.interop

NAME = "bootstrapper.trio.internal"
DESCRIPTION = """
version: 1
cluster: {name: trio, domain: trio.internal}
network:
  subnet: 10.78.0.0/24
  bootstrapper: 10.78.0.1
  routers: []
  dhcp: {range: 10.78.0.100-10.78.0.199}
kubernetes: {version: 1.35.8}
containerd: {version: VERSION}
registry: {serve: true, port: 5000, mirror: [registry.k8s.io, docker.io]}
machines:
  - {mac: "02:00:00:00:00:01", host: one, ip: 10.78.0.11, roles: [etcd, master]}
"""
REGISTRY = """
version: 0.1
log: {{accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "10.78.0.1:5000", tls: {{certificate: {certificate}, key: {key}}}}}
"""


@dataclass(frozen=True)
class Node:
    namespace: Namespace
    programs: Path
    root: Path
    socket: Path
    registry_log: Path

    def fetch(self, image: str) -> str:
        """As the kubelet would have it fetched: by the files below certs.d alone."""
        hosts = str(self.root / "etc/containerd/certs.d")
        return self.namespace.run(
            str(self.programs / "ctr"),
            "--address",
            str(self.socket),
            "content",
            "fetch",
            "--hosts-dir",
            hosts,
            image,
            check=False,
        )

    def asked(self) -> list[str]:
        """Paths that the registry was asked for, so far."""
        lines = self.registry_log.read_text().splitlines()
        return [line.split('"')[1].split(" ")[1] for line in lines if ' "GET ' in line or ' "HEAD ' in line]


@pytest.fixture(params=SETS)
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    need("containerd", "ctr", "docker-registry", "skopeo")
    identity = load_identity(tmp_path / "pki", NAME, [], time.time())
    root = tmp_path / "node"
    programs: Path = request.param
    version = "1.7.34" if programs == SYSTEM else "2.1.9"
    install_containerd(root, DESCRIPTION.replace("VERSION", version), identity.authority_pem)
    settings = tmp_path / "registry.yml"
    places = {"root": tmp_path / "images", "certificate": identity.certificate, "key": identity.key}
    settings.write_text(REGISTRY.format(**places))
    make_layout(tmp_path / "image", "pause", platforms=("linux/amd64",))
    with Rack("hkr") as rack:
        namespace = rack.machine("one", "10.78.0.1/24")
        names = Path("/etc/netns") / namespace.name
        try:
            names.mkdir(parents=True)
            (names / "hosts").write_text(f"127.0.0.1 localhost\n10.78.0.1 {NAME}\n")
            log = tmp_path / "registry.log"
            namespace.start("docker-registry", "serve", str(settings), log=log)
            config = root / "etc/containerd/config.toml"
            namespace.start(str(programs / "containerd"), "--config", str(config), log=tmp_path / "containerd.log")
            trusted = tmp_path / "trusted"
            trusted.mkdir()
            (trusted / "ca.crt").write_text(identity.authority_pem)
            image = f"docker://{NAME}:5000/registry.k8s.io/pause:3.10.1"
            copy = [
                "skopeo",
                "--insecure-policy",
                "copy",
                "--dest-cert-dir",
                str(trusted),
                f"oci:{tmp_path}/image",
                image,
            ]
            wait_for(lambda: "Storing signatures" in namespace.run(*copy, check=False), timeout=15, every=0.5)
            socket = root / "run/containerd/containerd.sock"
            wait_for(socket.exists, timeout=20, every=0.2)
            log.write_text("")
            yield Node(namespace, programs, root, socket, log)
        finally:
            shutil.rmtree(names, ignore_errors=True)


def test_images_come_from_here_or_not_at_all(node: Node) -> None:
    assert "done" in node.fetch("registry.k8s.io/pause:3.10.1")
    assert node.asked()[0].startswith("/v2/registry.k8s.io/pause/manifests/3.10.1")
    for image, path in (
        ("docker.io/library/nginx:1", "/v2/docker.io/library/nginx/manifests/1"),
        ("quay.io/ceph/ceph:v20", "/v2/unmirrored/ceph/ceph/manifests/v20"),
    ):
        before = len(node.asked())
        output = node.fetch(image)
        assert "not found" in output
        assert "failed to decode" not in output  # containerd would ask the registry itself
        # There is no route to anybody else; had it tried, it would have failed to find them.
        assert "dial" not in output and "lookup" not in output
        assert {each.partition("?")[0] for each in node.asked()[before:]} == {path}


def test_its_own_reading_of_the_configuration(node: Node) -> None:
    config = str(node.root / "etc/containerd/config.toml")
    dumped = tomllib.loads(run(str(node.programs / "containerd"), "--config", config, "config", "dump"))
    plugins = dumped["plugins"]
    if node.programs == SYSTEM:
        runtime = plugins["io.containerd.grpc.v1.cri"]
        pause, registry = runtime["sandbox_image"], runtime["registry"]
    else:
        assert dumped["version"] == 3
        images, runtime = plugins["io.containerd.cri.v1.images"], plugins["io.containerd.cri.v1.runtime"]
        pause, registry = images["pinned_images"]["sandbox"], images["registry"]
    assert pause == "registry.k8s.io/pause:3.10.1"
    assert registry["config_path"] == f"{node.root}/etc/containerd/certs.d"
    assert runtime["containerd"]["default_runtime_name"] == "runc"
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    assert "/opt/cni/bin" in (runtime["cni"]["bin_dir"], *runtime["cni"].get("bin_dirs", ()))
    assert runtime["cni"]["conf_dir"] == "/etc/cni/net.d"
