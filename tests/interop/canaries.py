"""What must never be seen by anybody else: every secret below a state directory, in each form it may be sent in."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NAMED = frozenset({"secret", "token", "encryption_key"})
"What is a secret in a JSON file beside the keys."
PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL)


def find_secrets(state: Path) -> dict[str, bytes]:
    """By where they are: each private key's number and its text, tokens, and what else is nobody's business."""
    found: dict[str, bytes] = {}
    for path in sorted(state.rglob("*")):
        name = str(path.relative_to(state))
        if not path.is_file() or name.startswith("state.db"):
            continue
        data = path.read_bytes()
        text = data.decode("latin-1").replace("\\n", "\n").encode("latin-1")  # a PEM as a string in JSON
        for number, pem in enumerate(PEM.findall(text)):
            key = serialization.load_pem_private_key(pem, None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                found[f"{name}#{number} number"] = key.private_numbers().private_value.to_bytes(
                    key.key_size // 8, "big"
                )
            elif isinstance(key, rsa.RSAPrivateKey):
                found[f"{name}#{number} number"] = key.private_numbers().d.to_bytes(key.key_size // 8, "big")[:64]
            else:
                raise AssertionError(f"{name}: a key of an unknown kind")
            found[f"{name}#{number} text"] = b"".join(pem.splitlines()[2:3])
        if name == "admin.token":
            found[name] = data.strip()
        for each in _find_texts(data):
            found[f"{name} {each[0]}"] = each[1].encode()
    return found


def _find_texts(data: bytes) -> Iterator[tuple[str, str]]:
    """Secrets in JSON files that are not keys: bootstrap tokens, the encryption key."""
    try:
        document = json.loads(data)
    except ValueError:
        return
    yield from _walk(document)


def _walk(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, str(key))
    elif isinstance(value, str) and name in NAMED and "BEGIN" not in value:
        yield name, value


def find_forms(secret: bytes) -> set[bytes]:
    """Raw, hex, and base64 wherever in a longer text it stands."""
    forms = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret)
        # The first characters hold what stands before it, the last what comes after.
        inner = coded[4 if before else 0 : len(coded) - 4]
        forms |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in forms if len(form) >= 12}


def search(secrets: dict[str, bytes], texts: dict[str, bytes]) -> list[str]:
    """`canary in text` for each find. Base64 in a text is looked through as it is, with its line ends taken out too."""
    finds = []
    for where, text in texts.items():
        joined = re.sub(rb"\s+", b"", text)
        for name, secret in secrets.items():
            if any(form in text or form in joined for form in find_forms(secret)):
                finds.append(f"{name} in {where}")
    return finds
