"""Tokens: 256 random bits as text that fits a URL. Only the digest is ever kept or logged (design.md rule 3)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def mint_token(random_bytes: Callable[[int], bytes]) -> str:
    """A new token from `random_bytes` (`secrets.token_bytes`)."""
    return base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).rstrip(b"=").decode()


def is_token(text: str) -> bool:
    """Whether `text` has a token's form; what has not needs no look in the store."""
    return TOKEN.fullmatch(text) is not None


def digest_token(token: str) -> str:
    """What is kept of a token: SHA-256, hex. A 256-bit token needs no salt and no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def name_token(digest: str) -> str:
    """How a log names a token."""
    return digest[:8]
