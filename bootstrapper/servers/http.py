"""HTTP and HTTPS: gunicorn's threads around a WSGI application, on a socket that is bound already.

Each worker is a process with threads for answers and one loop that sends files (`http_pump`). What one client may take
of a worker is bounded in `http_worker`.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gunicorn.http.wsgi
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from bootstrapper.servers.http_intake import BODY_BYTES
from bootstrapper.servers.http_pump import PumpTlsSocket
from bootstrapper.servers.http_worker import REQUEST_S, BoundedWorker, ProductLogger

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

STALL_MS = 60_000
"A client that takes none of the bytes sent to it for so long is cut off (TCP_USER_TIMEOUT, RFC 5482)."
KEEPALIVE_S = 15
GRACE_S = 1800
"""Downloads still running on SIGTERM may go on so long: on a reload a new server takes over at once, and an installer
that is cut off starts again from the first byte. Whoever cannot wait ends the process, and its workers with it."""
BACKLOG = 1024
CONNECTIONS = 4000
"Open at once in one worker; two descriptors each while downloading."


def serve_http(
    app_factory: Callable[[], WSGIApplication],
    sock: socket.socket | Sequence[socket.socket],
    *,
    tls: tuple[Path, Path] | None = None,
    workers: int = 2,
    threads: int = 16,
    per_client: int = 64,
    share: int | None = None,
    most: int = BODY_BYTES,
    request_s: float = REQUEST_S,
    grace_s: int = GRACE_S,
    name: str = "bootstrapper",
) -> None:
    """Serve on `sock` (bound, not yet listening) until SIGTERM; raises SystemExit at the end, as gunicorn does.

    For a forked child of its own: it takes over signals and forks the `workers`, each of which calls `app_factory`
    once. `tls` is (certificate, key): TLS 1.2 or later. `per_client` is how many connections one address may hold in
    one worker, `share` how many of its threads (None: a quarter), `most` how long a request's body may be in bytes,
    `request_s` how long a request may take to arrive. Unix sockets may be among several; they never speak TLS.
    """
    _raise_descriptor_limit(2 * CONNECTIONS + 200)
    listeners = [sock] if isinstance(sock, socket.socket) else sock
    for each in listeners:
        if each.family != socket.AF_UNIX:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_MS)  # inherited by what is accepted
        each.listen(BACKLOG)
    descriptors = [each.detach() for each in listeners]  # gunicorn closes the numbers it is given
    gunicorn.http.wsgi.SERVER = name  # the Server header: no program's name and version for a scanner
    bounds = {"per_client": per_client, "share": share, "most": most, "request_s": request_s}
    settings: dict[str, Any] = {
        "bind": [f"fd://{descriptor}" for descriptor in descriptors],
        "workers": workers,
        # gunicorn's own defaults are those of the time of its import, when this may still have been root.
        "user": os.geteuid(),
        "group": os.getegid(),
        "threads": threads,
        "worker_class": type("Worker", (BoundedWorker,), bounds),
        "worker_connections": CONNECTIONS,
        "keepalive": KEEPALIVE_S,
        "timeout": 60,  # of a worker's own loop, not of a download
        "graceful_timeout": grace_s,
        "umask": 0o077,
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108 - a heartbeat, not data
        "limit_request_line": 1024,
        "limit_request_fields": 50,
        "limit_request_field_size": 4096,
        # No proxy stands before us: nothing a header says changes who asks, or whether TLS is spoken.
        "forwarded_allow_ips": "",
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        "accesslog": None,
        "logger_class": ProductLogger,
        "proc_name": name,
        "default_proc_name": name,
        "control_socket_disable": True,
        "http_parser": "python",
        # Ctrl-C reaches the whole process group; the parent decides what it means, and sends SIGTERM.
        "when_ready": _begin_arbiter,
        "post_worker_init": _begin_worker,
    }
    if tls is not None:
        certificate, key = tls
        settings |= {"certfile": str(certificate), "keyfile": str(key), "ssl_context": TlsContext(certificate, key)}
        settings |= {"do_handshake_on_connect": False}
    os.environ.pop("SENDFILE", None)  # gunicorn takes any value of the setting `sendfile`, True as well, for "off"
    _Application(app_factory, settings).run()


def _raise_descriptor_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _begin_arbiter(arbiter: Any) -> None:
    _ignore_interrupts()
    arbiter.systemd = True  # the sockets were given to it: it may not remove a Unix socket's file when it ends


def _begin_worker(worker: BoundedWorker) -> None:
    _ignore_interrupts()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    name_worker = getattr(worker.wsgi, "extensions", {}).get("name_worker")
    if name_worker is not None:
        name_worker(worker.age)
    bind_worker = getattr(worker.wsgi, "extensions", {}).get("bind_worker")
    if bind_worker is not None:  # for answers without an end: whether to go on
        bind_worker(lambda: bool(worker.alive))


class TlsContext:
    """gunicorn asks for a context for every connection; one is made, once in each worker."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._made: ssl.SSLContext | None = None

    def __call__(self, _config: object, _default: object) -> ssl.SSLContext:
        if self._made is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.sslsocket_class = PumpTlsSocket
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.options |= ssl.OP_NO_RENEGOTIATION
            context.load_cert_chain(self._certificate, self._key)
            context.set_alpn_protocols(["http/1.1"])
            self._made = context
        return self._made


class _Arbiter(Arbiter):  # type: ignore[misc]
    """A SIGTERM for a worker waits until the worker can take it. gunicorn's workers inherit the arbiter's handlers, and
    lose what comes before they have set their own: the arbiter, which says it once, then waits as long as `grace_s`."""

    def spawn_worker(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            pid: int = super().spawn_worker()  # in the worker it does not return: `_begin_worker` ends the wait
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid


class _Application(BaseApplication):  # type: ignore[misc]
    def run(self) -> None:
        _Arbiter(self).run()

    def __init__(self, app_factory: Callable[[], WSGIApplication], settings: dict[str, Any]) -> None:
        self._app_factory = app_factory
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._settings.items():
            if key in self.cfg.settings:  # some exist only in later versions
                self.cfg.set(key, value)

    def load(self) -> WSGIApplication:
        return self._app_factory()
