"""The table of leaves, said again in literals, and what nobody gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from pki_keys import open_pki
from rack import make_cluster, make_machine

from bootstrapper.cluster.model import Flannel, Role
from bootstrapper.pki.leaves import find_leaves, parse_urn

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NODE1 = make_machine("00:25:90:c0:f7:80", "node1", "10.10.14.11", roles=frozenset(Role))

SERVER, CLIENT = "server", "client"
HOSTS = ("node1", "node1.prod.example.com")
ETCD_NAMES = (*HOSTS, "prod.example.com", "localhost", "10.10.14.11", "127.0.0.1")
API_NAMES = (
    *HOSTS, "k8s.prod.example.com", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local", "localhost", "10.96.0.1", "10.10.14.250", "10.10.14.11", "127.0.0.1",
)  # fmt: skip

TABLE = {
    "apiserver": ("kubernetes", "CN=kube-apiserver", {SERVER}, API_NAMES),
    "apiserver-kubelet-client": ("kubernetes", "CN=kube-apiserver-kubelet-client", {CLIENT}, ()),
    "apiserver-etcd-client": ("etcd-ca", "CN=kube-apiserver-etcd-client", {CLIENT}, ()),
    "front-proxy-client": ("front-proxy-ca", "CN=front-proxy-client", {CLIENT}, ()),
    "controller-manager": ("kubernetes", "CN=system:kube-controller-manager", {CLIENT}, ()),
    "scheduler": ("kubernetes", "CN=system:kube-scheduler", {CLIENT}, ()),
    "admin": ("kubernetes", "CN=kubernetes-admin,O=kubeadm:cluster-admins", {CLIENT}, ()),
    "super-admin": ("kubernetes", "CN=kubernetes-super-admin,O=system:masters", {CLIENT}, ()),
    "etcd-server": ("etcd-ca", "CN=node1", {SERVER, CLIENT}, ETCD_NAMES),
    "etcd-peer": ("etcd-ca", "CN=node1", {SERVER, CLIENT}, ETCD_NAMES),
    "etcd-healthcheck-client": ("etcd-ca", "CN=kube-etcd-healthcheck-client", {CLIENT}, ()),
    "kube-proxy": ("kubernetes", "CN=system:kube-proxy", {CLIENT}, ()),
    "flannel": ("kubernetes", "CN=flannel", {CLIENT}, ()),
    "flannel-etcd-client": ("etcd-ca", "CN=flannel", {CLIENT}, ()),
}
"Leaf -> issuer, subject, usages, host names and addresses; `node1` has every role, and the API a virtual address."

MASTER = {
    "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "controller-manager",
    "scheduler", "admin", "kube-proxy",
}  # fmt: skip
ETCD = {"etcd-server", "etcd-peer", "etcd-healthcheck-client"}
NODE = {"kube-proxy"}


def make_site(machine=NODE1, datastore="kubernetes", vip="10.10.14.250"):
    cluster = make_cluster(machine)
    api = replace(cluster.kubernetes.api, vip=IPv4Address(vip) if vip else None)
    kubernetes = replace(cluster.kubernetes, api=api)
    return replace(cluster, kubernetes=kubernetes, flannel=Flannel("0.28.9", "host-gw", datastore))


@pytest.fixture(scope="module")
def given_to(tmp_path_factory):
    """Both datastores' leaves of node1, as certificates."""
    found, texts = {}, {}
    directory = tmp_path_factory.mktemp("leaves")
    for datastore in ("kubernetes", "etcd"):
        pki = open_pki(directory / "cluster", make_site(datastore=datastore), NOW.timestamp)
        given = pki.secrets_for(NODE1)
        texts |= given.authorities
        found |= {name: x509.load_pem_x509_certificate(pair.certificate.encode()) for name, pair in given.pairs.items()}
    return found


def read(certificate):
    usages = {
        ExtendedKeyUsageOID.SERVER_AUTH: SERVER,
        ExtendedKeyUsageOID.CLIENT_AUTH: CLIENT,
    }
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        certificate.issuer.rfc4514_string().removeprefix("CN="),
        certificate.subject.rfc4514_string(),
        {usages[each] for each in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value},
        tuple(str(each.value) for each in names if not isinstance(each, x509.UniformResourceIdentifier)),
    )


@pytest.mark.parametrize("name", TABLE)
def test_what_it_says(given_to, name):
    assert read(given_to[name]) == TABLE[name]


def test_there_is_no_other(given_to):
    assert set(given_to) == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_form_and_life(given_to, name):
    certificate = given_to[name]
    assert certificate.not_valid_before_utc == datetime(2026, 11, 19, 12, tzinfo=UTC)
    assert certificate.not_valid_after_utc == datetime(2027, 11, 20, 12, tzinfo=UTC)
    assert certificate.public_key().curve.name == "secp256r1"
    assert certificate.signature_hash_algorithm.name == "sha256"
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature
    assert not usage.value.key_encipherment and not usage.value.key_cert_sign
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and basic.value.ca is False
    uris = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.UniformResourceIdentifier
    )
    assert uris == [f"urn:bootstrapper:00-25-90-c0-f7-80:{name}"]
    assert parse_urn(uris[0]) == ("00:25:90:c0:f7:80", name)


@pytest.mark.parametrize("text", ["", "urn:bootstrapper:", "urn:bootstrapper:x", "https://a/b", "urn:other:m:leaf"])
def test_what_is_no_owner(text):
    assert parse_urn(text) is None


def names_for(roles, datastore="kubernetes", vip=None):
    machine = replace(NODE1, roles=frozenset(roles))
    return {leaf.name for leaf in find_leaves(make_site(machine, datastore, vip), machine)}


@pytest.mark.parametrize(
    ("roles", "names"),
    [
        ({Role.MASTER, Role.FLANNEL}, MASTER | {"flannel"}),
        ({Role.ETCD}, ETCD),
        ({Role.ETCD, Role.MASTER, Role.FLANNEL}, ETCD | MASTER | {"flannel"}),
        ({Role.WORKER, Role.FLANNEL}, NODE | {"flannel"}),
        ({Role.WORKER, Role.INGRESS, Role.FLANNEL}, NODE | {"flannel"}),
        ({Role.CEPH_MON}, set()),
        ({Role.CEPH_OSD}, set()),
    ],
)
def test_who_has_what(roles, names):
    assert names_for(roles) == names


def test_flannel_in_etcd_has_another_identity():
    assert names_for({Role.FLANNEL}, "etcd") == {"flannel-etcd-client"}
    assert names_for({Role.WORKER, Role.FLANNEL}, "etcd") == NODE | {"flannel-etcd-client"}


def test_the_super_admin_comes_with_a_virtual_address_only():
    assert names_for({Role.MASTER, Role.FLANNEL}, vip="10.10.14.250") == MASTER | {"flannel", "super-admin"}


@pytest.fixture(scope="module")
def shared_pki(tmp_path_factory):
    return open_pki(tmp_path_factory.mktemp("mixes") / "cluster", make_site(), NOW.timestamp)


@given(
    roles=st.sets(st.sampled_from(list(Role))),
    datastore=st.sampled_from(["kubernetes", "etcd"]),
    vip=st.sampled_from([None, "10.10.14.250"]),
)
@settings(max_examples=40, deadline=None)
def test_nobody_gets_what_its_roles_do_not_give(shared_pki, roles, datastore, vip):
    """Said apart from the table: by what an attacker who took the machine could do with it."""
    machine = replace(NODE1, roles=frozenset(roles))
    shared_pki.cluster = make_site(machine, datastore, vip)
    given = shared_pki.secrets_for(machine)
    names = set(given.pairs)
    if Role.MASTER not in roles:
        assert not names & (MASTER - NODE | {"super-admin"})
        assert given.authority_keys == {} and given.service_account is None and given.encryption_key == ""
        for name, pair in given.pairs.items():
            subject = x509.load_pem_x509_certificate(pair.certificate.encode()).subject.rfc4514_string()
            assert "O=" not in subject, f"{name} is in a group"
    if Role.ETCD not in roles:
        assert not names & ETCD
    if not roles & {Role.MASTER, Role.WORKER, Role.INGRESS}:
        assert "kube-proxy" not in names and given.bootstrap_token == ""
    if Role.FLANNEL not in roles:
        assert not names & {"flannel", "flannel-etcd-client"}
    if datastore == "kubernetes" and not roles & {Role.MASTER, Role.ETCD}:
        signers = {x509.load_pem_x509_certificate(pair.certificate.encode()).issuer for pair in given.pairs.values()}
        assert "CN=etcd-ca" not in {signer.rfc4514_string() for signer in signers}
    assert not names & {"bootstrapper", "bootstrapper-etcd"}
    assert set(given.authority_keys) <= {"cluster"}
    assert len({pair.key for pair in given.pairs.values()}) == len(names)
