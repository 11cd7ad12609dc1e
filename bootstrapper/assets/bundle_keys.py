"""Who made a bundle: an Ed25519 key on the computer that exports, and the keys that the importing one trusts."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from bootstrapper.assets.writing import write_atomically
from bootstrapper.errors import UserError

PURPOSE = b"bootstrapper bundle manifest 1\n"
"In front of what is signed, so that no signature for another purpose passes for one of these."
SIGNATURE_BYTES = 4096
NO_TRUST = (
    "ask whoever made it for the fingerprint, by another way than the bundle came (it is printed by "
    "`bundle export`), and give it: --key sha256:…"
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    private: Ed25519PrivateKey
    path: Path
    fresh: bool
    "Made just now."

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.private.public_key())


def load_or_make(path: Path) -> SigningKey:
    """The key to sign with, made where there is none; its public half is put beside it. Raises UserError."""
    try:
        if path.exists():
            key = load_pem_private_key(path.read_bytes(), None)
            if not isinstance(key, Ed25519PrivateKey):
                raise UserError(f"{path} is not an Ed25519 key", "openssl genpkey -algorithm ed25519 -out FILE")
            return SigningKey(key, path, fresh=False)
        fresh = Ed25519PrivateKey.generate()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pem = fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomically(path, pem, 0o600)
        public = fresh.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_atomically(path.with_suffix(".pub"), public)
        return SigningKey(fresh, path, fresh=True)
    except TypeError as error:
        hint = "give one without, in a place that only you can read"
        raise UserError(f"{path} is protected by a passphrase", hint) from error
    except ValueError as error:
        raise UserError(f"{path} is no private key in PEM", "give another with --key, or none") from error
    except OSError as error:
        raise UserError(f"the key {path}: {error.strerror}", "give another with --key") from error


def sign(key: SigningKey, manifest: bytes) -> bytes:
    """The text of `manifest.sig`."""
    raw = key.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    words = {"key": _text(raw), "signature": _text(key.private.sign(PURPOSE + manifest))}
    return json.dumps(words).encode() + b"\n"


def verify(manifest: bytes, signature: bytes, trusted: Collection[str]) -> str:
    """The fingerprint of who signed. Raises UserError for one that is not trusted, or for a changed manifest."""
    try:
        words = json.loads(signature)
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(words["key"], validate=True))
        signed = base64.b64decode(words["signature"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("the bundle's signature is damaged", "get the bundle again") from error
    found = fingerprint_of(public)
    try:
        public.verify(signed, PURPOSE + manifest)
    except InvalidSignature:
        raise UserError("the bundle's manifest was changed after it was signed", "get the bundle again") from None
    if found not in trusted:
        raise UserError(f"the bundle is signed by a key that is not trusted here: {found}", NO_TRUST)
    return found


def fingerprint_of(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def read_key_option(value: str) -> str:
    """`--key` of an import: a fingerprint, or the file of a public key. Raises UserError."""
    plain = value.lower().replace(" ", "")
    if plain.startswith("sha256:") and len(plain) == 71 and set(plain[7:]) <= set("0123456789abcdef"):
        return plain
    try:
        key = load_pem_public_key(Path(value).read_bytes())
    except OSError as error:
        raise UserError(
            f"--key {value} is neither a fingerprint nor a file: {error.strerror}", "a fingerprint is sha256:HEX"
        ) from error
    except ValueError as error:
        raise UserError(f"{value} is no public key", "give bundle.pub, or its fingerprint") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(f"{value} is not an Ed25519 public key", "give bundle.pub, or its fingerprint")
    return fingerprint_of(key)


def load_trusted(path: Path) -> frozenset[str]:
    """Fingerprints, one a line; none where the file is not."""
    try:
        return frozenset(line.split()[0] for line in path.read_text().splitlines() if line.strip())
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "it holds the fingerprints that are trusted") from error


def remember(path: Path, trusted: Collection[str]) -> None:
    """From now on these are trusted without being named. Raises UserError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, "".join(f"{each}\n" for each in sorted(trusted)).encode(), 0o600)
    except OSError as error:
        hint = "the bundle is in place; name its key again next time"
        raise UserError(f"{path} cannot be written: {error.strerror}", hint) from error


def default_directory() -> Path:
    """Where keys are kept unless named: beside an admin's other settings."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "bootstrapper"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
