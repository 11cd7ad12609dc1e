"""The pages: the desk's values as HTML, for browsers. Forms work without scripts; scripts only keep pages up to date.

What is common to all is here: the address of each page, logging in and out, what every template knows, and how a
refusal looks in a browser. The pages themselves are in `pages_machines`, `pages_description` and `pages_server`.

Escaping is Jinja2's, in the templates and nowhere else: what scripts put into a page are pieces rendered by them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from flask import Blueprint, Flask, Response, g, redirect, render_template, request, url_for
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as BaseResponse

from bootstrapper.web.admin import views
from bootstrapper.web.admin.auth import Auth, caller
from bootstrapper.web.admin.desk import AdminDesk
from bootstrapper.web.admin.limits import TooMany
from bootstrapper.web.admin.pages_description import DescriptionPages
from bootstrapper.web.admin.pages_machines import MachinePages
from bootstrapper.web.admin.pages_reply import go, page
from bootstrapper.web.admin.pages_server import ServerPages

STATIC = Path(__file__).parent / "static"
A_YEAR_S = 365 * 86400
NAV = (
    ("pages.rack", "Rack", "rack"),
    ("pages.unknown", "Unknown", "unknown"),
    ("pages.description", "Description", "description"),
    ("pages.events", "Events", "events"),
    ("pages.audit", "Audit", "audit"),
    ("pages.certificates", "Certificates", "certificates"),
    ("pages.status", "Status", "status"),
)
"(endpoint, what the link says, the page it is the current one of)."


def add_pages(app: Flask, desk: AdminDesk, auth: Auth) -> None:
    """Give `app` the pages; every one of them is behind `auth.guard`, save `/login` and the static files."""
    app.jinja_env.undefined = jinja2.StrictUndefined
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    # Their addresses carry a digest of the content, so a browser may keep them.
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = A_YEAR_S
    now = desk.parts.now
    add_filters(app.jinja_env.filters, now)
    pages = Blueprint("pages", __name__)
    door = Door(auth)
    machines, description, server = MachinePages(desk), DescriptionPages(desk), ServerPages(desk)
    for owner, table in ((door, DOOR), (machines, MACHINES), (description, DESCRIPTION), (server, SERVER)):
        for methods, rule, name in table:
            pages.add_url_rule(rule, name, getattr(owner, f"show_{name}"), methods=methods.split())
    digests = {path.name: digest_file(path) for path in STATIC.iterdir() if path.is_file()}
    app.context_processor(lambda: describe_site(desk, digests))
    app.after_request(dress_refusal)
    app.after_request(age_static)
    app.after_request(keep_way)
    app.register_blueprint(pages)


class Door:
    """In and out."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    def show_login(self) -> BaseResponse:
        if request.method == "POST":
            return self._log_in(request.form.get("token", "").strip())
        return go_on() if g.caller else page("login.html", title="Log in", error="", next=find_next())

    def _log_in(self, token: str) -> BaseResponse:
        try:
            opened = self._auth.log_in(token)
        except TooMany as refusal:
            words = f"{refusal.message}: {refusal.hint}"
            return page("login.html", 429, title="Log in", error=words, next=find_next())
        if opened is None:
            return page("login.html", 401, title="Log in", error="This is not the token.", next=find_next())
        reply = go_on()
        self._auth.set_cookie(reply, opened[0])
        return reply

    def show_logout(self) -> BaseResponse:
        self._auth.log_out(caller())
        return self._auth.drop_cookie(go("pages.login"))


OURS = re.compile(r"/(machines/[a-z0-9.:-]{1,80}|unknown|description(/versions)?|events|audit|certificates|status)?"
                  r"(\?[A-Za-z0-9_.:=&%+-]{0,200})?", re.ASCII)  # fmt: skip
"Pages of this site, and nothing that a browser could take for another one's."


def find_next() -> str:
    """The page that somebody wanted before being asked to log in; empty: none that is ours."""
    wanted = request.args.get("next", "")
    return wanted if OURS.fullmatch(wanted) else ""


def go_on() -> BaseResponse:
    wanted = find_next()
    return redirect(wanted, 303) if wanted else go("pages.rack")


def keep_way(reply: Response) -> Response:
    """Who is sent to the door comes back to the page that was asked for."""
    if reply.status_code == 303 and reply.headers.get("Location") == "/login" and request.method == "GET":
        wanted = request.full_path.rstrip("?")
        if wanted != "/" and OURS.fullmatch(wanted):
            reply.headers["Location"] = url_for("pages.login", next=wanted)
    return reply


def describe_site(desk: AdminDesk, digests: dict[str, str]) -> dict[str, Any]:
    """What every template knows. A visitor who has not logged in is told nothing of the cluster."""
    who = g.get("caller")
    status = desk.status() if who else {"cluster": "", "unknown": 0, "warnings": [], "refused": None}
    return {
        "site": {
            "cluster": status["cluster"],
            "unknown": status["unknown"],
            "warnings": len(status["warnings"]),
            # Where the server's warnings are listed it stands among them.
            "refused": None if request.endpoint in WARNING_PAGES else status["refused"],
            "known": who is not None,
            "now": desk.parts.now(),
        },
        "csrf_token": who.csrf if who else "",
        "nav": NAV,
        "here": HERE.get(request.endpoint or "", ""),
        "notice": None,
        "static": lambda name: url_for("static", filename=name, v=digests.get(name, "")),
    }


def add_filters(filters: dict[str, Callable[..., Any]], now: Callable[[], float]) -> None:
    filters["ago"] = lambda at: views.tell_ago(at, now())
    filters["iso"] = lambda at: datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    filters["stamp"] = lambda at: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    filters["label"] = views.tell_label
    filters["tone"] = views.tell_tone
    filters["level_tone"] = lambda level: views.LEVEL_TONES.get(level, "idle")
    filters["effect_label"] = lambda effect: views.EFFECTS.get(effect, (effect, ""))[0]
    filters["effect_tone"] = lambda effect: views.EFFECTS.get(effect, ("", "idle"))[1]
    filters["coded"] = mark_code
    filters["digest"] = views.make_digest
    filters["as_pattern"] = views.make_pattern


def mark_code(text: str) -> Markup:
    """Words for people, escaped; what stands in backticks, as `reinstall`, in a typewriter's letters."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one has no partner
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if number % 2 else part
                           for number, part in enumerate(parts))  # fmt: skip


def age_static(reply: Response) -> Response:
    """A static file asked for without its digest (a script by another script) is looked at again each time."""
    if request.endpoint == "static" and "v" not in request.args:
        reply.headers["Cache-Control"] = "no-cache"
    return reply


def dress_refusal(reply: Response) -> Response:
    """What the guard, Flask or the desk refuses as JSON, as a page for whoever asked as a browser does."""
    wanted = request.accept_mimetypes.best_match(("application/json", "text/html"))
    if reply.status_code < 400 or reply.mimetype != "application/json":
        return reply
    if request.path.startswith("/api/") or wanted != "text/html":
        return reply
    told = json.loads(reply.get_data(as_text=True))
    reply.set_data(render_template("fault.html", fault=told, status=reply.status_code))
    reply.content_type = "text/html; charset=utf-8"
    return reply


def digest_file(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()


DOOR = (
    ("GET POST", "/login", "login"),
    ("POST", "/logout", "logout"),
)
MACHINES = (
    ("GET", "/", "rack"),
    ("GET", "/live/rack", "rack_live"),
    ("GET", "/machines/<name>", "machine"),
    ("POST", "/machines/<name>/orders", "order"),
    ("POST", "/machines/<name>/move", "move"),
    ("GET", "/unknown", "unknown"),
    ("POST", "/unknown/<mac>/dismiss", "dismiss"),
)
DESCRIPTION = (
    ("GET", "/description", "description"),
    ("POST", "/description", "save_description"),
    ("GET", "/description/versions", "versions"),
    ("POST", "/description/versions/<int(max=999999999):number>/restore", "restore"),
)
SERVER = (
    ("GET", "/events", "events"),
    ("GET", "/live/events", "events_live"),
    ("GET", "/audit", "audit"),
    ("GET", "/certificates", "certificates"),
    ("GET", "/status", "status"),
)
"(HTTP methods, address, view): each view is `show_NAME`, its endpoint `pages.NAME`."

HERE = {
    "pages.rack": "rack",
    "pages.machine": "rack",
    "pages.order": "rack",
    "pages.move": "rack",
    "pages.unknown": "unknown",
    "pages.description": "description",
    "pages.save_description": "description",
    "pages.versions": "description",
    "pages.events": "events",
    "pages.audit": "audit",
    "pages.certificates": "certificates",
    "pages.status": "status",
}
"Endpoint -> the link of the navigation that is marked."
WARNING_PAGES = ("pages.rack", "pages.status")
