"""A member of the cluster's etcd: TLS for peers and clients, the static cluster of the description, snapshots, and
defragmentation.

Settings are environment variables in one file, the admin's `extra_args` among them: etcd refuses to start when a flag
and its variable are both given, and ignores both beside a configuration file (reference kubernetes.md 4).

It runs as root without a capability, on a file system that it can write only its data to, and not as a user of its own:
its keys are then root's under Ignition and cloud-config alike, and it takes up a renewed certificate at the next
handshake, without a restart.
"""

from __future__ import annotations

from collections.abc import Mapping

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.cluster.versions import minor_of
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.flags import merge_flags
from bootstrapper.nodeconfig.model import File, NodeConfig, RemoteFile, Unit
from bootstrapper.nodeconfig.parts import key_file, render_file, render_unit
from bootstrapper.nodeconfig.roles.downloads import download_unit, remote_file

PKI = "/etc/etcd/pki"
ENVIRONMENT = "/etc/etcd/etcd.env"
CLIENT_ENVIRONMENT = "/etc/etcd/etcdctl.env"
DATA = "/var/lib/etcd"
SNAPSHOTS = "/var/lib/etcd-snapshots"
KEEP = 12
"Snapshots kept: three days of one every six hours."
PEER_PORT = 2380
CLIENT_PORT = 2379
METRICS = "http://127.0.0.1:2381"


def build_etcd(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    settings = merge_flags(etcd_settings(cluster, machine, context), cluster.kubernetes.extra_args.get("etcd", {}))
    minute = 7 * [member.host for member in cluster.with_role(Role.ETCD)].index(machine.host) % 60
    variables: dict[str, object] = {"settings": _variables(settings, machine.host), "keep": KEEP, "minute": minute}
    variables |= {"pki": PKI, "snapshots": SNAPSHOTS, "data": DATA, "port": CLIENT_PORT, "env": CLIENT_ENVIRONMENT}
    variables |= {"download": download_unit("etcd"), "environment": ENVIRONMENT}

    def file(path: str, template: str, mode: int = 0o644) -> File:
        return render_file(path, f"etcd/{template}", machine, context, mode, **variables)

    def unit(template: str, start: bool = False) -> Unit:
        return render_unit(f"etcd/{template}", machine, context, start, **variables)

    return NodeConfig(
        files=(
            *build_keys(context),
            file(ENVIRONMENT, "etcd.env.j2"),
            file(CLIENT_ENVIRONMENT, "etcdctl.env.j2"),
            file("/opt/bin/etcdctl-member", "etcdctl-member.j2", 0o755),
            file("/opt/bootstrapper/etcd-snapshot.sh", "etcd-snapshot.sh.j2", 0o755),
            file("/opt/bootstrapper/etcd-defragment.sh", "etcd-defragment.sh.j2", 0o755),
        ),
        remote_files=list_programs(cluster, machine, context),
        units=(
            unit("etcd.service.j2", start=True),
            unit("etcd-snapshot.service.j2"),
            unit("etcd-snapshot.timer.j2", start=True),
            unit("etcd-defragment.service.j2"),
            unit("etcd-defragment.timer.j2", start=True),
        ),
    )


def etcd_settings(cluster: Cluster, machine: Machine, context: Context) -> dict[str, str]:
    """Flag without dashes -> value. Names and URLs are the same, to the letter, on every member."""
    if machine.ip is None:
        raise RenderProblem(f"{machine.host}: an etcd member needs an ip")
    client = f"https://{machine.ip}:{CLIENT_PORT}"
    return {
        "name": machine.host,
        "data-dir": DATA,
        "listen-peer-urls": peer_url(machine),
        "listen-client-urls": f"{client},https://127.0.0.1:{CLIENT_PORT}",
        "listen-metrics-urls": METRICS,
        "initial-advertise-peer-urls": peer_url(machine),
        "advertise-client-urls": client,
        "initial-cluster": ",".join(f"{member.host}={peer_url(member)}" for member in list_members(cluster, context)),
        "initial-cluster-token": cluster.name,
        # Read while there is no data yet, and never again: rendered anew, it changes nothing on a member that runs.
        "initial-cluster-state": "existing" if context.etcd_existing else "new",
        "cert-file": f"{PKI}/server.crt",
        "key-file": f"{PKI}/server.key",
        "trusted-ca-file": f"{PKI}/ca.crt",
        "client-cert-auth": "true",
        "peer-cert-file": f"{PKI}/peer.crt",
        "peer-key-file": f"{PKI}/peer.key",
        "peer-trusted-ca-file": f"{PKI}/ca.crt",
        "peer-client-cert-auth": "true",
        # The most its authors advise; at the default of 2 GiB a cluster with many events stops taking writes.
        "quota-backend-bytes": str(8 * 1024**3),
        **VERSIONS.get(minor_of(cluster.etcd_version), {}),
    }


def list_members(cluster: Cluster, context: Context) -> tuple[Machine, ...]:
    """Who is in the initial cluster: all, unless the server has told which are members by now."""
    members = cluster.with_role(Role.ETCD)
    return tuple(each for each in members if each.host in context.etcd_members) if context.etcd_members else members


def peer_url(member: Machine) -> str:
    return f"https://{member.ip}:{PEER_PORT}"


def list_endpoints(cluster: Cluster) -> tuple[str, ...]:
    """Where clients reach the members: for the API servers and flanneld."""
    return tuple(f"https://{member.ip}:{CLIENT_PORT}" for member in cluster.with_role(Role.ETCD))


def build_keys(context: Context) -> tuple[File, ...]:
    files = [key_file(f"{PKI}/ca.crt", context.keys.authorities["etcd"], 0o644)]
    for leaf, name in LEAVES.items():
        pair = context.keys.pairs[leaf]
        files += [key_file(f"{PKI}/{name}.crt", pair.certificate, 0o644), key_file(f"{PKI}/{name}.key", pair.key)]
    return tuple(files)


def list_programs(cluster: Cluster, machine: Machine, context: Context) -> tuple[RemoteFile, ...]:
    version, arch = cluster.etcd_version, machine.arch
    directory = f"etcd-v{version}-linux-{arch}"
    return tuple(
        remote_file(context, "etcd", version, arch, f"{directory}.tar.gz", member=f"{directory}/{name}")
        for name in ("etcd", "etcdctl", "etcdutl")
    )


def _variables(settings: Mapping[str, str], about: str) -> list[tuple[str, str]]:
    """As EnvironmentFile= reads them (systemd.exec(5)): in double quotes, four characters escaped."""
    found = []
    for flag, value in settings.items():
        if not value.isprintable():
            raise RenderProblem(f"{about}: etcd's {flag} holds a control character")
        escaped = "".join(f"\\{char}" if char in '\\"`$' else char for char in value)
        found.append((f"ETCD_{flag.upper().replace('-', '_')}", f'"{escaped}"'))
    return found


LEAVES = {"etcd-server": "server", "etcd-peer": "peer", "etcd-healthcheck-client": "healthcheck-client"}
"Leaf of `pki.leaves` -> its name in PKI."

_GATES = {"feature-gates": "InitialCorruptCheck=true", "watch-progress-notify-interval": "5s"}
VERSIONS: Mapping[str, Mapping[str, str]] = {"3.5": {}, "3.6": _GATES, "3.7": _GATES}
"""Minor -> what only it takes. 3.5 has both as --experimental flags only, which 3.7 does not start with; a member is
upgraded by its program alone, with the settings it has."""
