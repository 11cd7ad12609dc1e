"""`pki list`: what is known of every certificate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest
from pki_keys import open_pki
from rack import make_cluster, make_machine

from bootstrapper.cluster.model import Role
from bootstrapper.pki.authority import load_identity
from bootstrapper.pki.leaves import Signer
from bootstrapper.pki.listing import list_rows
from bootstrapper.pki.rotation import rotate

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86400.0
NODE1 = make_machine(roles=frozenset({Role.ETCD}))
NODE4 = make_machine("00:25:90:c0:f6:ee", "node4", None)
CLUSTER = make_cluster(NODE4, NODE1)


@pytest.fixture
def state(tmp_path):
    load_identity(tmp_path / "pki", "bootstrapper.prod.example.com", [IPv4Address("10.10.14.253")], NOW)
    pki = open_pki(tmp_path / "pki/cluster", CLUSTER, lambda: NOW)
    pki.secrets_for(NODE1)
    pki.secrets_for(NODE4)
    pki.own("bootstrapper")
    return tmp_path


def test_the_rows(state):
    rows = list_rows(state, CLUSTER, NOW + 100 * DAY)
    assert [(row.name, row.machine, row.authority, row.days_left, row.key_here) for row in rows] == [
        ("bootstrapper authority", "server", "bootstrapper", 3552, True),
        ("https", "server", "bootstrapper", 297, True),
        ("cluster authority", "server", "cluster", 3552, True),
        ("etcd authority", "server", "etcd", 3552, True),
        ("front-proxy authority", "server", "front-proxy", 3552, True),
        ("bootstrapper", "server", "cluster", 265, True),
        ("kube-proxy", "node4", "cluster", 265, True),
        ("flannel", "node4", "cluster", 265, True),
        ("etcd-server", "node1", "etcd", 265, True),
        ("etcd-peer", "node1", "etcd", 265, True),
        ("etcd-healthcheck-client", "node1", "etcd", 265, True),
    ]
    peer = next(row for row in rows if row.name == "etcd-peer")
    assert peer.subject == "CN=node1"
    assert peer.names == (
        "node1", "node1.prod.example.com", "prod.example.com", "localhost", "10.10.14.11", "127.0.0.1")  # fmt: skip
    assert peer.not_after == datetime(2027, 11, 20, 12, tzinfo=UTC)


def test_both_authorities_of_a_rotation_and_a_machine_that_is_gone(state):
    rotate(state / "pki/cluster", Signer.ETCD, NOW)
    names = {(row.name, row.machine) for row in list_rows(state, make_cluster(NODE1), NOW)}
    assert ("etcd authority, next", "server") in names
    assert ("kube-proxy", "00:25:90:c0:f6:ee") in names
    rotate(state / "pki/cluster", Signer.ETCD, NOW, force=True)
    rows = {row.name: row for row in list_rows(state, CLUSTER, NOW)}
    assert rows["etcd authority, previous"].key_here is False


def test_one_that_ended(state):
    rows = list_rows(state, CLUSTER, NOW + 366 * DAY)
    assert {row.days_left for row in rows if row.name == "kube-proxy"} == {-1}


def test_a_state_without_keys(tmp_path):
    assert list_rows(tmp_path, CLUSTER, NOW) == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_private_is_in_a_row(state):
    assert "PRIVATE" not in repr(list_rows(state, replace(CLUSTER), NOW))
