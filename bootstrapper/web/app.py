"""The machine plane as a WSGI application: Flask behind a small front.

The front serves `/assets/` itself (images are gigabytes, and Flask has no part in them) and lets through to Flask only
what the machine plane reads: a path and a query in plain ASCII, no header that claims to know better who asks.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from bootstrapper.errors import UserError
from bootstrapper.web.assets import AssetFiles
from bootstrapper.web.counts import Counts
from bootstrapper.web.desk import Desk
from bootstrapper.web.downloads import Downloads
from bootstrapper.web.machine import add_urls
from bootstrapper.web.parts import Parts
from bootstrapper.web.replies import missing, not_ready, text_reply
from bootstrapper.web.senders import Senders
from bootstrapper.web.tls import TlsFailures

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

BODY_BYTES = 16 * 1024
"Reports are the only bodies there are."
PATH = re.compile("[!-~]{1,400}")
SLASHES = re.compile("/{2,}")
DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
KEPT_HEADERS = frozenset({"HTTP_RANGE", "HTTP_IF_RANGE", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH",
                          "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_TRANSFER_ENCODING",
                          "HTTP_AUTHORIZATION"})  # fmt: skip
"What is read of a request's headers. `Host` is not: firmware leaves the port out (reference A7 row 33)."


class Front:
    def __init__(self, flask: WSGIApplication, assets: AssetFiles, counts: Counts) -> None:
        self._flask = flask
        self._assets = assets
        self._counts = counts

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        # `//boot.ipxe`: some firmware joins a directory and a name so; a redirect would stop it (smee#229).
        path = SLASHES.sub("/", environ.get("PATH_INFO", ""))
        for name in [name for name in environ if name.startswith("HTTP_") and name not in KEPT_HEADERS]:
            del environ[name]
        environ["SCRIPT_NAME"] = ""
        if not PATH.fullmatch(path) or path[0] != "/":
            self._counts.add('http_refused{reason="malformed path"}')
            return missing()(environ, start_response)
        environ["PATH_INFO"] = path
        if path.startswith("/assets/"):
            return self._assets(environ, start_response)
        return self._flask(environ, start_response)


def create_app(parts: Parts) -> Flask:
    """The application for one process (or thread pool); make it after the last fork."""
    app = Flask("bootstrapper", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    counts = Counts(parts.store, parts.process)
    # For the server below: it refuses what never gets here, and knows how many workers there are.
    app.extensions["count"] = counts.add
    app.extensions["name_worker"] = counts.name_worker
    senders = Senders(parts.cluster, parts.store)
    downloads = Downloads(senders, parts.record, parts.now)
    desk = Desk(parts, counts)
    app.extensions["tls_failed"] = TlsFailures(desk, senders).tell
    add_urls(app, desk, senders)
    app.register_error_handler(HTTPException, lambda error: _answer_http_error(error, counts))
    app.register_error_handler(UserError, lambda error: _answer_trouble(error, counts))
    app.register_error_handler(OSError, lambda error: _answer_os_error(error, counts))
    app.register_error_handler(Exception, lambda error: _answer_fault(error, counts))
    app.wsgi_app = Front(app.wsgi_app, AssetFiles(parts.assets, counts, downloads), counts)  # type: ignore[method-assign]
    return app


def _answer_http_error(error: Exception, counts: Counts) -> Response:
    """Of Flask's own refusals a client sees three: the constant 404, 413 and 400."""
    code = getattr(error, "code", 500) or 500
    counts.add(f'http_refused{{reason="status {code}"}}')
    if code >= 500:  # never the 404, which ends an installer for good
        return not_ready() if code == 503 else _internal_error()
    if code == 413:
        return text_reply("too large\n", status=413)
    return text_reply("bad request\n", status=400) if code == 400 else missing()


def _answer_trouble(error: Exception, counts: Counts) -> Response:
    """The state's disk is full, locked or gone: nothing is lost by asking again."""
    counts.add("http_not_ready")
    logging.getLogger("bootstrapper").error("a request could not be answered: %s", error)
    return not_ready()


def _answer_os_error(error: Exception, counts: Counts) -> Response:
    """Keys are files, and as much a part of the state as its database."""
    disk = isinstance(error, OSError) and error.errno in DISK_FAULTS
    return _answer_trouble(error, counts) if disk else _answer_fault(error, counts)


def _answer_fault(error: Exception, counts: Counts) -> Response:
    """A fault of ours: in the log with its traceback, and plain 500 for the client (never a 404: style.md 4.11)."""
    counts.add("http_faults")
    logging.getLogger("bootstrapper").error("a request failed", exc_info=error)
    return _internal_error()


def _internal_error() -> Response:
    return text_reply("internal error\n", status=500)
