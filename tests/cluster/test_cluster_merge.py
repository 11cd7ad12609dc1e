# ruff: noqa: E501 -- messages and files stand here as one line each
"""All machines, profile, machine: what wins, what is joined, what is built from it."""

from __future__ import annotations

import time
from ipaddress import IPv4Address

from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Bmc, Cluster, DiskSelector, Hardware, Interface, OsFamily, Provision, Role

HEAD = """\
version: 1
cluster: {name: c, domain: c.internal}
network:
  subnet: 10.0.0.0/24
  bootstrapper: 10.0.0.1
  routers: [10.0.0.254]
  dhcp: {range: 10.0.0.100-10.0.0.199}
"""
FIRST = "machines:\n  - {mac: 02:00:00:00:00:01, host: m1, ip: 10.0.0.11, roles: [etcd, master]}\n"


def build(settings: str, machine: str) -> Cluster:
    return load(HEAD + settings + FIRST + f"  - {{mac: 02:00:00:00:00:02, host: m2, {machine}}}\n")


def test_the_last_level_wins() -> None:
    settings = (
        "labels: {a: '1', b: '1', c: '1'}\ntaints: ['x=y:NoSchedule']\nconsole: tty0\narch: amd64\n"
        "disk: {model: top, rotational: false}\nbmc: {user: admin}\nhardware: {cpus: 4, memory: 8Gi}\n"
        "profiles:\n  p: {roles: [worker], labels: {b: '2', c: '2'}, console: ttyS0, disk: {serial: S1}}\n"
    )
    cluster = build(
        settings, "profile: p, labels: {c: '3'}, arch: arm64, bmc: {address: 10.9.0.1}, hardware: {cpus: 8}"
    )
    first, second = cluster.machines
    assert first.labels == {"a": "1", "b": "1", "c": "1"}
    assert second.labels == {"a": "1", "b": "2", "c": "3"}
    assert (first.console, second.console) == ("tty0", "ttyS0")
    assert (first.arch, second.arch) == ("amd64", "arm64")
    assert first.disk == DiskSelector(model="top", rotational=False)
    assert second.disk == DiskSelector(serial="S1")
    assert (first.bmc, second.bmc) == (None, Bmc("10.9.0.1", "admin"))
    assert (first.hardware, second.hardware) == (Hardware(4, 8589934592), Hardware(8, 8589934592))
    assert first.taints == second.taints == ("x=y:NoSchedule",)
    assert second.roles == {Role.WORKER, Role.FLANNEL}


def test_kernel_arguments_of_all_levels_are_joined_in_order() -> None:
    settings = "os: {kernel_args: [a]}\nkernel_args: [b]\nprofiles: {p: {roles: [worker], kernel_args: [c], os: {kernel_args: [d]}}}\n"
    cluster = build(settings, "profile: p, kernel_args: [e]")
    assert cluster.os.kernel_args == ("a", "b")
    assert cluster.machines[0].os is not cluster.os or cluster.machines[0].os.kernel_args == ("a", "b")
    assert cluster.machines[0].os.kernel_args == ("a", "b")
    assert cluster.machines[1].os.kernel_args == ("a", "d", "b", "c", "e")


def test_another_family_has_its_own_release() -> None:
    settings = "os: {family: flatcar, version: 4757.1.0, channel: beta, timezone: Europe/Berlin}\ncontainerd: {version: 2.3.4}\n"
    second = build(settings, "roles: [worker], os: {family: fedora-coreos}").machines[1]
    assert second.os.family is OsFamily.FEDORA_COREOS
    assert (second.os.version, second.os.channel) == ("44.20260802.3.1", "stable")
    assert second.os.provision is Provision.IGNITION
    assert second.os.timezone == "Europe/Berlin"


def test_updates_are_laid_over_key_by_key() -> None:
    settings = "os: {updates: {strategy: reboot, window_length: 1h}}\n"
    second = build(settings, "roles: [worker], os: {updates: {window_start: Sun 02:00}}").machines[1]
    assert (second.os.updates.strategy, second.os.updates.window_start, second.os.updates.window_length) == (
        "reboot", "Sun 02:00", "1h")  # fmt: skip


def test_implied_roles() -> None:
    def roles(written: str) -> frozenset[Role]:
        return build("flannel: {datastore: etcd}\n", f"roles: [{written}], ip: 10.0.0.12").machines[1].roles

    assert roles("ingress") == {Role.INGRESS, Role.WORKER, Role.FLANNEL}
    assert roles("master, ingress") == {Role.MASTER, Role.INGRESS, Role.FLANNEL}
    assert roles("etcd") == {Role.ETCD}
    assert roles("flannel") == {Role.FLANNEL}
    assert roles("ceph-osd") == {Role.CEPH_OSD}


def test_interfaces() -> None:
    machine = build("", "roles: [worker], interfaces: [{name: bond0, members: [e1, e2], mtu: 9000}, "
                    "{name: st, vlan_id: 20, parent: bond0, addresses: [10.20.0.2/24], gateway: 10.20.0.1}]").machines[1]  # fmt: skip
    assert machine.interfaces == (
        Interface("bond0", "bond", None, (), None, 9000, "802.3ad", ("e1", "e2"), None, None),
        Interface("st", "vlan", None, ("10.20.0.2/24",), IPv4Address("10.20.0.1"), None, None, (), 20, "bond0"),
    )


def test_several_cards() -> None:
    cluster = build("", "macs: ['02-00-00-00-00-02', 02:00:00:00:00:03], roles: [worker]")
    assert cluster.machines[1].macs == ("02:00:00:00:00:02", "02:00:00:00:00:03")
    assert cluster.by_mac["02:00:00:00:00:03"] is cluster.machines[1]


def test_moving_a_machine_in_the_file_does_not_change_it() -> None:
    assert build("", "roles: [worker]").machines == build("# a remark\n", "roles: [worker]").machines


def test_a_thousand_machines_load_in_well_under_two_seconds() -> None:
    more = "".join(f"  - {{mac: 02:00:01:00:{index >> 8:02x}:{index & 255:02x}, host: n{index}, roles: [worker]}}\n"
                   for index in range(1000))  # fmt: skip
    text = (
        (HEAD + FIRST + more)
        .replace("10.0.0.0/24", "10.0.0.0/20")
        .replace("10.0.0.100-10.0.0.199", "10.0.1.0-10.0.15.199")
    )
    text = text.replace("version: 1\n", "version: 1\nkubernetes: {pod_cidr: 10.128.0.0/9}\n")
    started = time.perf_counter()
    assert len(load(text).machines) == 1001
    assert time.perf_counter() - started < 2
