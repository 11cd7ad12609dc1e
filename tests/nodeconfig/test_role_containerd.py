from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from bootstrapper.cluster.model import Cluster, Registry
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.roles.containerd import build_containerd


def toml_of(config: NodeConfig, path: str) -> dict[str, Any]:
    (content,) = [file.content for file in config.files if file.path == path]
    return tomllib.loads(content.decode())


def mirroring(cluster: Cluster, *upstreams: str, serve: bool = True) -> Cluster:
    return replace(cluster, registry=Registry(serve, 5000, upstreams))


@pytest.mark.parametrize(
    ("containerd", "system", "version"),
    [
        ("os", "4081.3.10", 2),
        ("os", "4593.2.5", 3),
        ("os", "4757.1.0", 3),
        ("os", "1.0.0", 3),
        ("1.7.34", "4593.2.5", 2),
        ("2.3.4", "4081.3.10", 3),
    ],
)
def test_the_configuration_is_of_the_version_that_is_read(
    containerd: str, system: str, version: int, context: Context, cluster: Cluster
) -> None:
    changed = replace(cluster, containerd_version=containerd)
    machine = replace(cluster.machines[0], os=replace(cluster.machines[0].os, version=system))
    config = toml_of(build_containerd(changed, machine, context), "/etc/containerd/config.toml")
    plugins = config["plugins"]
    assert config["version"] == version
    if version == 3:
        images, runtime = plugins["io.containerd.cri.v1.images"], plugins["io.containerd.cri.v1.runtime"]
        pause, registries = images["pinned_images"]["sandbox"], images["registry"]["config_path"]
    else:
        runtime = plugins["io.containerd.grpc.v1.cri"]
        pause, registries = runtime["sandbox_image"], runtime["registry"]["config_path"]
    assert (pause, registries) == ("registry.k8s.io/pause:3.10.1", "/etc/containerd/certs.d")
    runc = runtime["containerd"]["runtimes"]["runc"]
    assert runc["runtime_type"] == "io.containerd.runc.v2"
    own = {} if containerd == "os" else {"BinaryName": "/opt/bin/runc"}
    assert runc["options"] == {"SystemdCgroup": True, **own}


def test_every_registry_is_ours_and_there_is_no_way_round(context: Context, cluster: Cluster) -> None:
    """`server` is containerd's last resort: another host there, or none, would be the registry itself."""
    config = build_containerd(mirroring(cluster, "registry.k8s.io", "docker.io"), cluster.machines[0], context)
    found = {file.path: tomllib.loads(file.content.decode()) for file in config.files if "/certs.d/" in file.path}
    server = "https://bootstrapper.prod.example.com:5000/v2"
    ours = {"capabilities": ["pull", "resolve"], "override_path": True, "ca": "/etc/bootstrapper/authority.pem"}
    paths = {
        "registry.k8s.io": f"{server}/registry.k8s.io",
        "docker.io": f"{server}/docker.io",
        "_default": f"{server}/unmirrored",
        "bootstrapper.prod.example.com_5000_": server,
    }
    assert found == {
        f"/etc/containerd/certs.d/{name}/hosts.toml": {"server": url, **ours, "host": {url: ours}}
        for name, url in paths.items()
    }


def test_without_a_registry_here_containerd_asks_whom_it_would(context: Context, cluster: Cluster) -> None:
    config = build_containerd(mirroring(cluster, "docker.io", serve=False), cluster.machines[0], context)
    assert not [file.path for file in config.files if "/certs.d/" in file.path]


def test_the_systems_own_containerd_is_told_where_to_look(context: Context, cluster: Cluster) -> None:
    config = build_containerd(cluster, cluster.machines[0], context)
    unit = config.units[0]
    assert (unit.name, unit.content, unit.enable) == ("containerd.service", None, False)
    assert unit.drop_ins[0].content == "[Service]\nEnvironment=CONTAINERD_CONFIG=/etc/containerd/config.toml\n"
    assert config.remote_files == ()


def test_a_containerd_of_the_description(context: Context, cluster: Cluster) -> None:
    config = build_containerd(replace(cluster, containerd_version="2.3.4"), cluster.machines[0], context)
    assert [(file.path, file.name.rpartition("/")[2], file.member) for file in config.remote_files] == [
        ("/opt/bin/containerd", "containerd-2.3.4-linux-amd64.tar.gz", "bin/containerd"),
        ("/opt/bin/containerd-shim-runc-v2", "containerd-2.3.4-linux-amd64.tar.gz", "bin/containerd-shim-runc-v2"),
        ("/opt/bin/ctr", "containerd-2.3.4-linux-amd64.tar.gz", "bin/ctr"),
        ("/opt/bin/runc", "runc.amd64", ""),
    ]
    assert all(file.sha256 for file in config.remote_files)
    assert "ExecStart=/opt/bin/containerd --config /etc/containerd/config.toml\n" in (config.units[0].content or "")
