from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace

import pytest

from bootstrapper.cluster.model import Cluster, Flannel, Machine
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.roles.etcd import build_etcd, etcd_settings, list_endpoints
from bootstrapper.nodeconfig.roles.flannel import build_network_seed
from bootstrapper.nodeconfig.secrets import Pair, Secrets


def text_of(config: NodeConfig, path: str) -> str:
    (content,) = [file.content for file in config.files if file.path == path]
    return content.decode()


def unit_of(config: NodeConfig, name: str) -> str:
    (text,) = [unit.content for unit in config.units if unit.name == name]
    return text or ""


def with_args(cluster: Cluster, **flags: str) -> Cluster:
    args = {"etcd": {flag.replace("_", "-"): value for flag, value in flags.items()}}
    return replace(cluster, kubernetes=replace(cluster.kubernetes, extra_args=args))


def test_the_settings_of_a_member(context: Context, cluster: Cluster) -> None:
    assert text_of(build_etcd(cluster, cluster.machines[1], context), "/etc/etcd/etcd.env").splitlines()[1:] == [
        'ETCD_NAME="node2"',
        'ETCD_DATA_DIR="/var/lib/etcd"',
        'ETCD_LISTEN_PEER_URLS="https://10.10.14.12:2380"',
        'ETCD_LISTEN_CLIENT_URLS="https://10.10.14.12:2379,https://127.0.0.1:2379"',
        'ETCD_LISTEN_METRICS_URLS="http://127.0.0.1:2381"',
        'ETCD_INITIAL_ADVERTISE_PEER_URLS="https://10.10.14.12:2380"',
        'ETCD_ADVERTISE_CLIENT_URLS="https://10.10.14.12:2379"',
        'ETCD_INITIAL_CLUSTER="node1=https://10.10.14.11:2380,node2=https://10.10.14.12:2380"',
        'ETCD_INITIAL_CLUSTER_TOKEN="prod"',
        'ETCD_INITIAL_CLUSTER_STATE="new"',
        'ETCD_CERT_FILE="/etc/etcd/pki/server.crt"',
        'ETCD_KEY_FILE="/etc/etcd/pki/server.key"',
        'ETCD_TRUSTED_CA_FILE="/etc/etcd/pki/ca.crt"',
        'ETCD_CLIENT_CERT_AUTH="true"',
        'ETCD_PEER_CERT_FILE="/etc/etcd/pki/peer.crt"',
        'ETCD_PEER_KEY_FILE="/etc/etcd/pki/peer.key"',
        'ETCD_PEER_TRUSTED_CA_FILE="/etc/etcd/pki/ca.crt"',
        'ETCD_PEER_CLIENT_CERT_AUTH="true"',
        'ETCD_QUOTA_BACKEND_BYTES="8589934592"',
        'ETCD_FEATURE_GATES="InitialCorruptCheck=true"',
        'ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL="5s"',
    ]
    assert list_endpoints(cluster) == ("https://10.10.14.11:2379", "https://10.10.14.12:2379")


def test_a_replaced_member_joins_what_runs(context: Context, cluster: Cluster) -> None:
    replaced = etcd_settings(cluster, cluster.machines[0], replace(context, etcd_existing=True))
    assert replaced["initial-cluster-state"] == "existing"
    assert replaced["initial-cluster"] == "node1=https://10.10.14.11:2380,node2=https://10.10.14.12:2380"
    known = replace(context, etcd_existing=True, etcd_members=("node2",))
    assert etcd_settings(cluster, cluster.machines[1], known)["initial-cluster"] == "node2=https://10.10.14.12:2380"


@pytest.mark.parametrize("version", ["3.5.30", "3.6.14", "3.7.1"])
def test_no_version_is_given_an_experimental_flag(version: str, context: Context, cluster: Cluster) -> None:
    settings = etcd_settings(replace(cluster, etcd_version=version), cluster.machines[0], context)
    assert not [flag for flag in settings if flag.startswith("experimental")]
    assert ("feature-gates" in settings) == (version != "3.5.30")


def test_the_admins_flags_become_variables(context: Context, cluster: Cluster) -> None:
    """A flag beside the variable of the same name ends etcd at once, so nothing stands on the command line."""
    changed = with_args(cluster, quota_backend_bytes="1", log_outputs='a "b" $c `d` \\e')
    config = build_etcd(changed, cluster.machines[0], context)
    lines = text_of(config, "/etc/etcd/etcd.env").splitlines()
    assert [line for line in lines if "QUOTA" in line] == ['ETCD_QUOTA_BACKEND_BYTES="1"']
    assert "ExecStart=/opt/bin/etcd\n" in unit_of(config, "etcd.service")
    (line,) = [line for line in lines if "LOG_OUTPUTS" in line]
    # systemd's reading of double quotes is the shell's here.
    shown = subprocess.run(
        ["sh", "-c", f'{line}; printf %s "$ETCD_LOG_OUTPUTS"'], capture_output=True, text=True, timeout=5
    )
    assert shown.stdout == 'a "b" $c `d` \\e'
    with pytest.raises(RenderProblem, match="node1: etcd's name holds a control character"):
        build_etcd(with_args(cluster, name="a\nETCD_X=1"), cluster.machines[0], context)


def test_keys_are_secret_and_never_overwritten(context: Context, cluster: Cluster) -> None:
    pairs = {
        name: Pair(f"{name}-cert", f"{name}-key") for name in ("etcd-server", "etcd-peer", "etcd-healthcheck-client")
    }
    keys = Secrets({"etcd": "etcd-ca"}, pairs)
    config = build_etcd(cluster, cluster.machines[0], replace(context, secrets=keys))
    files = {file.path: file for file in config.files if file.path.startswith("/etc/etcd/pki/")}
    assert {path.rpartition("/")[2]: (file.content.decode(), oct(file.mode)) for path, file in files.items()} == {
        "ca.crt": ("etcd-ca", "0o644"),
        "server.crt": ("etcd-server-cert", "0o644"),
        "server.key": ("etcd-server-key", "0o600"),
        "peer.crt": ("etcd-peer-cert", "0o644"),
        "peer.key": ("etcd-peer-key", "0o600"),
        "healthcheck-client.crt": ("etcd-healthcheck-client-cert", "0o644"),
        "healthcheck-client.key": ("etcd-healthcheck-client-key", "0o600"),
    }
    assert all(file.secret and file.first_boot_only for file in files.values())
    assert not [file for file in config.files if b"-key" in file.content and not file.secret]


def test_members_are_not_at_their_maintenance_together(context: Context, cluster: Cluster) -> None:
    def calendars(machine: Machine) -> list[str]:
        config = build_etcd(cluster, machine, context)
        names = ("etcd-snapshot.timer", "etcd-defragment.timer")
        return [line for name in names for line in unit_of(config, name).splitlines() if line.startswith("OnCalendar")]

    assert calendars(cluster.machines[0]) == ["OnCalendar=*-*-* 00/6:00:00", "OnCalendar=*-*-* 03:00:00"]
    assert calendars(cluster.machines[1]) == ["OnCalendar=*-*-* 00/6:07:00", "OnCalendar=*-*-* 03:07:00"]


def test_a_member_without_an_address_is_refused(context: Context, cluster: Cluster) -> None:
    with pytest.raises(RenderProblem, match="node1: an etcd member needs an ip"):
        build_etcd(cluster, replace(cluster.machines[0], ip=None), context)


def test_flannels_network_is_written_where_flannel_keeps_it_in_etcd(context: Context, cluster: Cluster) -> None:
    assert build_network_seed(cluster, cluster.machines[0], context) == NodeConfig()
    changed = replace(cluster, flannel=Flannel("0.28.9", "wireguard", "etcd"))
    config = build_network_seed(changed, cluster.machines[0], context)
    assert json.loads(text_of(config, "/etc/etcd/flannel-network.json")) == {
        "Network": "10.244.0.0/16", "SubnetLen": 24, "EnableIPv4": True, "Backend": {"Type": "wireguard"},
    }  # fmt: skip
    script = text_of(config, "/opt/bootstrapper/flannel-network.sh")
    assert re.search(r"etcdctl put /coreos\.com/network/config </etc/etcd/flannel-network\.json", script)
