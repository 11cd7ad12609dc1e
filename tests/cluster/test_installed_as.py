"""What a machine was when it was installed, compared with what it is described as now."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from rack import make_machine

from bootstrapper.cluster.installed_as import compare_installed, describe_installed
from bootstrapper.cluster.model import DiskSelector, Role

MACHINE = make_machine()
KEPT = describe_installed(MACHINE)


def test_nothing_changed() -> None:
    assert compare_installed(KEPT, MACHINE) == ()


def test_what_reaches_a_disk_by_an_install_only() -> None:
    changed = replace(
        MACHINE, host="other", ip=IPv4Address("10.10.14.44"), roles=frozenset({Role.WORKER, Role.ETCD}),
        disk=DiskSelector(path="/dev/vdb"),
    )  # fmt: skip
    assert compare_installed(KEPT, changed) == (
        f"host: {MACHINE.host} -> other",
        f"ip: {MACHINE.ip} -> 10.10.14.44",
        f"roles: {', '.join(sorted(role.value for role in MACHINE.roles))} -> etcd, worker",
        "disk: the only non-removable disk -> /dev/vdb",
    )


def test_what_acts_at_once_is_no_reason() -> None:
    assert compare_installed(KEPT, replace(MACHINE, macs=("52:54:00:00:00:99", *MACHINE.macs), line=99)) == ()


def test_what_was_never_kept_or_by_another_version_says_nothing() -> None:
    for kept in ("", "not JSON", "[]", "5", "{}", '{"gone": "x"}'):
        assert compare_installed(kept, replace(MACHINE, host="other")) == ()
