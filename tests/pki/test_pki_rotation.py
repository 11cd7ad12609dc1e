"""An authority takes another's place: what is trusted, what signs, and what must wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from pki_keys import Clock, open_pki
from rack import make_cluster, make_machine

from bootstrapper.cluster.model import Role
from bootstrapper.errors import UserError
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.leaves import Signer
from bootstrapper.pki.rotation import Step, find_rotation, rotate

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86400.0
MASTER = make_machine(roles=frozenset({Role.ETCD, Role.MASTER}))
CLUSTER = make_cluster(MASTER)


@pytest.fixture
def clock():
    return Clock(NOW)


@pytest.fixture
def pki(tmp_path, clock):
    return open_pki(tmp_path / "cluster", CLUSTER, clock)


def trusted(pki, name):
    return x509.load_pem_x509_certificates(pki.secrets_for(MASTER).authorities[name].encode())


def signed_by(pki, leaf, name):
    """Which certificates of the bundle the leaf's signature is by: positions."""
    certificate = x509.load_pem_x509_certificate(pki.secrets_for(MASTER).pairs[leaf].certificate.encode())
    found = []
    for position, authority in enumerate(trusted(pki, name)):
        try:
            certificate.verify_directly_issued_by(authority)
        except Exception:  # InvalidSignature has no base of its own
            continue
        found.append(position)
    return found


def test_from_the_old_to_the_new(pki, clock):
    (old,) = trusted(pki, "etcd")
    peer = pki.secrets_for(MASTER).pairs["etcd-peer"]

    assert rotate(pki.directory, Signer.ETCD, clock.now).step is Step.ANNOUNCED
    first, new = trusted(pki, "etcd")
    assert first == old and new.subject == old.subject and new.public_key() != old.public_key()
    assert pki.secrets_for(MASTER).pairs["etcd-peer"] == peer
    assert signed_by(pki, "etcd-peer", "etcd") == [0]

    clock.now += 2 * DAY
    assert rotate(pki.directory, Signer.ETCD, clock.now).step is Step.SWITCHED
    assert trusted(pki, "etcd") == [new, old]
    held = x509.load_pem_x509_certificate(peer.certificate.encode())
    held.verify_directly_issued_by(old)
    assert signed_by(pki, "etcd-peer", "etcd") == [0], "asked for again it is by the new one"
    with pytest.raises(UserError, match=r"00:25:90:c0:f7:80 may use apiserver-etcd-client, etcd-healthcheck-client, "):
        rotate(pki.directory, Signer.ETCD, clock.now)
    pki.mark_claimed(MASTER)

    assert find_rotation(pki.directory, Signer.ETCD, clock.now).blockers == ()
    assert rotate(pki.directory, Signer.ETCD, clock.now).step is Step.STABLE
    assert trusted(pki, "etcd") == [new]
    assert signed_by(pki, "etcd-peer", "etcd") == [0]


def test_the_others_are_left_alone(pki, clock):
    before = pki.secrets_for(MASTER)
    for _ in range(3):
        rotate(pki.directory, Signer.FRONT_PROXY, clock.now, force=True)
    after = pki.secrets_for(MASTER)
    changed = {name for name in before.pairs if before.pairs[name] != after.pairs[name]}
    assert changed == {"front-proxy-client"}
    assert {name for name in before.authorities if before.authorities[name] != after.authorities[name]} == {
        "front-proxy"
    }
    assert (before.authority_keys, before.service_account, before.encryption_key, before.bootstrap_token) == (
        after.authority_keys, after.service_account, after.encryption_key, after.bootstrap_token)  # fmt: skip


def test_not_before_machines_know_the_new_one(pki, clock):
    rotate(pki.directory, Signer.ETCD, clock.now)
    clock.now += 2 * DAY - 1
    with pytest.raises(UserError, match="machines have until 2026-11-22 12:00 UTC") as caught:
        rotate(pki.directory, Signer.ETCD, clock.now)
    assert "--force" in caught.value.hint
    assert find_rotation(pki.directory, Signer.ETCD, clock.now).step is Step.ANNOUNCED
    assert rotate(pki.directory, Signer.ETCD, clock.now, force=True).step is Step.SWITCHED


def test_kubelets_have_a_year(pki, clock):
    rotate(pki.directory, Signer.CLUSTER, clock.now)
    clock.now += 2 * DAY
    rotate(pki.directory, Signer.CLUSTER, clock.now)
    pki.secrets_for(MASTER)
    pki.mark_claimed(MASTER)
    with pytest.raises(UserError, match=r"kubelets may have certificates by the old one until 2027-11-22"):
        rotate(pki.directory, Signer.CLUSTER, clock.now)
    clock.now += 366 * DAY
    assert rotate(pki.directory, Signer.CLUSTER, clock.now).step is Step.STABLE


def test_masters_sign_with_the_new_key_after_the_switch(pki, clock):
    first = pki.secrets_for(MASTER).authority_keys["cluster"]
    rotate(pki.directory, Signer.CLUSTER, clock.now)
    assert pki.secrets_for(MASTER).authority_keys["cluster"] == first
    rotate(pki.directory, Signer.CLUSTER, clock.now, force=True)
    assert pki.secrets_for(MASTER).authority_keys["cluster"] != first
    assert first not in (pki.directory / "keys.json").read_text().replace("\\n", "\n"), "the old key is gone"


def test_a_restart_at_every_step(pki, tmp_path, clock):
    for step in (Step.ANNOUNCED, Step.SWITCHED, Step.STABLE):
        assert rotate(pki.directory, Signer.ETCD, clock.now, force=True).step is step
        again = ClusterPki(tmp_path / "cluster", CLUSTER, clock)
        assert find_rotation(again.directory, Signer.ETCD, clock.now).step is step
        assert again.bundle(Signer.ETCD) == pki.bundle(Signer.ETCD)
