"""Every leaf of every role as OpenSSL sees it: chain, purpose, names; and keys as the programs read them."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from pki_keys import open_pki
from rack import make_cluster, make_machine

from bootstrapper.cluster.model import Flannel, Role
from bootstrapper.pki.leaves import Signer
from bootstrapper.pki.rotation import rotate

pytestmark = pytest.mark.interop

NODE1 = make_machine(roles=frozenset(Role))
PURPOSES = {
    "apiserver": ("cluster", {"sslserver"}),
    "apiserver-kubelet-client": ("cluster", {"sslclient"}),
    "apiserver-etcd-client": ("etcd", {"sslclient"}),
    "front-proxy-client": ("front-proxy", {"sslclient"}),
    "controller-manager": ("cluster", {"sslclient"}),
    "scheduler": ("cluster", {"sslclient"}),
    "admin": ("cluster", {"sslclient"}),
    "super-admin": ("cluster", {"sslclient"}),
    "etcd-server": ("etcd", {"sslserver", "sslclient"}),
    "etcd-peer": ("etcd", {"sslserver", "sslclient"}),
    "etcd-healthcheck-client": ("etcd", {"sslclient"}),
    "kube-proxy": ("cluster", {"sslclient"}),
    "flannel": ("cluster", {"sslclient"}),
    "flannel-etcd-client": ("etcd", {"sslclient"}),
    "bootstrapper": ("cluster", {"sslclient"}),
    "bootstrapper-etcd": ("etcd", {"sslclient"}),
}
NAMES = {
    "apiserver": [
        ("ip", "10.96.0.1"), ("ip", "10.10.14.250"), ("ip", "10.10.14.11"), ("ip", "127.0.0.1"),
        ("hostname", "k8s.prod.example.com"), ("hostname", "kubernetes.default.svc"), ("hostname", "localhost"),
        ("hostname", "kubernetes.default.svc.cluster.local"), ("hostname", "node1.prod.example.com"),
    ],
    "etcd-server": [("ip", "10.10.14.11"), ("ip", "127.0.0.1"), ("hostname", "node1.prod.example.com")],
    "etcd-peer": [("ip", "10.10.14.11"), ("hostname", "prod.example.com"), ("hostname", "localhost")],
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The certificates and keys of a machine with every role, and this server's own, as files."""
    directory = tmp_path_factory.mktemp("openssl")
    now = time.time()
    cluster = make_cluster(NODE1)
    api = replace(cluster.kubernetes.api, vip=IPv4Address("10.10.14.250"))
    cluster = replace(cluster, kubernetes=replace(cluster.kubernetes, api=api))
    pki = open_pki(directory / "cluster", cluster, lambda: now)
    rotate(pki.directory, Signer.ETCD, now)  # a bundle of two must do as well as one
    pairs = {"bootstrapper": pki.own("bootstrapper"), "bootstrapper-etcd": pki.own("bootstrapper-etcd")}
    for datastore in ("kubernetes", "etcd"):
        pki.cluster = replace(cluster, flannel=Flannel("0.28.9", "host-gw", datastore))
        given = pki.secrets_for(NODE1)
        pairs |= given.pairs
    for name, text in given.authorities.items():
        (directory / f"{name}.ca").write_text(text)
    for name, pair in pairs.items():
        (directory / f"{name}.crt").write_text(pair.certificate)
        (directory / f"{name}.key").write_text(pair.key)
    (directory / "sa.key").write_text(given.service_account.key)
    (directory / "sa.pub").write_text(given.service_account.certificate)
    (directory / "ca.key").write_text(given.authority_keys["cluster"])
    assert set(pairs) == set(PURPOSES)
    return directory


def verify(files, leaf, authority, *options):
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", f"{files}/{authority}.ca", *options]
    return subprocess.run([*command, f"{files}/{leaf}.crt"], capture_output=True).returncode == 0


@pytest.mark.parametrize("leaf", PURPOSES)
def test_chain_and_purpose(files, leaf):
    authority, purposes = PURPOSES[leaf]
    assert verify(files, leaf, authority)
    for purpose in ("sslserver", "sslclient"):
        assert verify(files, leaf, authority, "-purpose", purpose) == (purpose in purposes), purpose
    for other in {"cluster", "etcd", "front-proxy"} - {authority}:
        assert not verify(files, leaf, other)
    command = ["openssl", "x509", "-in", f"{files}/{leaf}.crt", "-noout", "-pubkey"]
    assert subprocess.check_output(command) == subprocess.check_output(
        ["openssl", "pkey", "-in", f"{files}/{leaf}.key", "-pubout"]
    )


@pytest.mark.parametrize("leaf", NAMES)
def test_it_is_good_for_every_url_it_is_reached_by(files, leaf):
    authority = PURPOSES[leaf][0]
    for kind, name in NAMES[leaf]:
        assert verify(files, leaf, authority, "-purpose", "sslserver", f"-verify_{kind}", name), name
    assert not verify(files, leaf, authority, "-verify_ip", "10.10.14.12")
    assert not verify(files, leaf, authority, "-verify_hostname", "evil.example.com")


def test_the_service_accounts_key_signs_and_its_public_half_verifies(files):
    (files / "text").write_text("a token")
    subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", files / "sa.key", "-out", files / "signature", files / "text"],
        check=True,
    )
    command = ["openssl", "dgst", "-sha256", "-verify", files / "sa.pub", "-signature", files / "signature"]
    assert subprocess.check_output([*command, files / "text"]) == b"Verified OK\n"


def test_the_cluster_key_signs_what_the_cluster_trusts(files):
    """As the controller manager does for a kubelet."""
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
         files / "kubelet.key", "-subj", "/O=system:nodes/CN=system:node:node1", "-out", files / "kubelet.csr"],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["openssl", "x509", "-req", "-in", files / "kubelet.csr", "-CA", files / "cluster.ca", "-CAkey",
         files / "ca.key", "-out", files / "kubelet.crt", "-days", "1"],
        check=True, capture_output=True,
    )  # fmt: skip
    command = ["openssl", "verify", "-purpose", "sslclient", "-CAfile", files / "cluster.ca", files / "kubelet.crt"]
    assert subprocess.run(command, capture_output=True).returncode == 0
