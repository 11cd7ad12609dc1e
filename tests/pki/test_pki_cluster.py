"""What machines and this server are given, and what of it is on disk."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pki_keys import Clock, open_pki
from rack import make_cluster, make_machine

from bootstrapper.cluster.model import Role
from bootstrapper.errors import UserError
from bootstrapper.pki.cluster import ClusterPki

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86400.0
MASTER = make_machine("00:25:90:c0:f7:80", "node1", "10.10.14.11", roles=frozenset({Role.ETCD, Role.MASTER}))
WORKER = make_machine("00:25:90:c0:f6:ee", "node4", None)
STORE = make_machine("00:25:90:c0:f6:d6", "store1", None, roles=frozenset({Role.CEPH_OSD}))
CLUSTER = make_cluster(MASTER, WORKER, STORE)


@pytest.fixture
def clock():
    return Clock(NOW)


@pytest.fixture
def pki(tmp_path, clock):
    return open_pki(tmp_path / "pki/cluster", CLUSTER, clock)


def test_a_master_gets_what_the_control_plane_needs(pki):
    given = pki.secrets_for(MASTER)
    assert sorted(given.authority_keys) == ["cluster"]
    key = serialization.load_pem_private_key(given.authority_keys["cluster"].encode(), None)
    authority = x509.load_pem_x509_certificate(given.authorities["cluster"].encode())
    assert key.public_key() == authority.public_key()
    assert authority.subject.rfc4514_string() == "CN=kubernetes"
    account = serialization.load_pem_private_key(given.service_account.key.encode(), None)
    assert account.key_size == 2048
    assert account.public_key() == serialization.load_pem_public_key(given.service_account.certificate.encode())
    assert len(given.encryption_key) == 44


def test_a_worker_gets_nothing_of_the_control_plane(pki):
    given = pki.secrets_for(WORKER)
    assert sorted(given.pairs) == ["flannel", "kube-proxy"]
    assert given.authority_keys == {}
    assert given.service_account is None
    assert given.encryption_key == ""
    assert len(given.bootstrap_token) == 23
    assert sorted(given.authorities) == ["cluster", "etcd", "front-proxy"]
    assert all("PRIVATE" not in text for text in given.authorities.values())


def test_a_machine_that_is_no_node_gets_no_token_and_no_pair(pki):
    given = pki.secrets_for(STORE)
    assert dict(given.pairs) == {}
    assert given.bootstrap_token == ""


def test_two_machines_have_no_key_in_common(pki):
    other = replace(WORKER, macs=("00:25:90:c0:f6:ef",), host="node5")
    first, second = pki.secrets_for(WORKER), pki.secrets_for(other)
    assert first.pairs["kube-proxy"].key != second.pairs["kube-proxy"].key
    assert first.bootstrap_token != second.bootstrap_token


def test_asking_again_and_a_restart_give_the_same(pki, tmp_path, clock):
    first = pki.secrets_for(MASTER)
    assert pki.secrets_for(MASTER) == first
    clock.now += 30 * DAY
    assert ClusterPki(tmp_path / "pki/cluster", CLUSTER, clock).secrets_for(MASTER) == first


def test_a_pair_is_made_anew_when_a_third_of_its_life_is_gone(pki, clock):
    first = pki.secrets_for(MASTER)
    clock.now += 120 * DAY
    assert pki.secrets_for(MASTER).pairs == first.pairs
    clock.now += 5 * DAY
    later = pki.secrets_for(MASTER)
    assert all(later.pairs[name].key != first.pairs[name].key for name in first.pairs)
    assert later.authorities == first.authorities
    assert later.service_account == first.service_account
    assert later.encryption_key == first.encryption_key


def test_only_what_would_say_something_else_is_made_anew(pki, tmp_path, clock):
    first = pki.secrets_for(MASTER).pairs
    moved = replace(MASTER, ip=replace(MASTER, ip=None).ip or MASTER.ip + 7)
    cluster = make_cluster(moved, WORKER)
    second = ClusterPki(tmp_path / "pki/cluster", cluster, clock).secrets_for(moved).pairs
    changed = sorted(name for name in first if first[name] != second[name])
    assert changed == ["apiserver", "etcd-peer", "etcd-server"]


def test_its_own_pairs(pki):
    for name, subject in (
        ("bootstrapper", "CN=bootstrapper,O=system:masters"),
        ("bootstrapper-etcd", "O=bootstrapper"),
        ("admin", "CN=kubernetes-admin,O=kubeadm:cluster-admins"),
    ):
        pair = pki.own(name)
        assert x509.load_pem_x509_certificate(pair.certificate.encode()).subject.rfc4514_string() == subject
        assert pki.own(name) == pair
    with pytest.raises(KeyError):
        pki.own("apiserver")


def test_every_file_is_for_the_server_alone(pki, tmp_path):
    pki.secrets_for(MASTER)
    pki.own("bootstrapper")
    found = sorted((tmp_path / "pki").rglob("*"))
    modes = {path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in found}
    assert modes == {
        "pki/cluster": 0o700,
        "pki/cluster/.lock": 0o600,
        "pki/cluster/keys.json": 0o600,
        "pki/cluster/machines": 0o700,
        "pki/cluster/machines/00-25-90-c0-f7-80.json": 0o600,
        "pki/cluster/machines/server.json": 0o600,
        "pki/cluster/tokens": 0o700,
        "pki/cluster/tokens/.lock": 0o600,
        "pki/cluster/tokens/00-25-90-c0-f7-80.json": 0o600,
    }


def spoil(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


FAULTS = {
    "empty": lambda path: path.write_bytes(b""),
    "blank": lambda path: path.write_bytes(b"  \n"),
    "garbage": lambda path: path.write_bytes(b"\xff\xfe garbage"),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "missing": lambda path: path.unlink(),
    "a list": lambda path: path.write_text("[]"),
    "no etcd authority": lambda path: spoil(path, lambda it: it["authorities"].pop("etcd")),
    "no service account": lambda path: spoil(path, lambda it: it.pop("service_account")),
    "a short encryption key": lambda path: spoil(path, lambda it: it.update(encryption_key="c2hvcnQ=")),
    "another version": lambda path: spoil(path, lambda it: it.update(version=2)),
    "a key of another": lambda path: spoil(
        path,
        lambda it: it["authorities"]["etcd"]["signing"].update(key=it["authorities"]["cluster"]["signing"]["key"]),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_keys_stop_the_server(pki, tmp_path, clock, fault):
    """CVE-2024-47533 (Cobbler): a secret that could not be read became one that everybody knew."""
    pki.secrets_for(WORKER)
    path = tmp_path / "pki/cluster/keys.json"
    FAULTS[fault](path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(UserError, match=r"keys\.json") as caught:
        ClusterPki(tmp_path / "pki/cluster", CLUSTER, clock)
    assert "restore" in caught.value.hint
    assert (path.read_bytes() if path.exists() else None) == before
    with pytest.raises(UserError, match=r"keys\.json"):
        pki.secrets_for(WORKER)


def test_keys_that_others_can_read_stop_the_server(pki, tmp_path, clock):
    (tmp_path / "pki/cluster/keys.json").chmod(0o640)
    with pytest.raises(UserError, match="can be read by others") as caught:
        ClusterPki(tmp_path / "pki/cluster", CLUSTER, clock)
    assert caught.value.hint.startswith("chmod 600 ")


@pytest.mark.parametrize("fault", ["empty", "garbage", "half", "a list"])
@pytest.mark.parametrize("room", ["machines", "tokens"])
def test_a_damaged_file_of_a_machine_is_named(pki, tmp_path, fault, room):
    pki.secrets_for(WORKER)
    path = tmp_path / f"pki/cluster/{room}/00-25-90-c0-f6-ee.json"
    FAULTS[fault](path)
    with pytest.raises(UserError, match="00-25-90-c0-f6-ee") as caught:
        pki.secrets_for(WORKER)
    assert "away" in caught.value.hint


def test_a_crash_while_keys_are_written_leaves_the_old_ones(pki, tmp_path, clock):
    first = pki.secrets_for(MASTER)
    (tmp_path / "pki/cluster/.keys.json.new").write_text("{")
    assert ClusterPki(tmp_path / "pki/cluster", CLUSTER, clock).secrets_for(MASTER) == first


def test_a_clock_beyond_the_authorities_life_stops_the_server(pki, tmp_path, clock):
    clock.now += 11 * 366 * DAY
    with pytest.raises(UserError, match="ended on 2036-11-"):
        ClusterPki(tmp_path / "pki/cluster", CLUSTER, clock)


def test_the_first_start_makes_keys_of_its_own(tmp_path, clock):
    first = ClusterPki(tmp_path / "one", CLUSTER, clock).secrets_for(MASTER)
    second = ClusterPki(tmp_path / "two", CLUSTER, clock).secrets_for(MASTER)
    assert first.service_account.key != second.service_account.key
    assert first.encryption_key != second.encryption_key
    assert all(first.authorities[name] != second.authorities[name] for name in ("cluster", "etcd", "front-proxy"))
