"""Sextant's file to ours: the text, every note, and odd files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrapper.cluster.load import load
from bootstrapper.cluster.migrate import migrate
from bootstrapper.cluster.model import Role
from bootstrapper.errors import ClusterProblems, UserError

SEXTANT = (Path(__file__).parent / "sextant.yaml").read_text()


def test_the_whole_file(golden: Callable[[str, str], None]) -> None:
    result = migrate(SEXTANT, "old.yaml")
    golden("cluster/migrated.yaml", result.text)
    golden("cluster/migrated-notes.txt", "".join(f"{note}\n" for note in result.notes))


def test_the_result_loads() -> None:
    cluster = load(migrate(SEXTANT).text)
    assert [machine.host for machine in cluster.machines] == [
        "00-25-90-c0-f7-80",
        "storage-2",
        "0c-c4-7a-82-c5-b8",
        "00-25-90-c0-f6-ee",
    ]
    assert [str(machine.ip) for machine in cluster.with_role(Role.ETCD)] == [
        "10.10.14.128",
        "10.10.14.129",
        "10.10.14.130",
    ]
    assert str(cluster.kubernetes.dns_ip) == "10.100.0.10"


def notes(*edits: tuple[str, str]) -> list[str]:
    """What is newly noted after the edits."""
    text = SEXTANT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    before = migrate(SEXTANT).notes
    return [note for note in migrate(text).notes if note not in before]


def test_a_range_that_fills_the_subnet_is_cut() -> None:
    assert notes(("iphigh: 10.10.14.127", "iphigh: 10.10.14.254")) == [
        "iplow: with iphigh cut to 10.10.14.1-10.10.14.249: what is given must not hold fixed addresses",
        "nodes[0].ip: new, set to 10.10.14.250: an etcd member or master needs a fixed address",
        "nodes[1].ip: new, set to 10.10.14.251: an etcd member or master needs a fixed address",
        "nodes[2].ip: new, set to 10.10.14.252: an etcd member or master needs a fixed address",
    ]


def test_a_range_around_the_bootstrapper_is_cut() -> None:
    assert notes(("bootstrapper: 10.10.14.253", "bootstrapper: 10.10.14.20")) == [
        "iplow: with iphigh cut to 10.10.14.21-10.10.14.127: what is given must not hold fixed addresses",
    ]


def test_a_server_that_is_its_own_router() -> None:
    text = SEXTANT.replace("routers: [10.10.14.254]", "routers: [10.10.14.253]")
    assert load(migrate(text).text).network.link.routers == (load(migrate(text).text).network.bootstrapper,)


def test_osds_on_every_machine() -> None:
    assert notes(("zap_and_start_osd: n", "zap_and_start_osd: y")) == [
        "ceph.zap_and_start_osd: every machine has the role ceph-osd; no disk is erased by a setting: "
        "`bootstrapper reinstall M --wipe` is the order for it, once"
    ]


def test_masters_alone_take_pods() -> None:
    text = SEXTANT.replace("kube_master: n", "kube_master: y")
    assert all({Role.MASTER, Role.WORKER} <= machine.roles for machine in load(migrate(text).text).machines)


def test_what_the_admin_still_has_to_do_is_said() -> None:
    assert notes(("etcd_member: y", "etcd_member: n")) == [
        "to be put right: the new file:30: machines: no etcd member: expected at least one machine with the role etcd"
    ]
    assert notes(('mac: "00:25:90:c0:f6:ee"', 'mac: "00:25:90"')) == [
        "to be put right: the new file:34: machines[3].mac: expected a MAC address such as 00:25:90:c0:f7:80, "
        'found "00:25:90"'
    ]


def test_lease_and_names_that_have_an_equivalent_are_kept() -> None:
    cluster = load(migrate(SEXTANT.replace('"infinite"', "3600").replace('domain: "bootstrapper"', "domain: hub")).text)
    assert cluster.network.dhcp.lease_s == 3600
    assert {name: str(address) for name, address in cluster.network.dns.records.items()} == {"hub": "10.10.14.253"}


def test_check_says_to_migrate() -> None:
    with pytest.raises(ClusterProblems) as caught:
        load(SEXTANT, "old.yaml")
    assert [problem.text() for problem in caught.value.problems] == [
        "old.yaml: this is a cluster-desc of k8sp/sextant, expected one of ours (run `bootstrapper migrate old.yaml`)"
    ]


@pytest.mark.parametrize("text", ["", "[1]", "a: b", "version: 1\nmachines: []\nsubnet: x\nnetmask: y\niplow: z\n"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        migrate(text, "x.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "subnet: [1]\nnetmask: {a: b}\niplow: []\nnodes: {a: b}\n",
        "subnet: a\nnetmask: b\niplow: c\niphigh: d\nnodes: [1, [2], {mac: [3]}]\ncoreos: 4\nceph: []\nimages: x\n",
        "subnet: 10.0.0.0\nnetmask: 255.0.0.0\niplow: 10.0.0.1\niphigh: 10.255.255.254\nnodes: [{etcd_member: y}]\n",
        'bootstrapper: "a\\nb"\nsubnet: "]"\ndomainname: "x: {"\nnodes: [{mac: "\\"", ip: "}"}]\n',
    ],
)
def test_a_broken_file_ends_in_notes(text: str) -> None:
    assert any(note.startswith("to be put right: ") for note in migrate(text).notes)
