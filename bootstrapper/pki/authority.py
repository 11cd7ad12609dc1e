"""This server's own authority, and its server certificate: what installers and systems pin (design.md rule 3).

Kept in `pki/` of the state directory: `authority.pem`, `authority.key`, `server.pem`, `server.key`. An authority that
is damaged is an error and never silently replaced: every installed machine trusts the one it was given.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509

from bootstrapper.errors import UserError
from bootstrapper.pki.certificates import (
    BACKDATE,
    SERVER,
    Authority,
    Key,
    Profile,
    at_time,
    certificate_pem,
    is_signed_by,
    issue,
    key_pem,
    make_authority,
    make_key,
    names_of,
    parse_certificate,
    parse_key,
)
from bootstrapper.pki.files import make_directory, read_file, read_private, write_private

SERVER_LIFE = timedelta(days=397)
"The longest that common TLS clients accept."
RENEW_BELOW = 1 / 3
"A server certificate with less than this share of its life left is made anew at start."


@dataclass(frozen=True, slots=True)
class Identity:
    """What the TLS listener is started with."""

    certificate: Path
    key: Path
    authority_pem: str


def load_identity(directory: Path, name: str, addresses: Collection[IPv4Address], now: float) -> Identity:
    """The authority and the server certificate of `directory` (`pki/` of the state), made where they are missing.

    `name` is the server's full host name (`bootstrapper.prod.example.com`), `addresses` those it is reached at; a
    server certificate that lacks one of them, has another authority or nears its end is made anew. Raises UserError.
    """
    at = at_time(now)
    make_directory(directory)
    authority = _load_authority(directory, at) or _make_authority(directory, name, at)
    certificate, key = directory / "server.pem", directory / "server.key"
    if not _server_is_good(certificate, key, authority, name, addresses, at):
        _make_server(certificate, key, authority, name, addresses, at)
    return Identity(certificate, key, authority.pem)


def _load_authority(directory: Path, at: datetime) -> Authority | None:
    """None only when neither file is there: half an authority is a fault."""
    certificate_path, key_path = directory / "authority.pem", directory / "authority.key"
    hint = (
        f"restore {directory} from a backup; removing it makes a new authority, which installed machines do not trust"
    )
    if not os.path.lexists(certificate_path) and not os.path.lexists(key_path):
        return None
    key = _load_key(key_path, hint)
    certificate = _load_certificate(certificate_path, hint)
    if certificate.public_key() != key.public_key():
        raise UserError(f"{certificate_path} is not the certificate of {key_path}", hint)
    if certificate.not_valid_after_utc <= at:
        raise UserError(f"{certificate_path} ended on {certificate.not_valid_after_utc:%Y-%m-%d}", hint)
    if certificate.not_valid_before_utc > at + BACKDATE:
        raise UserError(
            f"{certificate_path} begins on {certificate.not_valid_before_utc:%Y-%m-%d}, and it is {at:%Y-%m-%d} here",
            "is this computer's clock right?",
        )
    return Authority(certificate, key)


def _load_key(path: Path, hint: str) -> Key:
    data = read_private(path, hint)
    try:
        return parse_key(data.decode())
    except ValueError as error:
        raise UserError(f"{path} is not a private key: {error}", hint) from error


def _load_certificate(path: Path, hint: str) -> x509.Certificate:
    data = read_file(path, hint)
    try:
        return parse_certificate(data.decode())
    except ValueError as error:
        raise UserError(f"{path} is not a certificate: {error}", hint) from error


def _make_authority(directory: Path, name: str, at: datetime) -> Authority:
    authority = make_authority(f"{name} authority", at)
    # The key first: a certificate whose key is missing would be half an authority after a crash in between.
    write_private(directory / "authority.key", key_pem(authority.key).encode())
    write_private(directory / "authority.pem", authority.pem.encode())
    return authority


def _make_server(
    certificate_path: Path,
    key_path: Path,
    authority: Authority,
    name: str,
    addresses: Collection[IPv4Address],
    at: datetime,
) -> None:
    key = make_key()
    names = (x509.DNSName(name), *(x509.IPAddress(each) for each in sorted(addresses)))
    profile = Profile(name, "", tuple(SERVER), names, SERVER_LIFE)
    certificate = issue(authority, profile, key.public_key(), at)
    write_private(key_path, key_pem(key).encode())
    write_private(certificate_path, certificate_pem(certificate).encode())


def _server_is_good(
    certificate_path: Path,
    key_path: Path,
    authority: Authority,
    name: str,
    addresses: Collection[IPv4Address],
    at: datetime,
) -> bool:
    """Whether the server's certificate can go on being used; it is cheap to make anew, so any doubt is a no."""
    try:
        certificate = _load_certificate(certificate_path, "")
        key = _load_key(key_path, "")
        names = names_of(certificate)
    except (UserError, ValueError):
        return False
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    left = certificate.not_valid_after_utc - at
    return (
        certificate.public_key() == key.public_key()
        and is_signed_by(certificate, authority.certificate)
        and {x509.DNSName(name), *(x509.IPAddress(each) for each in addresses)} <= set(names)
        and certificate.not_valid_before_utc <= at
        and left > whole * RENEW_BELOW
    )
