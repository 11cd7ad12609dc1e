"""Renewal: a machine shows a certificate, proves that it has its key, and gets the same again for a new key (rule 9).

What it gets is what `leaves` says today of that leaf of that machine; of the request only the public key is used. Who
asks must prove both keys: the present one by a signature over the request, the new one by the request's own.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.pki.certificates import UNREADABLE, PublicKey, at_time, certificate_pem, is_signed_by, names_of
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.files import locked
from bootstrapper.pki.issued import Issued, add_renewal, load_issued, name_serial, save_issued
from bootstrapper.pki.keys import Trust
from bootstrapper.pki.leaves import Leaf, Signer, find_leaf, make_profile, parse_urn

EXPIRED_GRACE = timedelta(days=30)
"A machine that was off for so long after its certificate ended may still renew it."
RETRY_GRACE_S = 7 * 86400.0
"A certificate that was renewed may be shown again for so long: the answer may have been lost on the way."
PROOF_AGE_S = 3600.0
"How far from ours the time in a proof may be."
TOKEN_LEAF = "kube-proxy"  # noqa: S105 - the name of a certificate
"What a machine asks for a new bootstrap token with: every machine with a kubelet has it."
TOKEN_REQUEST = "bootstrap-token"  # noqa: S105 - a word of the request

RSA_BITS = range(2048, 4097)
CURVES = (ec.SECP256R1, ec.SECP384R1)


class RenewRefusal(StrEnum):
    """Why nothing is issued. For the log and the admin: the asker sees one constant 404."""

    MALFORMED = "malformed"
    STRANGER = "not signed by an authority of ours"
    NOT_YET = "not valid yet"
    EXPIRED = "ended too long ago"
    OWNER = "of no machine of the description"
    ROLE = "the machine has no such certificate any more"
    SUPERSEDED = "another took its place"
    FORGOTTEN = "its machine was forgotten"
    PROOF = "no proof of the present key"
    REQUEST = "the request's own signature is wrong"
    KEY = "a kind of key we do not sign"
    STALE = "made at another time"
    NOT_NEEDED = "the token it has is still good"


ALARMS = frozenset({RenewRefusal.SUPERSEDED})
"Somebody has a copy of what was a machine's: the admin is told loudly."


@dataclass(frozen=True, slots=True)
class Proof:
    """A certificate, a message, and the signature of the certificate's key over the message."""

    certificate: x509.Certificate
    message: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    machine: Machine
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class Renewed:
    owner: Owner
    certificate: str
    "PEM."
    authorities: str
    "PEM: what is trusted beside it, the one that signed it first."
    again: bool
    "The certificate shown had been renewed before: its answer was lost, or somebody has a copy."


def parse_proof(data: bytes, message: str) -> Proof | None:
    """From JSON `{"certificate": PEM, <message>: text, "signature": base64}` and nothing else. None: malformed."""
    try:
        body = json.loads(data)
        if set(body) != {"certificate", message, "signature"} or not all(isinstance(body[key], str) for key in body):
            return None
        certificate = x509.load_pem_x509_certificate(body["certificate"].encode())
        return Proof(certificate, body[message], base64.b64decode(body["signature"], validate=True))
    except (*UNREADABLE, KeyError, RecursionError, binascii.Error):
        return None


def find_owner(proof: Proof, cluster: Cluster, authorities: Mapping[Signer, Trust], now: float) -> Owner | RenewRefusal:
    """Whose certificate it is, once everything about it and the proof holds."""
    certificate, at = proof.certificate, at_time(now)
    named = _read_owner(certificate)
    machine = cluster.by_mac.get(named[0]) if named else None
    if machine is None or named is None:
        return RenewRefusal.OWNER
    leaf = find_leaf(cluster, machine, named[1])
    if leaf is None:
        return RenewRefusal.ROLE
    if not _is_ours(certificate, authorities[leaf.signer]):
        return RenewRefusal.STRANGER
    if at < certificate.not_valid_before_utc:
        return RenewRefusal.NOT_YET
    if at > certificate.not_valid_after_utc + EXPIRED_GRACE:
        return RenewRefusal.EXPIRED
    if not _verify(certificate.public_key(), proof.signature, proof.message.encode()):
        return RenewRefusal.PROOF
    return Owner(machine, leaf)


def may_renew(issued: Issued, certificate: x509.Certificate, now: float) -> bool:
    """Whether nothing has taken its place. One that we do not know of is newer than our state, which was restored."""
    return _find_refusal(issued, certificate, now) is None


def _find_refusal(issued: Issued, certificate: x509.Certificate, now: float) -> RenewRefusal | None:
    serial = issued.serials.get(name_serial(certificate))
    if serial is None:
        return None
    if serial.retired_at is not None and now >= serial.retired_at + RETRY_GRACE_S:
        return RenewRefusal.SUPERSEDED
    return RenewRefusal.FORGOTTEN if serial.forgotten else None


def read_request(text: str) -> PublicKey | RenewRefusal:
    """The public key of a PKCS #10 request that proves to have its private key."""
    try:
        request = x509.load_pem_x509_csr(text.encode())
        if not request.is_signature_valid:
            return RenewRefusal.REQUEST
        key = request.public_key()
    except UNREADABLE:
        return RenewRefusal.MALFORMED
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS:
        return key
    return RenewRefusal.KEY


def renew(pki: ClusterPki, proof: Proof) -> Renewed | RenewRefusal:
    """`proof.message` is the request, PEM. Raises UserError when the state cannot be read or written."""
    keys, now = pki.keys, pki.now()
    owner = find_owner(proof, pki.cluster, keys.authorities, now)
    if isinstance(owner, RenewRefusal):
        return owner
    public = read_request(proof.message)
    if isinstance(public, RenewRefusal):
        return public
    machine, leaf = owner.machine, owner.leaf
    with locked(pki.directory):
        kept = load_issued(pki.directory, machine.mac)
        issued = kept.get(leaf.name, Issued())
        refusal = _find_refusal(issued, proof.certificate, now)
        if refusal is not None:
            return refusal
        certificate = pki.sign(leaf, make_profile(leaf, pki.cluster, machine), public)
        pem = certificate_pem(certificate)
        after = add_renewal(issued, proof.certificate, certificate, pem, now)
        save_issued(pki.directory, machine.mac, {**kept, leaf.name: after})
    before = issued.serials.get(name_serial(proof.certificate))
    return Renewed(owner, pem, pki.bundle(leaf.signer), again=before is not None and before.retired_at is not None)


def ask_token(pki: ClusterPki, proof: Proof) -> tuple[Machine, str] | RenewRefusal:
    """A new bootstrap token for a machine whose own ran out before it joined.

    `proof.message` is `bootstrap-token SECONDS`, the time it was made at.
    """
    word, _, made_at = proof.message.partition(" ")
    if word != TOKEN_REQUEST or not made_at.isascii() or not made_at.isdigit() or len(made_at) > 12:
        return RenewRefusal.MALFORMED
    owner = find_owner(proof, pki.cluster, pki.keys.authorities, pki.now())
    if isinstance(owner, RenewRefusal):
        return owner
    if owner.leaf.name != TOKEN_LEAF:
        return RenewRefusal.ROLE
    if abs(int(made_at) - pki.now()) > PROOF_AGE_S:
        return RenewRefusal.STALE
    issued = load_issued(pki.directory, owner.machine.mac).get(TOKEN_LEAF, Issued())
    refusal = _find_refusal(issued, proof.certificate, pki.now())
    if refusal is not None:
        return refusal
    token = pki.tokens.ask_again(owner.machine.mac)
    return RenewRefusal.NOT_NEEDED if token is None else (owner.machine, token.text)


def _read_owner(certificate: x509.Certificate) -> tuple[str, str] | None:
    try:
        names = names_of(certificate)
    except UNREADABLE:
        return None
    found = [parse_urn(name.value) for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    return found[0] if len(found) == 1 else None


def _is_ours(certificate: x509.Certificate, trust: Trust) -> bool:
    trusted = x509.load_pem_x509_certificates(trust.bundle.encode())
    return any(is_signed_by(certificate, authority) for authority in trusted)


def _verify(key: object, signature: bytes, message: bytes) -> bool:
    """As `openssl dgst -sha256 -sign` makes it."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True
