"""Who gets in: every URL without a caller, other sites' pages, sessions, and what a wrong token costs."""

from __future__ import annotations

import ast
import hashlib
import hmac
import inspect
import os
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from adminplane import TOKEN, AdminPlane
from werkzeug.test import Client, TestResponse

from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.web.admin import auth as auth_module
from bootstrapper.web.admin import peer as peer_module
from bootstrapper.web.admin.app import create_admin_app
from bootstrapper.web.admin.auth import COOKIE, OPEN, TLS_COOKIE
from bootstrapper.web.admin.peer import find_uid
from bootstrapper.web.admin.sessions import IDLE_S, LIFE_S

MAC = "00:25:90:c0:f7:80"
VALUES = {"name": "node1", "mac": MAC, "output": "cloud-config", "number": "1", "filename": "admin.css",
          "path": "x"}  # fmt: skip
ORDER = {"order": "hold"}


def every_url(admin: AdminPlane) -> Iterator[tuple[str, str, str]]:
    """(endpoint, method, path) of every rule there is."""
    for rule in admin.app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]+:)?([a-z_]+)>", lambda found: VALUES.get(found[1], "1"), rule.rule)
        for method in sorted(rule.methods or ()):
            yield rule.endpoint, method, path


def test_every_url_but_login_and_static_files_wants_a_caller(admin: AdminPlane) -> None:
    seen = 0
    for endpoint, method, path in every_url(admin):
        if endpoint in OPEN:
            continue
        seen += 1
        reply = admin.browser().open(path, method=method, json={} if method in ("POST", "PUT") else None)
        assert reply.status_code in (401, 303), (method, path, reply.status_code)
        if reply.status_code == 303:
            assert reply.headers["Location"].split("?")[0] == "/login"
        assert MAC not in reply.text
    assert seen > 20


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v1", "/metrics", "/console"])
def test_unknown_urls_want_a_caller_too(admin: AdminPlane, path: str) -> None:
    reply = admin.browser().get(path)
    assert reply.status_code in (401, 303)


@pytest.mark.parametrize(
    "path",
    ["/static/../auth.py", "/static/%2e%2e/auth.py", "/static/..%2fauth.py", "/static//etc/passwd",
     "/api/v1/machines/..%2f..%2fetc%2fpasswd", "/api/v1/machines/node1/config/..%2f..%2fadmin.token"],
)  # fmt: skip
def test_no_path_leads_out(admin: AdminPlane, path: str) -> None:
    reply = admin.ask("GET", path)
    assert reply.status_code == 404
    assert "root:" not in reply.text
    assert TOKEN not in reply.text


# -- the token ----------------------------------------------------------------
@pytest.mark.parametrize(
    "header",
    [f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"bearer {TOKEN.swapcase()}", f"Basic {TOKEN}",
     f"Bearer {TOKEN} {TOKEN}", "Bearer ", f"Bearer\t{TOKEN}", "Bearer " + "A" * 5000],
)  # fmt: skip
def test_what_is_not_the_token(admin: AdminPlane, header: str) -> None:
    assert admin.browser().get("/api/v1/machines", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_schemes_case_does_not_matter(admin: AdminPlane, scheme: str) -> None:
    """RFC 9110, section 11.1."""
    assert admin.browser().get("/api/v1/machines", headers={"Authorization": f"{scheme}  {TOKEN}"}).status_code == 200


def test_the_token_is_not_taken_from_anywhere_else(admin: AdminPlane) -> None:
    for path in (f"/api/v1/machines?token={TOKEN}", f"/api/v1/machines?access_token={TOKEN}"):
        assert admin.browser().get(path).status_code == 401
    browser = admin.browser()
    browser.set_cookie(COOKIE, TOKEN)
    assert browser.get("/api/v1/machines").status_code == 401


def test_wrong_tokens_are_answered_slower_and_never_lock_the_admin_out(admin: AdminPlane) -> None:
    wrong = {"Authorization": f"Bearer {'W' * 43}"}
    codes = [admin.browser().get("/api/v1/machines", headers=wrong).status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2
    assert admin.browser().post("/api/v1/session", json={"token": "wrong"}).status_code == 429
    assert admin.ask("GET", "/api/v1/machines").status_code == 200
    admin.clock += 61
    assert admin.browser().get("/api/v1/machines", headers=wrong).status_code == 401
    (refused,) = [each for each in admin.get("/audit") if each["outcome"] == "refused"]
    assert (refused["who"], refused["what"], refused["detail"]) == (
        "somebody from 127.0.0.1", "log in", "a wrong token",
    )  # fmt: skip
    admin.clock += 300
    admin.browser().get("/api/v1/machines", headers=wrong)
    assert len([each for each in admin.get("/audit") if each["outcome"] == "refused"]) == 2


def test_secrets_are_compared_in_constant_time() -> None:
    """By construction: both sides are digests, and nothing in the module compares them otherwise."""
    source = inspect.getsource(auth_module)
    assert source.count("hmac.compare_digest") == 2  # the token, and the CSRF token
    assert not re.search(r"(_digest|csrf|token)\b[^\n]*(==|!=)", source)


# -- the Unix socket ----------------------------------------------------------
@pytest.mark.loopback
def test_the_peer_of_a_unix_socket_is_the_admin_by_name(admin: AdminPlane) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        reply = admin.browser().post(
            "/api/v1/machines/node1/orders", json=ORDER, environ_overrides={"gunicorn.socket": ours}
        )
        assert reply.status_code == 200
        assert re.fullmatch(r"\S+ by the socket", admin.get("/audit")[-1]["who"])
        # A browser may be behind it (ssh -L): a page of somebody else's has no more rights than elsewhere.
        for headers in (
            {"Origin": "http://evil.example.com"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Host": "evil.example.com"},
        ):
            reply = admin.browser().post(
                "/api/v1/machines/node1/orders",
                json=ORDER,
                headers=headers,
                environ_overrides={"gunicorn.socket": ours},
            )
            assert reply.status_code == 403


def test_no_header_makes_a_tcp_peer_one_of_the_socket(admin: AdminPlane) -> None:
    for name in ("gunicorn.socket", "Gunicorn-Socket", "X-Forwarded-For", "X-Real-Ip", "Remote-Addr", "Remote-User"):
        assert admin.browser().get("/api/v1/machines", headers={name: "127.0.0.1"}).status_code == 401


# -- names and other sites ----------------------------------------------------
@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8480", "127.0.0.1:8480", "[::1]:8480", "ADMIN.example.com:8480"]
)
def test_our_names(admin: AdminPlane, host: str) -> None:
    assert admin.ask("GET", "/api/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "localhost.evil.com", "127.0.0.1.evil.com", "localhost:8480@evil.com", "evil.com:localhost",
     "", "127.0.0.2", "localhost:", "localhost:999999", "local host", "localhost,evil.com"],
)  # fmt: skip
def test_names_that_are_not_ours(admin: AdminPlane, host: str) -> None:
    for path in ("/api/v1/status", "/login", "/static/admin.css"):
        assert admin.ask("GET", path, environ_overrides={"HTTP_HOST": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example.com"}, {"Origin": "null"}, {"Origin": "https://localhost.evil.com"},
     {"Origin": "http://localhost:9999"}, {"Origin": "http://["}, {"Origin": ""}, {"Origin": "http://localhost/"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)  # fmt: skip
def test_another_sites_page_changes_nothing(admin: AdminPlane, headers: dict[str, str]) -> None:
    browser, csrf = logged_in(admin)
    sent = {**headers, "X-CSRF-Token": csrf}
    assert browser.post("/api/v1/machines/node1/orders", json=ORDER, headers=sent).status_code == 403
    assert admin.browser().post("/api/v1/session", json={"token": TOKEN}, headers=headers).status_code == 403
    assert admin.store.find_history(MAC).held == ""


ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "x"},
    {"Origin": "http://evil.example.com"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9999"},
]
FRAMES = [
    {},
    {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]
READ = ("/api/v1/machines", "/api/v1/events/stream", "/api/v1/openapi.json", "/", "/live/rack", "/machines/node1",
        "/login", "/nothing", "/static/admin.css")  # fmt: skip


@pytest.mark.loopback
@pytest.mark.parametrize("how", ["session", "token", "socket"])
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("headers", ELSEWHERE)
def test_another_sites_page_reads_nothing_and_costs_no_work(
    admin: AdminPlane, headers: dict[str, str], frame: dict[str, str], how: str
) -> None:
    """Over a forwarded socket too, where no cookie or token is needed: `<img src=http://localhost:9000/api/...>`."""
    worked: list[str] = []
    for rule in admin.app.url_map.iter_rules():
        view = admin.app.view_functions[rule.endpoint]
        admin.app.view_functions[rule.endpoint] = lambda *args, _view=view, **more: worked.append("") or _view(**more)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        for path in READ:
            sent = {**headers, **frame}
            browser = admin.browser()
            environ: dict[str, Any] = {"gunicorn.socket": ours} if how == "socket" else {}
            if how == "session":
                browser, _csrf = logged_in(admin)
                worked.clear()
            if how == "token":
                sent["Authorization"] = f"Bearer {TOKEN}"
            reply = browser.get(path, headers=sent, environ_overrides=environ)
            assert (reply.status_code, worked) == (403, []), path
            assert MAC not in reply.text


def test_a_link_that_somebody_followed_is_to_be_followed_once_more(admin: AdminPlane) -> None:
    """From a wiki, say. The click is the person's own; the page that is shown costs nothing and tells nothing."""
    sent = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path, target in (
        ("/machines/node1", "/machines/node1"), ("/login", "/login"), ("/", "/"), ("/nothing", "/"),
        ("/machines/node1?said=wipe", "/machines/node1"), ("//evil.example.com", "/"), ("/live/rack", "/live/rack"),
        ("/machines/%22%3E%3Cscript%3E", "/machines/&#34;&gt;&lt;script&gt;"),
    ):  # fmt: skip
        browser, _csrf = logged_in(admin)
        reply = browser.get("/", headers=sent, environ_overrides={"PATH_INFO": unquote(path.partition("?")[0])})
        assert reply.status_code == 200
        assert f'<a href="{target}">' in reply.text
        assert "node1" not in reply.text.replace(target, "")
    assert admin.browser().post("/login", data={"token": TOKEN}, headers=sent).status_code == 403


@pytest.mark.loopback
def test_a_form_over_the_socket_needs_the_token_of_its_page(admin: AdminPlane) -> None:
    """An old browser behind `ssh -L` that says nothing of where a page is from: a form of anybody's would be obeyed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        socket_of = {"gunicorn.socket": ours}
        browser = admin.browser()
        page = browser.get("/audit", environ_overrides=socket_of).text
        found = re.search(r'data-csrf="([0-9a-f]{64})"', page)
        assert found is not None
        form = {"order": "hold", "reason": "x"}
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
            for csrf in ({}, {"csrf": "0" * 64}):
                reply = browser.post("/machines/node1/orders", data=form | csrf, content_type=kind,
                                     environ_overrides=socket_of)  # fmt: skip
                assert reply.status_code == 403, kind
        assert admin.store.find_history(MAC).held == ""
        reply = browser.post("/machines/node1/orders", data=form | {"csrf": found[1]}, environ_overrides=socket_of)
        assert reply.status_code == 303
        assert admin.store.find_history(MAC).held == "x"


def test_reading_changes_nothing(admin: AdminPlane) -> None:
    """Whatever makes the admin's browser load a page: a link in a mail, a prefetch, a preview."""
    browser, _csrf = logged_in(admin)
    admin.event("disk")
    store = sqlite3.connect(admin.store.path)
    before, file = dump(store), admin.file.read_bytes()
    asked = 0
    for endpoint, method, path in every_url(admin):
        if method in ("GET", "HEAD") and "stream" not in path:
            for query in ("", "?order=hold&wipe=1&said=wipe&do=save&text=x&show=1&machine=node1"):
                assert browser.open(path + query, method=method).status_code < 500, endpoint
                asked += 1
    assert asked > 40
    assert (dump(store), admin.file.read_bytes()) == (before, file)
    store.close()


def dump(store: sqlite3.Connection) -> list[str]:
    """All but the note by which the server tries whether the state can be written at all."""
    return [line for line in store.iterdump() if "VALUES('probe'" not in line]


# -- sessions -----------------------------------------------------------------
def logged_in(admin: AdminPlane) -> tuple[Client, str]:
    browser = admin.browser()
    reply = browser.post("/api/v1/session", json={"token": TOKEN})
    assert reply.status_code == 200, reply.text
    return browser, reply.json["csrf"]  # type: ignore[index]


def cookie_of(reply: TestResponse) -> str:
    (line,) = reply.headers.getlist("Set-Cookie")
    return line


def test_a_sessions_cookie(admin: AdminPlane) -> None:
    line = cookie_of(admin.browser().post("/api/v1/session", json={"token": TOKEN}))
    assert re.fullmatch(rf"{COOKIE}=[A-Za-z0-9_-]{{43}}; HttpOnly; Path=/; SameSite=Strict", line)


def test_a_sessions_cookie_over_tls(admin: AdminPlane) -> None:
    """`__Host-`: browsers take it with Secure, Path=/ and no Domain only, and from nobody but this host over TLS."""
    browser = admin.browser()
    reply = browser.post("/api/v1/session", json={"token": TOKEN}, base_url="https://localhost")
    line = cookie_of(reply)
    assert re.fullmatch(r"__Host-bootstrapper_session=[\w-]{43}; Secure; HttpOnly; Path=/; SameSite=Strict", line)
    session = line.partition("=")[2].partition(";")[0]
    for name, status in ((COOKIE, 401), (TLS_COOKIE, 200)):  # one that plain HTTP planted is not read
        other = admin.browser()
        other.set_cookie(name, session, secure=True)
        assert other.get("/api/v1/machines", base_url="https://localhost").status_code == status
    csrf = {"X-CSRF-Token": reply.json["csrf"]}  # type: ignore[index]
    gone = browser.delete("/api/v1/session", base_url="https://localhost", headers=csrf)
    assert re.fullmatch(r"__Host-\w+=; Expires=.* 1970 .*; Max-Age=0; Secure; HttpOnly; .*=Strict", cookie_of(gone))


def test_a_change_by_a_session_needs_its_csrf_token(admin: AdminPlane) -> None:
    browser, csrf = logged_in(admin)
    _other, foreign = logged_in(admin)
    assert browser.get("/api/v1/machines").status_code == 200
    for sent in (
        {},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": foreign},
        {"X-CSRF-Token": csrf[:-1]},
        {"X-CSRF-Token": "é"},
    ):
        assert browser.post("/api/v1/machines/node1/orders", json=ORDER, headers=sent).status_code == 403
    for method, path in (("PUT", "/api/v1/description"), ("DELETE", f"/api/v1/unknown/{MAC}"), ("POST", "/logout")):
        assert browser.open(path, method=method).status_code == 403
    reply = browser.post("/api/v1/machines/node1/orders", json=ORDER, headers={"X-CSRF-Token": csrf})
    assert reply.status_code == 200
    assert admin.get("/audit")[-1]["who"] == "session from 127.0.0.1"


def test_a_session_ends_by_the_servers_clock(admin: AdminPlane) -> None:
    browser, _csrf = logged_in(admin)
    for _ in range(int(LIFE_S / IDLE_S) * 2 - 1):  # in use all the time
        admin.clock += IDLE_S / 2
        assert browser.get("/api/v1/machines").status_code == 200
    admin.clock += IDLE_S / 2 + 1
    assert browser.get("/api/v1/machines").status_code == 401
    admin.clock -= LIFE_S * 3  # a clock that was set back makes none of them last longer
    assert browser.get("/api/v1/machines").status_code == 401


def test_a_session_that_nobody_uses_ends(admin: AdminPlane) -> None:
    browser, _csrf = logged_in(admin)
    admin.clock += IDLE_S - 1
    assert browser.get("/api/v1/machines").status_code == 200
    admin.clock += IDLE_S - 1
    assert browser.get("/api/v1/machines").status_code == 200
    admin.clock += IDLE_S
    assert browser.get("/api/v1/machines").status_code == 401


def test_a_csrf_token_does_not_follow_from_the_session(admin: AdminPlane) -> None:
    """Nor from anything else that a thief of the cookie, or of the database, has."""
    browser, csrf = logged_in(admin)
    kept = browser.get_cookie(COOKIE)
    assert kept is not None
    digest = hashlib.sha256(kept.value.encode()).hexdigest()
    known = (kept.value, digest, f"csrf {kept.value}", f"csrf {digest}", f"socket {kept.value}")
    made = {hashlib.sha256(each.encode()).hexdigest() for each in known}
    made |= {hmac.new(key.encode(), each.encode(), "sha256").hexdigest() for key in known for each in known}
    assert csrf not in made
    changed = create_admin_app(replace(admin.make_parts(), token="N" * 43)).test_client()
    other = changed.post("/api/v1/session", json={"token": "N" * 43}).json
    assert other is not None
    assert re.fullmatch("[0-9a-f]{64}", other["csrf"])


# -- a cookie that others can read: browsers send it to every port of the host ----
class Connection:
    """One end of a connection within this host, as a worker sees it, whose other end belongs to `uid`."""

    family = socket.AF_INET

    def __init__(self, uid: int | None) -> None:
        self.uid = uid

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 40000)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8480)


@pytest.fixture
def uids(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], dict[str, Any]]:
    """uid -> what the environment of its requests is."""
    told: dict[str, int | None] = {}
    monkeypatch.setattr(peer_module, "find_uid", lambda theirs, ours: told["uid"])

    def become(uid: int | None) -> dict[str, Any]:
        told["uid"] = uid
        return {"gunicorn.socket": Connection(uid), "REMOTE_ADDR": "127.0.0.1"}

    return become


@pytest.mark.parametrize("thief", [1001, 0])
def test_a_stolen_cookie_is_of_no_use_to_another_user(
    admin: AdminPlane, uids: Callable[[int | None], dict[str, Any]], thief: int | None
) -> None:
    browser = admin.browser()
    reply = browser.post("/api/v1/session", json={"token": TOKEN}, environ_overrides=uids(4000))
    csrf = reply.json["csrf"]  # type: ignore[index]
    assert browser.get("/api/v1/machines", environ_overrides=uids(4000)).status_code == 200
    kept = browser.get_cookie(COOKIE)
    assert kept is not None
    other = admin.browser()
    other.set_cookie(COOKIE, kept.value)
    order = {"json": ORDER, "headers": {"X-CSRF-Token": csrf}}
    reply = other.post("/api/v1/machines/node1/orders", environ_overrides=uids(thief), **order)  # type: ignore[arg-type]
    assert reply.status_code == 401
    assert admin.store.find_history(MAC).held == ""
    # It is known to be stolen now: it ends for everybody, and the log says so.
    assert browser.get("/api/v1/machines", environ_overrides=uids(4000)).status_code == 401
    entry = admin.get("/audit")[-1]
    assert (entry["what"], entry["detail"], entry["outcome"]) == (
        "use a session", "the session is that of 127.0.0.1, uid 4000: it ends", "refused",
    )  # fmt: skip
    assert entry["who"].startswith("somebody from 127.0.0.1")


def test_who_hangs_up_before_being_looked_at_is_refused_and_ends_nothing(
    admin: AdminPlane, uids: Callable[[int | None], dict[str, Any]]
) -> None:
    """A thief who wants no answer, or the admin's own browser that went on to another page."""
    browser = admin.browser()
    reply = browser.post("/api/v1/session", json={"token": TOKEN}, environ_overrides=uids(4000))
    csrf = {"X-CSRF-Token": reply.json["csrf"]}  # type: ignore[index]
    order = "/api/v1/machines/node1/orders"
    assert browser.post(order, json=ORDER, headers=csrf, environ_overrides=uids(None)).status_code == 401
    assert admin.store.find_history(MAC).held == ""
    assert browser.post(order, json=ORDER, headers=csrf, environ_overrides=uids(4000)).status_code == 200


def test_where_the_kernel_says_nothing_the_address_counts(
    admin: AdminPlane, uids: Callable[[int | None], dict[str, Any]]
) -> None:
    browser = admin.browser()
    browser.post("/api/v1/session", json={"token": TOKEN}, environ_overrides=uids(None))
    assert browser.get("/api/v1/machines", environ_overrides=uids(None)).status_code == 200
    elsewhere = {"REMOTE_ADDR": "10.10.14.21"}
    assert browser.get("/api/v1/machines", environ_overrides=elsewhere).status_code == 401


def test_a_stolen_cookie_is_of_no_use_from_another_address(admin: AdminPlane) -> None:
    browser = admin.browser()
    at = {"REMOTE_ADDR": "10.10.14.20"}
    assert browser.post("/api/v1/session", json={"token": TOKEN}, environ_overrides=at).status_code == 200
    assert browser.get("/api/v1/machines", environ_overrides=at).status_code == 200
    assert browser.get("/api/v1/machines", environ_overrides={"REMOTE_ADDR": "10.10.14.21"}).status_code == 401


@pytest.mark.loopback
def test_the_kernel_says_whose_the_other_end_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as ours:
            ends = ours.getpeername(), ours.getsockname()
            assert find_uid(*ends) == os.getuid()
            assert find_uid(ends[0], ("127.0.0.1", 1)) is None
            theirs.close()  # an orphan of the kernel's, with uid 0: not root's
            assert find_uid(*ends) is None


def test_logging_out_ends_it_for_whoever_kept_the_cookie(admin: AdminPlane) -> None:
    browser, csrf = logged_in(admin)
    kept = browser.get_cookie(COOKIE)
    assert kept is not None
    assert browser.delete("/api/v1/session", headers={"X-CSRF-Token": csrf}).status_code == 200
    thief = admin.browser()
    thief.set_cookie(COOKIE, kept.value)
    assert thief.get("/api/v1/machines").status_code == 401


def test_a_session_that_was_planted_is_not_taken_over(admin: AdminPlane) -> None:
    browser = admin.browser()
    browser.set_cookie(COOKIE, "P" * 43)
    assert browser.post("/api/v1/session", json={"token": TOKEN}).status_code == 200
    fresh = browser.get_cookie(COOKIE)
    assert fresh is not None
    assert fresh.value != "P" * 43
    planted = admin.browser()
    planted.set_cookie(COOKIE, "P" * 43)
    assert planted.get("/api/v1/machines").status_code == 401


def test_sessions_outlive_a_reload_and_not_a_new_token(admin: AdminPlane) -> None:
    browser, _csrf = logged_in(admin)
    kept = browser.get_cookie(COOKIE)
    assert kept is not None
    again = create_admin_app(admin.make_parts()).test_client()
    again.set_cookie(COOKIE, kept.value)
    assert again.get("/api/v1/machines").status_code == 200
    changed = create_admin_app(replace(admin.make_parts(), token="N" * 43)).test_client()
    changed.set_cookie(COOKIE, kept.value)
    assert changed.get("/api/v1/machines").status_code == 401


def test_what_the_state_keeps_is_no_session(admin: AdminPlane, tmp_path: object) -> None:
    browser, csrf = logged_in(admin)
    kept = browser.get_cookie(COOKIE)
    assert kept is not None
    note = SqliteStore(admin.store.path).load_note("admin-sessions")
    assert kept.value not in note
    assert csrf not in note


# -- what every reply carries ---------------------------------------------------
def test_headers_of_every_reply(admin: AdminPlane) -> None:
    browser = admin.browser()
    for reply in (browser.get("/login"), browser.get("/api/v1/machines"), browser.get("/nothing"),
                  browser.get("/static/admin.css"), admin.ask("GET", "/api/v1/machines"),
                  browser.get("/login", headers={"Host": "evil.com"})):  # fmt: skip
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert reply.headers["Referrer-Policy"] == "same-origin"
        if not reply.request.path.startswith("/static/"):
            assert reply.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in reply.headers


# -- bodies -------------------------------------------------------------------
def test_bodies_that_are_too_long(admin: AdminPlane) -> None:
    assert admin.browser().post("/api/v1/session", json={"token": "x" * 10_000}).status_code == 413
    assert admin.browser().post("/login", data={"token": "x" * 10_000}).status_code == 413
    text = "x" * (9 << 20)
    assert admin.ask("POST", "/api/v1/description/check", json={"text": text}).status_code == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"order": 7}', b'{"order": "hold", "x": 1}', b'{"wipe": true}',
     b"[" * 100_000, b'{"order": "hold", "wipe": "yes"}', b'{"order": "fly"}', b'{"order": "hold", "wipe": true}'],
)  # fmt: skip
def test_bodies_that_are_no_order(admin: AdminPlane, body: bytes) -> None:
    reply = admin.ask("POST", "/api/v1/machines/node1/orders", data=body, content_type="application/json")
    assert reply.status_code in (400, 422), reply.text
    assert set(reply.json) >= {"error", "hint"}
    assert admin.store.find_history(MAC).held == ""


def test_a_form_is_no_order_to_the_api(admin: AdminPlane) -> None:
    """What a page of another site could send without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        reply = admin.ask("POST", "/api/v1/machines/node1/orders", data=b'{"order": "hold"}', content_type=kind)
        assert reply.status_code == 400


def test_numbers_that_no_database_holds(admin: AdminPlane) -> None:
    for path in (f"/api/v1/events?after={'9' * 30}", "/api/v1/events?limit=-1", "/api/v1/events?after=x",
                 "/api/v1/audit?after=1e3"):  # fmt: skip
        assert admin.ask("GET", path).status_code == 400
    assert admin.ask("GET", f"/api/v1/description/revisions/{'9' * 30}").status_code == 404
    assert admin.ask("GET", "/api/v1/events?limit=999999999").status_code == 200


def test_no_development_server_and_no_debugger_anywhere() -> None:
    package = Path(auth_module.__file__).parents[2]
    found = [
        f"{path.name}:{node.lineno}"
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in ("run_simple", "DebuggedApplication", "make_server"))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("werkzeug.serving", "werkzeug.debug")))
        or (isinstance(node, ast.keyword) and node.arg in ("debug", "use_debugger", "use_reloader"))
    ]
    assert found == []
