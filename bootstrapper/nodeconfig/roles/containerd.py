"""containerd: its configuration, the registries it may ask, and, where the description names a version, the program.

Every registry is this server's mirror of it (design.md rule 8). In a hosts.toml `server` is where containerd falls back
to when every `host` has failed, and the registry itself when it is missing; so both are ours, and all there is.
"""

from __future__ import annotations

from collections.abc import Callable

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.cluster.versions import find_os_containerd, parse_version
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.kubernetes_versions import find_version
from bootstrapper.nodeconfig.model import DropIn, File, NodeConfig, RemoteFile, Unit
from bootstrapper.nodeconfig.parts import render_file, render_text, render_unit
from bootstrapper.nodeconfig.roles.downloads import download_unit, remote_file

CONFIG = "/etc/containerd/config.toml"
REGISTRIES = "/etc/containerd/certs.d"
AUTHORITY = "/etc/bootstrapper/authority.pem"
RUNC = "1.4.3"
UNMIRRORED = "unmirrored"
"Where the registry keeps nothing: what is asked for from an upstream that is not in `registry.mirror`."


def build_containerd(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    own = cluster.containerd_version != "os"
    pause = f"registry.k8s.io/pause:{find_version(cluster.kubernetes.version).pause}"
    config = f"containerd/config-v{config_version(cluster, machine)}.toml.j2"
    script = "/opt/bootstrapper/containerd.sh"

    def file(path: str, template: str, mode: int = 0o644, **variables: object) -> File:
        return render_file(path, template, machine, context, mode, config=CONFIG, **variables)

    apply = render_unit("containerd/bootstrapper-containerd.service.j2", machine, context, script=script)
    return NodeConfig(
        files=(
            file(CONFIG, config, pause=pause, registries=REGISTRIES, runc="/opt/bin/runc" if own else ""),
            file(script, "containerd/containerd.sh.j2", 0o755),
            *build_registries(cluster, file),
        ),
        remote_files=list_programs(cluster, machine, context) if own else (),
        units=(_build_unit(own, machine, context), apply),
    )


def build_registries(cluster: Cluster, file: Callable[..., File]) -> tuple[File, ...]:
    """A hosts.toml per mirrored registry, one for all others, and one for this server's own name."""
    if not cluster.registry.serve:
        return ()
    host = f"bootstrapper.{cluster.domain}"
    base = f"https://{host}:{cluster.registry.port}"
    paths = {upstream: f"/v2/{keep_as(upstream)}" for upstream in cluster.registry.mirror}
    paths |= {"_default": f"/v2/{UNMIRRORED}", f"{host}:{cluster.registry.port}": "/v2"}
    return tuple(
        file(
            f"{REGISTRIES}/{_directory(name)}/hosts.toml",
            "containerd/hosts.toml.j2",
            server=base + path,
            authority=AUTHORITY,
        )
        for name, path in paths.items()
    )


def keep_as(upstream: str) -> str:
    """An upstream's host as the first part of a repository's name in our registry, which may hold no colon."""
    return upstream.replace(":", "_")


def config_version(cluster: Cluster, machine: Machine) -> int:
    """Of the configuration file: 1.x ignores, without a word, a version 3 (reference kubernetes.md 3.7)."""
    used = cluster.containerd_version
    if used == "os":
        used = find_os_containerd(machine.os.family.value, machine.os.version) or "2.0"
    return 3 if parse_version(used) >= (2,) else 2


def list_programs(cluster: Cluster, machine: Machine, context: Context) -> tuple[RemoteFile, ...]:
    version, arch = cluster.containerd_version, machine.arch
    archive = f"containerd-{version}-linux-{arch}.tar.gz"
    names = ("containerd", "containerd-shim-runc-v2", "ctr")
    programs = (remote_file(context, "containerd", version, arch, archive, member=f"bin/{name}") for name in names)
    return (*programs, remote_file(context, "runc", RUNC, arch, f"runc.{arch}", "/opt/bin/runc"))


def _build_unit(own: bool, machine: Machine, context: Context) -> Unit:
    """The system's unit with our configuration; or a whole one, for the program that the description names."""
    if own:
        downloads = f"{download_unit('containerd')} {download_unit('runc')}"
        return render_unit("containerd/containerd.service.j2", machine, context, config=CONFIG, downloads=downloads)
    text = render_text("containerd/10-bootstrapper.conf.j2", machine, context, config=CONFIG)
    return Unit("containerd.service", drop_ins=(DropIn("10-bootstrapper.conf", text),))


def _directory(name: str) -> str:
    """As containerd writes a host with a port: NAME_PORT_."""
    host, colon, port = name.rpartition(":")
    return f"{host}_{port}_" if colon else name
