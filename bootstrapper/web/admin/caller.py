"""Who asks: set by `auth` for each request, and named in the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class How(StrEnum):
    SOCKET = "socket"
    "By the Unix socket: whoever may open it is the admin."
    TOKEN = "token"  # noqa: S105
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    "For the audit log: `root by the socket`, `token from 127.0.0.1`."
    how: How
    csrf: str = ""
    "Sessions only: what a form (field `csrf`) or script (header `X-CSRF-Token`) must send along with each change."
    session: str = ""
    "The session's digest; empty for the others."
