from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from bootstrapper.cluster.model import Api, Cluster, Machine, OsFamily, Role, Updates
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig import build as build_module
from bootstrapper.nodeconfig.build import build, find_kernel_args
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig


def file_of(config: NodeConfig, path: str) -> str:
    (content,) = [file.content for file in config.files if file.path == path]
    return content.decode()


def unit_names(config: NodeConfig) -> list[str]:
    return [unit.name for unit in config.units]


def hosts_of(config: NodeConfig) -> list[str]:
    return file_of(config, "/etc/hosts").splitlines()[3:]


def test_the_names_that_must_be_found_without_us(context: Context, cluster: Cluster) -> None:
    assert hosts_of(build(cluster, cluster.machines[0], context)) == [
        "10.10.14.11 node1.prod.example.com node1",
        "10.10.14.253 bootstrapper.prod.example.com bootstrapper",
        "10.10.14.250 k8s.prod.example.com",
        "10.10.14.12 node2.prod.example.com node2",
    ]
    # A worker without an address of its own in the file has the masters, and itself once its lease is known.
    assert hosts_of(build(cluster, cluster.machines[2], context))[0].startswith("10.10.14.253 ")
    leased = replace(context, address=IPv4Address("10.10.14.107"))
    assert hosts_of(build(cluster, cluster.machines[2], leased))[0] == "10.10.14.107 node4.prod.example.com node4"


def test_without_a_virtual_address_the_api_is_the_machines_balancer(context: Context, cluster: Cluster) -> None:
    api = Api("k8s.prod.example.com", None, 6443)
    etcd_alone = replace(cluster.machines[1], host="node9", ip=IPv4Address("10.10.14.19"), roles=frozenset({Role.ETCD}))
    changed = replace(
        cluster, kubernetes=replace(cluster.kubernetes, api=api), machines=(*cluster.machines, etcd_alone)
    )
    for machine, expected in (
        (changed.machines[0], ["127.0.0.1 k8s.prod.example.com"]),
        (changed.machines[2], ["127.0.0.1 k8s.prod.example.com"]),
        (etcd_alone, ["10.10.14.11 k8s.prod.example.com", "10.10.14.12 k8s.prod.example.com"]),
    ):
        hosts = hosts_of(build(changed, machine, replace(context, cluster=changed)))
        assert [line for line in hosts if "k8s" in line] == expected


def test_nothing_asks_the_internet(context: Context, cluster: Cluster) -> None:
    config = build(cluster, cluster.machines[0], context)
    assert file_of(config, "/etc/systemd/timesyncd.conf.d/10-bootstrapper.conf") == (
        "[Time]\nNTP=10.10.14.253\nFallbackNTP=\n"
    )
    assert file_of(config, "/etc/systemd/resolved.conf.d/10-bootstrapper.conf") == "[Resolve]\nFallbackDNS=\n"
    assert file_of(config, "/etc/flatcar/update.conf") == "GROUP=stable\nSERVER=disabled\nREBOOT_STRATEGY=off\n"
    assert [unit.mask for unit in config.units if unit.name == "locksmithd.service"] == [True]


def test_updates_in_the_window(context: Context, cluster: Cluster) -> None:
    machine = cluster.machines[0]
    machine = replace(machine, os=replace(machine.os, updates=Updates("reboot", "Thu 04:00", "3h")))
    config = build(cluster, machine, context)
    assert file_of(config, "/etc/flatcar/update.conf") == (
        "GROUP=stable\nREBOOT_STRATEGY=reboot\n"
        'LOCKSMITHD_REBOOT_WINDOW_START="Thu 04:00"\nLOCKSMITHD_REBOOT_WINDOW_LENGTH=3h\n'
    )
    assert "locksmithd.service" not in unit_names(config)


def test_time_from_the_file_when_we_serve_none(context: Context, cluster: Cluster) -> None:
    network = replace(cluster.network, ntp=replace(cluster.network.ntp, serve=False))
    changed = replace(cluster, network=network)
    config = build(changed, changed.machines[0], replace(context, cluster=changed))
    assert "NTP=pool.ntp.org" in file_of(config, "/etc/systemd/timesyncd.conf.d/10-bootstrapper.conf")


def test_the_report_holds_the_token_and_needs_one(context: Context, cluster: Cluster) -> None:
    config = build(cluster, cluster.machines[0], context)
    (credential,) = [file for file in config.files if file.path == "/etc/bootstrapper/report.env"]
    assert credential.secret
    assert credential.mode == 0o600
    assert "https://10.10.14.253/m/secret-of-this-boot/report" in credential.content.decode()
    units = re.findall(r"[\w@.-]+\.service", credential.content.decode())
    assert units[0] == "bootstrapper-download@etcd.service"
    assert {"etcd.service", "containerd.service", "kubelet.service"} < set(units)
    assert "bootstrapper-report.service" not in units
    assert "NODE_URL=https://k8s.prod.example.com:6443/api/v1/nodes/node1\n" in credential.content.decode()
    public = build(cluster, cluster.machines[0], replace(context, token=None))
    assert "/etc/bootstrapper/report.env" not in [file.path for file in public.files]


def test_kernel_arguments_and_the_console(cluster: Cluster) -> None:
    machine = cluster.machines[0]
    assert find_kernel_args(machine) == ("console=ttyS0,115200n8",)
    assert find_kernel_args(replace(machine, console="ttyS0,115200n8")) == ("console=ttyS0,115200n8",)
    assert find_kernel_args(replace(machine, console="tty0")) == ("console=ttyS0,115200n8", "console=tty0")
    assert find_kernel_args(replace(machine, console="console=tty0"))[-1] == "console=tty0"


def test_a_role_adds_its_part(context: Context, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def part(_cluster: Cluster, machine: Machine, _context: Context) -> NodeConfig:
        return NodeConfig(files=(File("/etc/role", machine.host.encode()),))

    monkeypatch.setattr(build_module, "ROLES", ((frozenset({Role.ETCD}), part),))
    assert file_of(build(cluster, cluster.machines[0], context), "/etc/role") == "node1"
    assert "/etc/role" not in [file.path for file in build(cluster, cluster.machines[2], context).files]


def test_a_system_we_cannot_configure_yet(context: Context, cluster: Cluster) -> None:
    machine = cluster.machines[0]
    machine = replace(machine, os=replace(machine.os, family=OsFamily.DEBIAN))
    with pytest.raises(RenderProblem, match=r"node1: no configuration can be made for os\.family debian yet"):
        build(cluster, machine, context)


@pytest.mark.parametrize("timezone", ["Etc/UTC\nExecStart=/bin/evil", "a b", "$(x)", "%h"])
def test_a_unit_takes_no_second_line(context: Context, cluster: Cluster, timezone: str) -> None:
    machine = cluster.machines[0]
    machine = replace(machine, os=replace(machine.os, timezone=timezone))
    with pytest.raises(RenderProblem) as caught:
        build(cluster, machine, context)
    assert "templates/nodes/base/bootstrapper-timezone.service.j2:3:" in caught.value.message
    assert "(for node1)" in caught.value.message
