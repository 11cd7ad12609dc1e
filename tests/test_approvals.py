"""Approved machines come into force beside the file's, and never instead of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from rack import TEMPLATES

from bootstrapper.approvals import Approvals, check_with_approved
from bootstrapper.boot.history import History
from bootstrapper.description import load_templates
from bootstrapper.errors import ClusterProblems
from bootstrapper.state.sqlite import SqliteStore

MAC = "02:00:00:00:00:09"
TEXT = """\
version: 1
cluster: {name: small, domain: small.internal}
network: {subnet: 10.0.0.0/24, bootstrapper: 10.0.0.1, routers: [10.0.0.254], dhcp: {range: 10.0.0.100-10.0.0.109}}
unknown_machines: worker
machines:
  - {mac: 10:11:22:33:44:55, ip: 10.0.0.11, roles: [etcd, master, worker]}
"""


def test_an_approval_is_noticed_once(tmp_path: Path) -> None:
    clock = [0.0]
    approvals = Approvals(tmp_path / "state.db", lambda: clock[0])
    assert approvals.load() == frozenset()
    store = SqliteStore(tmp_path / "state.db")

    def changed() -> bool:
        clock[0] += 1.0
        return approvals.changed()

    assert not changed()
    store.save_history("other", History())
    assert not changed()
    store.save_history(MAC, History(approved=True))
    assert changed()
    assert approvals.load() == {MAC}
    assert not changed()
    store.save_history(MAC, History())
    assert changed()
    store.close()


def test_an_approved_machine_is_a_member() -> None:
    cluster = check_with_approved(TEXT, "f", load_templates(TEMPLATES), frozenset({MAC}))
    assert MAC in cluster.by_mac


def test_one_that_cannot_be_a_member_does_not_keep_the_file_away(caplog: pytest.LogCaptureFixture) -> None:
    text = TEXT.replace(", dhcp: {range: 10.0.0.100-10.0.0.109}", "")
    with caplog.at_level(logging.ERROR, "bootstrapper"):
        cluster = check_with_approved(text, "f", load_templates(TEMPLATES), frozenset({MAC}))
    assert MAC not in cluster.by_mac
    assert caplog.messages[0] == "1 approved machines cannot be members with this description:"
    assert "there is no range to give one from" in caplog.messages[1]
    with pytest.raises(ClusterProblems):
        check_with_approved(text.replace("ip: 10.0.0.11, ", ""), "f", load_templates(TEMPLATES), frozenset({MAC}))
