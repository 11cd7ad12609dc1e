"""`/api/v1/`: the desk under URLs. The table is at the end; bodies are JSON objects."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

from bootstrapper.web.admin.auth import Auth, caller
from bootstrapper.web.admin.desk import AdminDesk
from bootstrapper.web.admin.faults import Malformed
from bootstrapper.web.admin.openapi import PREFIX, Url, build_document
from bootstrapper.web.admin.problems import json_reply, problem_reply

Json = dict[str, Any]


def add_api(app: Flask, desk: AdminDesk, auth: Auth) -> None:
    views = ApiViews(desk, auth)
    for url in URLS:
        app.add_url_rule(f"{PREFIX}{url.rule}", f"api.{url.view}", getattr(views, url.view), methods=[url.method])


class ApiViews:
    def __init__(self, desk: AdminDesk, auth: Auth) -> None:
        self.desk = desk
        self.auth = auth

    # -- sessions ---------------------------------------------------------------
    def log_in(self) -> Response:
        """Sets the cookie; the answer's CSRF token goes into the header X-CSRF-Token of each change."""
        opened = self.auth.log_in(read_body(token=str).get("token", ""))
        if opened is None:
            return problem_reply(401, "this is not the token", "it is in STATE/admin.token")
        reply = json_reply({"csrf": opened[1]})
        self.auth.set_cookie(reply, opened[0])
        return reply

    def log_out(self) -> Response:
        self.auth.log_out(caller())
        return self.auth.drop_cookie(json_reply({}))

    # -- machines ---------------------------------------------------------------
    def machines(self) -> Response:
        return json_reply(self.desk.machines())

    def machine(self, name: str) -> Response:
        return json_reply(self.desk.machine(name))

    def config(self, name: str, output: str) -> Response:
        return Response(self.desk.config(name, output), content_type="text/plain; charset=utf-8")

    def order(self, name: str) -> Response:
        body = read_body(order=str, wipe=bool, reason=str)
        order = body.get("order")
        if order is None:
            raise Malformed("the order is missing", 'expected {"order": "hold"}')
        return json_reply(self.desk.order(caller(), name, order, body.get("wipe", False), body.get("reason", "")))

    def move(self, name: str) -> Response:
        body = read_body(to=str)
        if "to" not in body:
            raise Malformed("the new MAC is missing", 'expected {"to": "00:25:90:c0:f7:80"}')
        return json_reply(self.desk.move(caller(), name, body["to"]))

    # -- events -----------------------------------------------------------------
    def events(self) -> Response:
        return json_reply(self.desk.events(request.args.get("machine", ""), read_number("after", 0),
                                           read_number("limit", 200)))  # fmt: skip

    def stream(self) -> Response:
        """A browser that asks again names the last event it saw in the header Last-Event-ID."""
        last = request.headers.get("Last-Event-ID", "") or request.args.get("after", "")
        after = read_count("after", last) if last else None
        # Our server's sockets have it (servers/http_pump.py), others' need none.
        flush = getattr(request.environ.get("gunicorn.socket"), "flush", lambda: None)
        events = self.desk.follow(request.args.get("machine", ""), after, flush)
        reply = Response(events, content_type="text/event-stream")
        reply.headers["X-Accel-Buffering"] = "no"
        return reply

    # -- unknown machines -------------------------------------------------------
    def unknown(self) -> Response:
        return json_reply(self.desk.unknown())

    def forget_unknown(self, mac: str) -> Response:
        return json_reply(self.desk.forget_unknown(caller(), mac))

    def adopt(self, mac: str) -> Response:
        body = read_body(host=str, roles=list, ip=str, save=bool)
        if not all(isinstance(role, str) for role in body.get("roles", [])):
            raise Malformed("roles: expected a list of words")
        return json_reply(
            self.desk.adopt(caller(), mac, body.get("host", ""), body.get("roles", []), body.get("ip", ""),
                            body.get("save", False))
        )  # fmt: skip

    # -- the description --------------------------------------------------------
    def description(self) -> Response:
        return json_reply(self.desk.description())

    def save_description(self) -> Response:
        body = read_body(text=str, base_revision=int, base_digest=str)
        if "text" not in body or "base_revision" not in body:
            raise Malformed("the text or the revision it was made from is missing",
                            'expected {"text": ..., "base_revision": 7}')  # fmt: skip
        return json_reply(
            self.desk.save_description(caller(), body["text"], body["base_revision"], body.get("base_digest"))
        )

    def check(self) -> Response:
        return json_reply(self.desk.check(read_text()))

    def plan(self) -> Response:
        return json_reply(self.desk.plan(read_text()))

    def revisions(self) -> Response:
        return json_reply(self.desk.revisions())

    def revision(self, number: int) -> Response:
        return json_reply(self.desk.revision(number))

    def restore_revision(self, number: int) -> Response:
        return json_reply(self.desk.restore_revision(caller(), number))

    # -- the server -------------------------------------------------------------
    def status(self) -> Response:
        return json_reply(self.desk.status())

    def certificates(self) -> Response:
        return json_reply(self.desk.certificates())

    def openapi(self) -> Response:
        return json_reply(build_document(URLS))

    def audit(self) -> Response:
        return json_reply(self.desk.audit(read_number("after", 0), read_number("limit", 200)))


def read_body(**kinds: type) -> Json:
    """The request's JSON object with these keys at most, each of its type. Raises Malformed."""
    try:
        body = request.get_json(silent=True)
    except RecursionError:
        body = None
    if not request.is_json or not isinstance(body, dict):
        raise Malformed("expected a JSON object", "and the header Content-Type: application/json")
    for key, value in body.items():
        kind = kinds.get(key)
        if kind is None:
            raise Malformed(f"there is no key {key[:60]!r}", f"the keys are {', '.join(kinds)}")
        if type(value) is not kind and value is not None:
            raise Malformed(f"{key}: expected {KINDS[kind]}")
    return {key: value for key, value in body.items() if value is not None}


def read_text() -> str:
    body = read_body(text=str)
    if "text" not in body:
        raise Malformed("the text is missing", 'expected {"text": "..."}')
    text: str = body["text"]
    return text


def read_number(name: str, default: int) -> int:
    """A query argument that is a count."""
    text = request.args.get(name, "")
    return read_count(name, text) if text else default


def read_count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise Malformed(f"{name}: expected a number", f"found {text[:20]!r}")
    return int(text)


KINDS: dict[type, str] = {str: "text", bool: "true or false", int: "a number", list: "a list"}

URLS: tuple[Url, ...] = (
    Url("POST", "/session", "log_in", "Begin a session of a browser, by the token.", "LoggedIn", "LogIn"),
    Url("DELETE", "/session", "log_out", "End it.", "Nothing"),
    Url("GET", "/machines", "machines", "The rack at a glance, in the order of the description.", "[Machine]"),
    Url("GET", "/machines/<name>", "machine", "One machine, its boots and what is wrong with it.", "MachineInFull"),
    Url(
        "GET", "/machines/<name>/config/<output>", "config", "A text that it gets, secrets left out.",
        "text/plain; charset=utf-8",
    ),
    Url("POST", "/machines/<name>/orders", "order", "Give an order.", "Ordered", "Order"),
    Url("POST", "/machines/<name>/move", "move", "Go on under another MAC: a card was replaced.", "Ordered", "Move"),
    Url(
        "GET", "/events", "events", "What happened, oldest first; the latest where no `after` is given.", "[Event]",
        query=("machine", "after", "limit"),
    ),
    Url(
        "GET", "/events/stream", "stream", "The same as server-sent events, as they come; after the header"
        " Last-Event-ID, or from now on.", "text/event-stream", query=("machine", "after"),
    ),
    Url("GET", "/unknown", "unknown", "Machines that asked and are not in the description.", "[Unknown]"),
    Url("DELETE", "/unknown/<mac>", "forget_unknown", "Take it off that list, until it asks again.", "Forgotten"),
    Url("POST", "/unknown/<mac>/adopt", "adopt", "Put it into the description, or show how.", "Adopted", "Adopt"),
    Url("GET", "/description", "description", "The description's file.", "Description"),
    Url("PUT", "/description", "save_description", "Save it whole; the server reloads.", "Saved", "SaveDescription"),
    Url("POST", "/description/check", "check", "Every problem of a text at once.", "Checked", "Text"),
    Url("POST", "/description/plan", "plan", "What a text would change, machine by machine.", "Plan", "Text"),
    Url("GET", "/description/revisions", "revisions", "Those that were in force, the latest first.", "[Revision]"),
    Url("GET", "/description/revisions/<int(max=999999999):number>", "revision", "One of them.", "RevisionInFull"),
    Url(
        "POST", "/description/revisions/<int(max=999999999):number>/restore", "restore_revision",
        "Save an earlier one once more.", "Saved",
    ),
    Url("GET", "/status", "status", "The server itself.", "Status"),
    Url("GET", "/certificates", "certificates", "Every certificate it knows of.", "[Certificate]"),
    Url(
        "GET", "/audit", "audit", "Who ordered what, and what came of it; the latest where no `after` is given.",
        "[AuditEntry]", query=("after", "limit"),
    ),
    Url("GET", "/openapi.json", "openapi", "This document.", "Document"),
)  # fmt: skip
"The whole API; its OpenAPI document is made from this table."
