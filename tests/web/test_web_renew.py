"""POST /renew, /bootstrap-token, GET /authorities: as an installed machine asks, and as others do."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID
from pki_keys import open_pki
from rack import make_cluster, make_machine

from bootstrapper.cluster.model import Role
from bootstrapper.pki.certificates import certificate_pem, issue, key_pem, make_key
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.leaves import LEAVES, Signer, make_profile

DAY = 86400.0
MASTER = make_machine("00:25:90:c0:f7:80", "node1", "10.10.14.11", roles=frozenset({Role.ETCD, Role.MASTER}))
WORKER = make_machine("00:25:90:c0:f6:ee", "node4", None)


@pytest.fixture
def tls(plane, tmp_path):
    """The plane with keys; `tls.pki` is what the server has of them."""
    plane.cluster = make_cluster(MASTER, WORKER)
    pki = open_pki(tmp_path / "pki/cluster", plane.cluster, lambda: plane.clock)
    plain = plane.make_parts
    plane.make_parts = lambda: replace(plain(), pki=pki)
    plane.pki = pki
    return plane


def load_key(pem):
    return serialization.load_pem_private_key(pem.encode(), None)


def make_request(key, name="anything", sign_with=None):
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    attributes = [(NameOID.COMMON_NAME, name), (NameOID.ORGANIZATION_NAME, "system:masters")]
    request = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(*each) for each in attributes])
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName("evil.example.com")]), critical=False)
    return request.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def prove(key, message):
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(message.encode(), ec.ECDSA(hashes.SHA256()))
    return base64.b64encode(signature).decode()


def make_body(pair, new=None, request=None, **changes):
    request = request or make_request(new or ec.generate_private_key(ec.SECP256R1()))
    body = {"certificate": pair.certificate, "csr": request, "signature": prove(load_key(pair.key), request)}
    return body | changes


def post(plane, body, url="https:/renew", source="10.10.14.11"):
    if isinstance(body, bytes):
        return plane.get(url, source, "POST", data=body)
    return plane.get(url, source, "POST", json=body)


def read(reply):
    assert reply.status_code == 200, reply.text
    return x509.load_pem_x509_certificate(reply.json["certificate"].encode())


def reasons(plane):
    return [(event.step, event.detail, event.level) for event in plane.events]


def assert_refused(plane, reply, reason):
    assert (reply.status_code, reply.data) == (404, b"not found\n")
    assert reason in plane.events[-1].detail


def test_the_same_certificate_for_a_new_key(tls):
    pair = tls.pki.secrets_for(MASTER).pairs["etcd-peer"]
    tls.clock += 250 * DAY
    new = ec.generate_private_key(ec.SECP256R1())
    reply = post(tls, make_body(pair, new))
    old, certificate = x509.load_pem_x509_certificate(pair.certificate.encode()), read(reply)
    assert certificate.public_key() == new.public_key()
    assert certificate.subject == old.subject
    names = x509.SubjectAlternativeName
    assert certificate.extensions.get_extension_for_class(names) == old.extensions.get_extension_for_class(names)
    assert certificate.not_valid_after_utc == datetime.fromtimestamp(tls.clock, UTC) + timedelta(days=365)
    assert reply.json["authorities"] == tls.pki.secrets_for(MASTER).authorities["etcd"]
    assert sorted(reply.json) == ["authorities", "certificate"]
    assert reasons(tls) == [("certificate renewed", "etcd-peer for 10.10.14.11", "info")]


@pytest.mark.parametrize("kind", ["P-384", "RSA 2048"])
def test_other_keys_that_a_machine_may_make(tls, kind):
    new = ec.generate_private_key(ec.SECP384R1()) if kind == "P-384" else rsa.generate_private_key(65537, 2048)
    pair = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    reply = post(tls, make_body(pair, new))
    certificate = read(reply)
    assert certificate.subject.rfc4514_string() == "CN=system:kube-proxy"
    # And that key renews in its turn.
    request = make_request(ec.generate_private_key(ec.SECP256R1()))
    body = {"certificate": reply.json["certificate"], "csr": request, "signature": prove(new, request)}
    assert read(post(tls, body)).subject.rfc4514_string() == "CN=system:kube-proxy"


def test_a_key_we_do_not_sign(tls):
    pair = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    short, small = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())
    for weak in (short, small, ed25519.Ed25519PrivateKey.generate()):
        tls.clock += 60
        assert_refused(tls, post(tls, make_body(pair, weak)), "a kind of key we do not sign")


def test_without_the_present_key(tls):
    pairs = tls.pki.secrets_for(MASTER).pairs
    body = make_body(pairs["apiserver"])
    thief = ec.generate_private_key(ec.SECP256R1())
    body["signature"] = prove(thief, body["csr"])
    assert_refused(tls, post(tls, body), "no proof of the present key")


def test_a_signature_over_another_request(tls):
    pair = tls.pki.secrets_for(MASTER).pairs["apiserver"]
    body = make_body(pair, csr=make_request(ec.generate_private_key(ec.SECP256R1())))
    assert_refused(tls, post(tls, body), "no proof of the present key")


def test_a_request_for_a_key_the_asker_has_not(tls):
    pair = tls.pki.secrets_for(MASTER).pairs["apiserver"]
    request = x509.load_pem_x509_csr(make_request(ec.generate_private_key(ec.SECP256R1())).encode())
    broken = bytearray(request.public_bytes(serialization.Encoding.DER))
    broken[-1] ^= 1
    text = base64.encodebytes(bytes(broken)).decode()
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"
    reply = post(tls, make_body(pair, request=pem))
    assert reply.status_code == 404
    assert "the request's own signature is wrong" in tls.events[-1].detail or "malformed" in tls.events[-1].detail


def test_a_certificate_of_another_authority(tls, tmp_path):
    stranger = ClusterPki(tmp_path / "other", tls.cluster, lambda: tls.clock)
    assert_refused(tls, post(tls, make_body(stranger.secrets_for(MASTER).pairs["apiserver"])), "not signed by")


def test_what_the_cluster_authority_signed_is_no_etcd_certificate(tls):
    """A master has the cluster's signing key, and could make itself any name with it."""
    authority = tls.pki.keys.authorities[Signer.CLUSTER].signing
    leaf = next(leaf for leaf in LEAVES if leaf.name == "etcd-peer")
    key = make_key()
    profile = make_profile(leaf, tls.cluster, MASTER)
    forged = certificate_pem(issue(authority, profile, key.public_key(), datetime.fromtimestamp(tls.clock, UTC)))
    request = make_request(make_key())
    body = {"certificate": forged, "csr": request, "signature": prove(key, request)}
    assert_refused(tls, post(tls, body), "not signed by an authority of ours")


def test_a_machine_that_is_gone_or_has_another_role(tls):
    pairs = tls.pki.secrets_for(MASTER).pairs
    tls.pki.cluster = make_cluster(replace(MASTER, roles=WORKER.roles), WORKER)
    assert_refused(tls, post(tls, make_body(pairs["apiserver"])), "no such certificate any more")
    tls.clock += 60
    tls.pki.cluster = make_cluster(WORKER)
    assert_refused(tls, post(tls, make_body(pairs["apiserver"])), "of no machine of the description")


def test_this_servers_own_certificates_are_not_renewed_here(tls):
    assert_refused(tls, post(tls, make_body(tls.pki.own("bootstrapper"))), "of no machine of the description")


def test_a_changed_address_is_in_the_renewed_certificate(tls):
    pair = tls.pki.secrets_for(MASTER).pairs["apiserver"]
    moved = replace(MASTER, ip=MASTER.ip + 1)
    tls.pki.cluster = make_cluster(moved, WORKER)
    names = read(post(tls, make_body(pair))).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    assert "10.10.14.12" in addresses and "10.10.14.11" not in addresses


@pytest.mark.parametrize(("days", "renewed"), [(364, True), (394, True), (396, False)])
def test_a_certificate_that_ended(tls, days, renewed):
    pair = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    tls.clock += days * DAY
    reply = post(tls, make_body(pair))
    if renewed:
        read(reply)
    else:
        assert_refused(tls, reply, "ended too long ago")


def test_a_lost_answer_may_be_asked_for_again_for_a_week(tls):
    pair = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    read(post(tls, make_body(pair)))
    tls.clock += 6 * DAY
    read(post(tls, make_body(pair)))
    assert tls.events[-1].level == "warning"
    assert "which had been renewed before" in tls.events[-1].detail
    tls.clock += 2 * DAY
    assert_refused(tls, post(tls, make_body(pair)), "another took its place")
    assert tls.events[-1].level == "error"


def test_a_new_install_ends_what_the_machine_had(tls):
    before = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    new = ec.generate_private_key(ec.SECP256R1())
    reply = post(tls, make_body(before, new))
    renewed = replace(before, certificate=reply.json["certificate"], key=key_pem(new))
    after = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    assert after.key != before.key
    read(post(tls, make_body(renewed)))  # nobody has claimed it yet: `render` asked
    tls.pki.mark_claimed(WORKER)
    tls.clock += 60
    assert_refused(tls, post(tls, make_body(renewed)), "another took its place")
    read(post(tls, make_body(after)))


def test_a_forgotten_machine_renews_nothing_until_it_is_released(tls):
    pair = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    new = ec.generate_private_key(ec.SECP256R1())
    tls.clock += 60
    renewed = replace(pair, certificate=post(tls, make_body(pair, new)).json["certificate"], key=key_pem(new))
    tls.pki.forget(WORKER.mac, tls.clock - 30)  # ordered before it renewed, and done now
    assert_refused(tls, post(tls, make_body(renewed)), "its machine was forgotten")
    assert tls.events[-1].level == "warning"
    tls.clock += 60
    tls.pki.restore(WORKER.mac)
    read(post(tls, make_body(renewed)))


def test_what_a_new_install_was_given_outlives_an_older_forget(tls):
    before = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    ordered_at = tls.clock
    tls.clock += 60
    tls.pki.forget(WORKER.mac, ordered_at)
    given = tls.pki.secrets_for(WORKER)
    after = given.pairs["kube-proxy"]
    assert after.key != before.key
    tls.pki.mark_claimed(WORKER)
    tls.pki.forget(WORKER.mac, ordered_at)  # the errand, once more
    read(post(tls, make_body(after)))
    assert tls.pki.tokens.hand_out(WORKER.mac).text == given.bootstrap_token
    assert_refused(tls, post(tls, make_body(before)), "another took its place")


def test_state_that_was_restored_knows_less_than_the_machines(tls, tmp_path):
    pair = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    (tmp_path / "pki/cluster/machines/00-25-90-c0-f6-ee.json").unlink()
    read(post(tls, make_body(pair)))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000, b'{"certificate": "x"}',
        {"certificate": "x", "csr": "y", "signature": "z"},
        {"certificate": 1, "csr": 2, "signature": 3},
        {"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "csr": "", "signature": ""},
    ],
)  # fmt: skip
def test_what_is_no_renewal(tls, body):
    assert_refused(tls, post(tls, body), "malformed")


def test_too_large_a_body(tls):
    assert post(tls, b"x" * 20_000).status_code in (404, 413)


def test_nothing_without_tls(tls):
    pair = tls.pki.secrets_for(WORKER).pairs["kube-proxy"]
    for url, body in (("/renew", make_body(pair)), ("/bootstrap-token", {}), ("/authorities", None)):
        method = "POST" if body is not None else "GET"
        reply = tls.get(url, method=method, json=body) if body is not None else tls.get(url)
        assert (reply.status_code, reply.data) == (404, b"not found\n")


def test_the_authorities_are_for_anyone(tls):
    reply = tls.get("https:/authorities", "10.10.14.99")
    assert reply.json == dict(tls.pki.secrets_for(MASTER).authorities)
    assert "PRIVATE" not in reply.text


def ask(plane, pair, made_at=None, word="bootstrap-token"):
    message = f"{word} {int(plane.clock if made_at is None else made_at)}"
    body = {"certificate": pair.certificate, "request": message, "signature": prove(load_key(pair.key), message)}
    return post(plane, body, "https:/bootstrap-token")


def test_a_machine_that_waited_too_long_gets_another_token(tls):
    given = tls.pki.secrets_for(WORKER)
    pair, first = given.pairs["kube-proxy"], given.bootstrap_token
    assert ask(tls, pair).status_code == 404
    assert tls.events == []
    tls.pki.tokens.mark_created(WORKER.mac, first[:6], tls.clock + DAY)
    tls.clock += DAY + 60
    reply = ask(tls, pair)
    assert reply.status_code == 200
    assert reply.json["token"] != first
    assert [token.text for token in tls.pki.tokens.pending_tokens()] == [reply.json["token"]]


def test_who_may_not_ask_for_a_token(tls):
    given = tls.pki.secrets_for(WORKER)
    pair = given.pairs["kube-proxy"]
    tls.pki.tokens.mark_created(WORKER.mac, given.bootstrap_token[:6], tls.clock + 1)
    tls.clock += DAY
    assert_refused(tls, ask(tls, given.pairs["flannel"]), "no such certificate")
    tls.clock += 60
    assert_refused(tls, ask(tls, pair, tls.clock - 4000), "made at another time")
    tls.clock += 60
    assert_refused(tls, ask(tls, pair, word="renew"), "malformed")
    tls.clock += 60
    body = {"certificate": pair.certificate, "request": f"bootstrap-token {int(tls.clock)}", "signature": "AAAA"}
    assert_refused(tls, post(tls, body, "https:/bootstrap-token"), "no proof")
    assert tls.pki.tokens.pending_tokens() == []


def mutate(der: bytes, random: Random) -> bytes:
    changed = bytearray(der)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(changed))
        changed[at] = random.choice((random.randrange(256), changed[at] ^ 1, changed[at] + 1 & 255, 0, 255))
    return bytes(changed)


def armour(der: bytes, label: str) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


@pytest.mark.parametrize("seed", range(3))
def test_damaged_certificates_and_requests_are_that_404_and_no_fault_of_ours(tls, seed, caplog):
    """Of any bytes: a version that is none, an algorithm that nobody has, names of kinds that are not supported."""
    random = Random(seed)
    pair = tls.pki.secrets_for(MASTER).pairs["apiserver"]
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode()).public_bytes(serialization.Encoding.DER)
    key = load_key(pair.key)
    good = make_request(key)
    asked = x509.load_pem_x509_csr(good.encode()).public_bytes(serialization.Encoding.DER)
    for number in range(400):
        request, shown = good, pair.certificate
        if number % 4:
            shown = armour(mutate(certificate, random), "CERTIFICATE")
        else:
            request = armour(mutate(asked, random), "CERTIFICATE REQUEST")
        body = {"certificate": shown, "csr": request, "signature": prove(key, request)}
        reply = tls.get("https:/renew", method="POST", json=body)
        assert reply.status_code in (200, 404), number
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("oid", ["2a8648ce3d040309", "2a8648ce3d040300", "2b06010401020304"])
def test_an_algorithm_that_nobody_has(tls, oid):
    """In the name of our authority: it is looked at more closely than a stranger's."""
    pair = tls.pki.secrets_for(MASTER).pairs["apiserver"]
    der = base64.b64decode("".join(pair.certificate.splitlines()[1:-1]))
    ecdsa_with_sha256 = bytes.fromhex("2a8648ce3d040302")
    assert der.count(ecdsa_with_sha256) == 2
    shown = armour(der.replace(ecdsa_with_sha256, bytes.fromhex(oid)), "CERTIFICATE")
    assert_refused(tls, post(tls, make_body(pair, certificate=shown)), "")


@pytest.mark.parametrize("what", ["CERTIFICATE", "CERTIFICATE REQUEST"])
@pytest.mark.parametrize("version", [3, 4, 127])
def test_a_version_that_is_none(tls, what, version):
    """`cryptography` has an error of its own for it, which is no ValueError."""
    pair = tls.pki.secrets_for(MASTER).pairs["apiserver"]
    key = load_key(pair.key)
    texts = {"CERTIFICATE": pair.certificate, "CERTIFICATE REQUEST": make_request(key)}
    der = base64.b64decode("".join(texts[what].splitlines()[1:-1]))
    before = b"\x02\x01\x02" if what == "CERTIFICATE" else b"\x02\x01\x00"
    at = der.index(before)
    texts[what] = armour(der[: at + 2] + bytes([version]) + der[at + 3 :], what)
    request = texts["CERTIFICATE REQUEST"]
    body = {"certificate": texts["CERTIFICATE"], "csr": request, "signature": prove(key, request)}
    assert tls.get("https:/renew", method="POST", json=body).status_code == 404
