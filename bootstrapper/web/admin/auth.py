"""Who may: every URL asks here first, and the answer is no unless something below says yes (deny by default).

- Whoever may open the Unix socket (0600) is the admin.
- A bearer token (`Authorization: Bearer ...`), compared in constant time, from programs.
- A session cookie, from browsers that logged in with the token. A change then needs the session's CSRF token as well.

And for all of them: a Host that is not ours is refused (DNS rebinding), a change from another origin's page as well.
"""

from __future__ import annotations

import hashlib
import hmac
import pwd
import re
import socket
import struct
from contextlib import suppress
from typing import TypeVar

from flask import Response, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from bootstrapper.web.admin.audit import Audit
from bootstrapper.web.admin.caller import Caller, How
from bootstrapper.web.admin.limits import FailedLogins, TooMany
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.problems import fault_reply, problem_reply
from bootstrapper.web.admin.sessions import LIFE_S, Sessions
from bootstrapper.web.admin.words import clean
from bootstrapper.web.limiter import Limiter

COOKIE = "bootstrapper_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"static", "pages.login", "api.log_in"})
"Endpoints for anyone who reaches the listener; everything else, unknown URLs included, wants a caller."
TELL_EVERY_S = 300.0
"Of wrong tokens, one is in the audit log in such a time."
LOGIN_BYTES = 4096
"The longest body that is read of somebody who is not known yet."
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
BEARER = re.compile(r"Bearer +([A-Za-z0-9_-]{20,100})")
HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?")


Reply = TypeVar("Reply", bound=BaseResponse)


class Auth:
    def __init__(self, parts: AdminParts) -> None:
        self._digest = _digest(parts.token)
        self._audit = Audit(parts)
        self._now = parts.now
        self._tell = Limiter(TELL_EVERY_S)
        self._sessions = Sessions(parts.store, parts.now, parts.random_bytes, self._digest)
        self._failed = FailedLogins(parts.now)
        self._hosts = LOOPBACK | {host.lower() for host in parts.hosts}

    def guard(self) -> Response | None:
        """Before each request; a reply refuses it."""
        g.caller = None
        if not self._host_is_ours():
            return problem_reply(403, "this name is not this server's", "ask by the address or name it was given")
        changes = request.method not in SAFE
        if changes and self._comes_from_elsewhere():
            return problem_reply(403, "the request comes from another site's page", "use this server's own pages")
        if request.endpoint in OPEN:
            request.max_content_length = LOGIN_BYTES
        try:
            g.caller = self._find_caller()
        except TooMany as refusal:
            return fault_reply(refusal)
        if request.endpoint in OPEN:
            return None
        if g.caller is None:
            return self._ask_to_log_in()
        if changes and g.caller.how is How.SESSION and not self._has_csrf(g.caller):
            return problem_reply(403, "the page is too old, or the request was not made by it", "load the page again")
        return None

    def log_in(self, token: str) -> tuple[str, str] | None:
        """(session id for the cookie, CSRF token), or None. Raises TooMany."""
        if not self._is_token(token):
            return None
        name = f"session from {find_source()}" if find_peer() is None else "session by the socket"
        self._audit.add(name, "log in")
        return self._sessions.open(name)

    def log_out(self, caller: Caller) -> None:
        if caller.how is How.SESSION:
            self._audit.add(caller.name, "log out")
        self._sessions.close(caller.session)

    def _is_token(self, text: str) -> bool:
        """Raises TooMany after too many that were not. The right one always passes: nobody who sends wrong ones, from
        this host or a proxy that others use, locks the admin out; of 256 bits none is ever guessed."""
        if hmac.compare_digest(_digest(text), self._digest):
            return True
        source = find_source()
        self._failed.check(source)
        self._failed.add(source)
        if self._tell.allows("wrong token", self._now()):  # not each: nobody writes the audit log full
            self._audit.add(f"somebody from {source}", "log in", detail="a wrong token", refused=True)
        return False

    def set_cookie(self, reply: BaseResponse, session: str) -> None:
        reply.set_cookie(COOKIE, session, max_age=int(LIFE_S), httponly=True, samesite="Strict", path="/",
                         secure=request.scheme == "https")  # fmt: skip

    def drop_cookie(self, reply: Reply) -> Reply:
        reply.delete_cookie(COOKIE, path="/")
        return reply

    def _find_caller(self) -> Caller | None:
        peer = find_peer()
        if peer is not None:
            return Caller(f"{peer} by the socket", How.SOCKET)
        given = request.headers.get("Authorization")
        if given is not None:
            matched = BEARER.fullmatch(given)
            return Caller(f"token from {find_source()}", How.TOKEN) if matched and self._is_token(matched[1]) else None
        return self._sessions.find(request.cookies.get(COOKIE, ""))

    def _has_csrf(self, caller: Caller) -> bool:
        sent = request.headers.get("X-CSRF-Token") or (request.form.get("csrf") if _is_form() else None) or ""
        return hmac.compare_digest(sent.encode(), caller.csrf.encode())

    def _host_is_ours(self) -> bool:
        matched = HOST.fullmatch(request.environ.get("HTTP_HOST", ""))
        return matched is not None and matched[1].lower() in self._hosts

    def _comes_from_elsewhere(self) -> bool:
        """Browsers say so; programs send neither header."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return True
        origin, host = request.headers.get("Origin"), request.environ["HTTP_HOST"].lower()
        return origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}")

    def _ask_to_log_in(self) -> Response:
        if request.path.startswith("/api/") or request.method != "GET":
            reply = problem_reply(
                401, "log in first", "send `Authorization: Bearer` with the text of STATE/admin.token"
            )
            reply.headers["WWW-Authenticate"] = 'Bearer realm="bootstrapper"'
            return reply
        return redirect("/login", 303)  # type: ignore[return-value]


def caller() -> Caller:
    """Who sent the request under way; behind `guard` there always is one."""
    found: Caller | None = g.caller
    assert found is not None
    return found


def find_source() -> str:
    """The peer's address; no header can change it. Empty for the Unix socket."""
    return str(request.environ.get("REMOTE_ADDR", ""))


def find_peer() -> str | None:
    """The user behind a Unix socket's connection, by name; None for any other connection."""
    sock = request.environ.get("gunicorn.socket")
    if sock is None or getattr(sock, "family", None) != socket.AF_UNIX:
        return None
    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    with suppress(KeyError):
        return clean(pwd.getpwuid(uid).pw_name, 32)
    return f"uid {uid}"


def _is_form() -> bool:
    return request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
