"""The admin plane as a WSGI application: guard, API, pages, and the headers that every reply carries."""

from __future__ import annotations

import logging

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from bootstrapper.errors import UserError
from bootstrapper.web.admin.api import add_api
from bootstrapper.web.admin.auth import Auth
from bootstrapper.web.admin.desk import AdminDesk
from bootstrapper.web.admin.editor import MOST_BYTES
from bootstrapper.web.admin.pages import add_pages
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.problems import fault_reply, problem_reply

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with that a browser sends `Origin: null` along with its own page's forms.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip


def create_admin_app(parts: AdminParts) -> Flask:
    """The application for one process; make it after the last fork."""
    app = Flask("bootstrapper.web.admin")
    app.config["MAX_CONTENT_LENGTH"] = 2 * MOST_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = 2 * MOST_BYTES
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    desk, auth = AdminDesk(parts), Auth(parts)
    app.before_request(auth.guard)
    add_api(app, desk, auth)
    add_pages(app, desk, auth)
    app.extensions["bind_worker"] = desk.bind_worker
    app.extensions["desk"] = desk
    app.after_request(add_headers)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(UserError, answer_fault)
    app.register_error_handler(Exception, answer_bug)
    return app


def add_headers(reply: Response) -> Response:
    for name, value in HEADERS.items():
        reply.headers.setdefault(name, value)
    return reply


def answer_http_error(error: HTTPException) -> Response:
    code = error.code or 500
    if code < 400:  # a redirect to the rule's own spelling
        return error.get_response(request.environ)  # type: ignore[return-value]
    return problem_reply(code, (error.name or "error").lower())


def answer_fault(error: UserError) -> Response:
    return fault_reply(error)


def answer_bug(error: Exception) -> Response:
    """A fault of ours: in the log with its traceback; nothing of it to the client."""
    caller = getattr(g, "caller", None)
    logging.getLogger("bootstrapper").error("admin: %s failed for %s", request.endpoint, caller and caller.name,
                                            exc_info=error)  # fmt: skip
    return problem_reply(500, "internal error", "the server's log says more")
