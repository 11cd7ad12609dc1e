"""Who may: every URL asks here first, and the answer is no unless something below says yes (deny by default).

- Whoever may open the Unix socket (0600) is the admin.
- A bearer token (`Authorization: Bearer ...`, the scheme in any case: RFC 9110 section 11.1), compared in constant
  time, from programs.
- A session cookie, from browsers that logged in with the token, while it comes from where they did (`peer`).

A change by a session, or by a form over the socket, needs the CSRF token of the page as well.

And for all of them: a Host that is not ours is refused (DNS rebinding), and so is whatever another origin's page asks
for, by the browser's own word (`Origin`, `Sec-Fetch-Site`): reading costs work too. Who follows a link from elsewhere
is shown one to go on by.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TypeVar

from flask import Response, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from bootstrapper.web.admin.audit import Audit
from bootstrapper.web.admin.caller import Caller, How
from bootstrapper.web.admin.limits import FailedLogins, TooMany
from bootstrapper.web.admin.pages_reply import page
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.peer import find_peer, find_place, find_source
from bootstrapper.web.admin.problems import fault_reply, problem_reply
from bootstrapper.web.admin.sessions import Sessions, Stolen
from bootstrapper.web.limiter import Limiter

COOKIE = "bootstrapper_session"
TLS_COOKIE = "__Host-bootstrapper_session"
"With TLS: a browser takes a cookie of such a name from its own host only, over TLS only."
OURS = frozenset({"same-origin", "none"})
"Sec-Fetch-Site of our own pages, and of what a person typed or a program opened."
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"static", "pages.login", "api.log_in"})
"Endpoints for anyone who reaches the listener; everything else, unknown URLs included, wants a caller."
TELL_EVERY_S = 300.0
"Of wrong tokens, one is in the audit log in such a time."
LOGIN_BYTES = 4096
"The longest body that is read of somebody who is not known yet."
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
BEARER = re.compile(r"(?i:Bearer) +([A-Za-z0-9_-]{20,100})")
HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?")


Reply = TypeVar("Reply", bound=BaseResponse)


class Auth:
    def __init__(self, parts: AdminParts) -> None:
        self._digest = _digest(parts.token)
        self._audit = Audit(parts)
        self._now = parts.now
        self._tell = Limiter(TELL_EVERY_S)
        self._key = hmac.digest(parts.token.encode("utf-8", "replace"), b"csrf", "sha256")
        self._sessions = Sessions(parts.store, parts.now, parts.random_bytes, self._digest, self._make_csrf)
        self._failed = FailedLogins(parts.now)
        self._hosts = LOOPBACK | {host.lower() for host in parts.hosts}

    def guard(self) -> Response | None:
        """Before each request; a reply refuses it."""
        g.caller = None
        if not self._host_is_ours():
            return problem_reply(403, "this name is not this server's", "ask by the address or name it was given")
        if self._comes_from_elsewhere():
            if self._is_followed_link():
                return page("elsewhere.html", title="A link from another site", path=find_target())
            return problem_reply(403, "the request comes from another site's page", "use this server's own pages")
        changes = request.method not in SAFE
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
        if changes and self._needs_csrf(g.caller) and not self._has_csrf(g.caller):
            return problem_reply(403, "the page is too old, or the request was not made by it", "load the page again")
        return None

    def log_in(self, token: str) -> tuple[str, str] | None:
        """(session id for the cookie, CSRF token), or None. Raises TooMany."""
        if not self._is_token(token):
            return None
        place = find_place()
        name = f"session from {place}" if find_peer() is None else "session by the socket"
        self._audit.add(name, "log in")
        return self._sessions.open(name, place)

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
            self._audit.add(f"somebody from {find_place()}", "log in", detail="a wrong token", refused=True)
        return False

    def set_cookie(self, reply: BaseResponse, session: str) -> None:
        """Without an age: it goes when the browser does, and is on no disk for longer."""
        reply.set_cookie(find_cookie(), session, httponly=True, samesite="Strict", path="/",
                         secure=request.scheme == "https")  # fmt: skip

    def drop_cookie(self, reply: Reply) -> Reply:
        reply.delete_cookie(find_cookie(), path="/", httponly=True, samesite="Strict",
                            secure=request.scheme == "https")  # fmt: skip
        return reply

    def _find_caller(self) -> Caller | None:
        peer = find_peer()
        if peer is not None:
            return Caller(f"{peer} by the socket", How.SOCKET, self._make_csrf(f"socket {peer}"))
        given = request.headers.get("Authorization")
        if given is not None:
            matched = BEARER.fullmatch(given)
            return Caller(f"token from {find_source()}", How.TOKEN) if matched and self._is_token(matched[1]) else None
        place = find_place()
        try:
            return self._sessions.find(request.cookies.get(find_cookie(), ""), place)
        except Stolen as error:
            self._audit.add(f"somebody from {place}", "use a session", detail=f"{error.message}: it ends", refused=True)
            return None

    def _make_csrf(self, name: str) -> str:
        """Who knows the name, a session's id or its digest, cannot make it; who knows the admin's token need not."""
        return hmac.digest(self._key, name.encode(), "sha256").hex()

    def _needs_csrf(self, caller: Caller) -> bool:
        """A browser sends along what makes it the admin, whoever's page asks: the cookie, or that it is at the other
        end of the socket (`ssh -L`). Of the latter only forms are meant; JSON from elsewhere a browser refuses."""
        return caller.how is How.SESSION or (caller.how is How.SOCKET and _is_form())

    def _has_csrf(self, caller: Caller) -> bool:
        sent = request.headers.get("X-CSRF-Token") or (request.form.get("csrf") if _is_form() else None) or ""
        return hmac.compare_digest(sent.encode(), caller.csrf.encode())

    def _host_is_ours(self) -> bool:
        matched = HOST.fullmatch(request.environ.get("HTTP_HOST", ""))
        return matched is not None and matched[1].lower() in self._hosts

    def _comes_from_elsewhere(self) -> bool:
        """Browsers say so; programs send neither header."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in OURS:
            return True
        origin, host = request.headers.get("Origin"), request.environ["HTTP_HOST"].lower()
        return origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}")

    def _is_followed_link(self) -> bool:
        """The whole window goes to one of the pages: not a frame, not a script, not the API."""
        if request.method != "GET" or request.path.startswith("/api/") or "Origin" in request.headers:
            return False
        return [request.headers.get(f"Sec-Fetch-{name}") for name in ("Mode", "Dest")] == ["navigate", "document"]

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


def find_cookie() -> str:
    return TLS_COOKIE if request.scheme == "https" else COOKIE


def find_target() -> str:
    """Where a followed link goes on to: a page of ours that is asked for by nothing but its path, or the first one."""
    endpoint = str(request.endpoint or "")
    return request.path if endpoint.startswith("pages.") and not request.path.startswith("//") else "/"


def _is_form() -> bool:
    """What a form can be sent as; `text/plain` is read by nothing here, and may not be a way around."""
    return request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
