"""X.509 as this project uses it: authorities that sign, leaves that are signed, keys as PEM.

Keys are EC P-256 (0.1 ms to make; an RSA key takes 100 ms), certificates SHA-256. A leaf's key usage is
digitalSignature alone: keyEncipherment must not stand in a certificate of an EC key (RFC 8813 section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3652)
BACKDATE = timedelta(hours=24)
"For machines whose clock has no battery (reference features.md 2, row 22)."
COMMON_NAME_CHARACTERS = 64
"RFC 5280, ub-common-name."

Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
"What a machine may have made for itself."
UNREADABLE = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion,
              x509.DuplicateExtension, x509.UnsupportedGeneralNameType)  # fmt: skip
"What `cryptography` raises for a certificate or request that somebody else made: not all of it is a ValueError."


@dataclass(frozen=True, slots=True)
class Authority:
    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> str:
        return certificate_pem(self.certificate)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate says; whose key it is comes apart."""

    common_name: str
    organization: str
    "Empty: none. What Kubernetes takes for the group."
    usages: tuple[x509.ObjectIdentifier, ...]
    names: tuple[x509.GeneralName, ...]
    life: timedelta


def make_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(common_name: str, at: datetime) -> Authority:
    key = make_key()
    subject = make_subject(common_name)
    certificate = (
        _begin(subject, subject, key.public_key(), at, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue(authority: Authority, profile: Profile, public: PublicKey, at: datetime) -> x509.Certificate:
    """A leaf for `public`, which never outlives its authority."""
    life = min(profile.life, authority.certificate.not_valid_after_utc - at)
    subject = make_subject(profile.common_name, profile.organization)
    builder = (
        _begin(subject, authority.certificate.subject, public, at, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage(profile.usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if profile.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(profile.names), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def make_subject(common_name: str, organization: str = "") -> x509.Name:
    """A name beyond 64 characters is cut: clients go by the alternative names anyway."""
    cut = common_name[:COMMON_NAME_CHARACTERS]
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, cut)] if cut else []
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def says_the_same(certificate: x509.Certificate, profile: Profile) -> bool:
    """Whether `certificate` says what `profile` wants said today."""
    if certificate.subject != make_subject(profile.common_name, profile.organization):
        return False
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return set(usages) == set(profile.usages) and names_of(certificate) == profile.names


def names_of(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except UNREADABLE:
        return False
    return True


def certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: Key | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: Key | rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def parse_certificate(text: str) -> x509.Certificate:
    """Raises ValueError."""
    return x509.load_pem_x509_certificate(text.encode())


def parse_key(text: str) -> Key:
    """Raises ValueError for anything but an unencrypted EC private key."""
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC private key")
    return key


def at_time(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)


def _begin(
    subject: x509.Name, issuer: x509.Name, public: PublicKey, at: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in KEY_USAGES})


SERVER: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,)

KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
