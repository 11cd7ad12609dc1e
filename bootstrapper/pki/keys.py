"""The keys that a cluster has once: its authorities, the service-account key, the key of Secrets at rest.

All in one file, `keys.json` in `pki/cluster` of the state directory, so that there is never half of them: made whole at
the first start, written again whole only by a rotation. One that is damaged, or missing where machines already have
keys, is an error and never silently replaced: every machine of the cluster trusts what it was given.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bootstrapper.errors import UserError
from bootstrapper.pki.certificates import (
    Authority,
    at_time,
    certificate_pem,
    key_pem,
    make_authority,
    parse_certificate,
    parse_key,
    public_pem,
)
from bootstrapper.pki.files import make_directory, read_private, write_private
from bootstrapper.pki.leaves import AUTHORITY_NAMES, Signer

FILE = "keys.json"
VERSION = 1
ENCRYPTION_BYTES = 32


@dataclass(frozen=True, slots=True)
class Trust:
    """An authority of the cluster. Two stand side by side while one takes the other's place (`pki.rotation`)."""

    signing: Authority
    next: Authority | None = None
    "Trusted already, and to sign from the switch on."
    previous: str = ""
    "PEM of the certificate that signed until the switch, and is still trusted; its key is gone."
    changed_at: float | None = None
    "When the rotation reached the step it is at; None: there is none."

    @property
    def bundle(self) -> str:
        """What is trusted, PEM; the one that signs first."""
        return self.signing.pem + (self.next.pem if self.next else "") + self.previous


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    authorities: Mapping[Signer, Trust]
    service_account: str = field(repr=False)
    "PEM (PKCS #8), RSA: every verifier of a cluster's tokens takes RS256, ES256 is optional to them (OIDC Core 15.1)."
    service_account_public: str
    encryption_key: str = field(repr=False)
    "Base64 of 32 bytes."


def load_keys(directory: Path, now: float) -> ClusterKeys:
    """Those of `directory` (`pki/cluster` of the state), made where there are none. Raises UserError.

    For one process at a time (`files.locked`).
    """
    path = directory / FILE
    if not path.exists() and not path.is_symlink():
        _refuse_orphans(directory)
        keys = make_keys(at_time(now))
        save_keys(directory, keys)
        return keys
    keys = parse_keys(read_private(path, explain(directory)), path)
    for name, trust in keys.authorities.items():
        if trust.signing.certificate.not_valid_after_utc <= at_time(now):
            ended = f"{trust.signing.certificate.not_valid_after_utc:%Y-%m-%d}"
            raise UserError(f"{path}: the {name} authority ended on {ended}", "is this computer's clock right?")
    return keys


def make_keys(at: datetime) -> ClusterKeys:
    account = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ClusterKeys(
        authorities={name: Trust(make_authority(common_name, at)) for name, common_name in AUTHORITY_NAMES.items()},
        service_account=key_pem(account),
        service_account_public=public_pem(account),
        encryption_key=base64.b64encode(secrets.token_bytes(ENCRYPTION_BYTES)).decode(),
    )


def save_keys(directory: Path, keys: ClusterKeys) -> None:
    make_directory(directory)
    write_private(directory / FILE, build_keys(keys))


def build_keys(keys: ClusterKeys) -> bytes:
    document = {
        "version": VERSION,
        "authorities": {name.value: _build_trust(trust) for name, trust in keys.authorities.items()},
        "service_account": keys.service_account,
        "encryption_key": keys.encryption_key,
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def parse_keys(data: bytes, path: Path) -> ClusterKeys:
    """Raises UserError, naming `path` and what is wrong with it."""
    try:
        document = json.loads(data)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']}, expected {VERSION}")
        account = serialization.load_pem_private_key(document["service_account"].encode(), None)
        if not isinstance(account, rsa.RSAPrivateKey):
            raise ValueError("service_account is not an RSA private key")
        encryption = document["encryption_key"]
        if len(base64.b64decode(encryption, validate=True)) != ENCRYPTION_BYTES:
            raise ValueError("encryption_key is not 32 bytes")
        return ClusterKeys(
            authorities={name: _parse_trust(document["authorities"][name.value], name) for name in Signer},
            service_account=key_pem(account),
            service_account_public=public_pem(account),
            encryption_key=encryption,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is damaged: {what}", explain(path.parent)) from error


def explain(directory: Path) -> str:
    return (
        f"restore {directory} from a backup; removing it makes new authorities, which the cluster's machines do not"
        " trust until every one of them has been installed again"
    )


def _refuse_orphans(directory: Path) -> None:
    """Machines whose keys are known were given authorities that are not: new ones would split the cluster."""
    for name in ("machines", "tokens"):
        if any((directory / name).glob("*.json")):
            raise UserError(f"{directory / FILE} is missing, and machines have keys already", explain(directory))


def _build_trust(trust: Trust) -> dict[str, Any]:
    return {
        "signing": _build_authority(trust.signing),
        "next": _build_authority(trust.next) if trust.next else None,
        "previous": trust.previous or None,
        "changed_at": trust.changed_at,
    }


def _parse_trust(document: dict[str, Any], name: Signer) -> Trust:
    changed_at = document["changed_at"]
    if changed_at is not None and not isinstance(changed_at, int | float):
        raise ValueError(f"changed_at of {name} is not a time")
    following, previous = document["next"], document["previous"]
    return Trust(
        signing=_parse_authority(document["signing"], name),
        next=_parse_authority(following, name) if following is not None else None,
        previous=certificate_pem(parse_certificate(previous)) if previous is not None else "",
        changed_at=changed_at,
    )


def _build_authority(authority: Authority) -> dict[str, str]:
    return {"certificate": authority.pem, "key": key_pem(authority.key)}


def _parse_authority(document: dict[str, str], name: Signer) -> Authority:
    authority = Authority(parse_certificate(document["certificate"]), parse_key(document["key"]))
    if authority.certificate.public_key() != authority.key.public_key():
        raise ValueError(f"the certificate of the {name} authority is not its key's")
    return authority
