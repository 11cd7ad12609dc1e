"""gunicorn's threaded worker, with bounds on what one client may take of it.

gunicorn itself sets no limit on how long a client takes to send its request, waits in its main loop for clients that
are slow to close, and names the path of a failing request, which may hold a token, in its log.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from bootstrapper.servers.http_pump import Pump, PumpSocket

REQUEST_S = 15.0
"From the moment a thread takes up a connection until its request has been read, TLS handshake included."
ANSWER_S = 900.0
"The longest that a thread is kept by one answer; only images over TLS take long."
LINGER_S = 1.0
"How long a closing connection may take to see its end (RFC 9112 section 9.6)."


class Connection(TConn):  # type: ignore[misc]
    def __init__(self, config: Any, client: socket.socket, address: Any, server: Any, gone: Callable[[], None]) -> None:
        super().__init__(config, client, address, server)
        self.descriptor = client.fileno()
        self.since = 0.0
        self._gone: Callable[[], None] | None = gone

    def close(self, graceful: bool = False) -> None:
        """Never waits: the thread that answered has done the waiting (`BoundedWorker.handle`)."""
        super().close(graceful=False)
        if self._gone is not None:
            self._gone()
            self._gone = None


class _WithoutTls:
    """gunicorn's settings for a Unix socket's connections, beside TCP with TLS in the same worker."""

    is_ssl = False

    def __init__(self, config: Any) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    per_client = 64
    "How many connections one address may hold in this worker."
    request_s = REQUEST_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: Counter[str] = Counter()
        self._reading: set[Connection] = set()
        self._answering: set[Connection] = set()
        self._guard = threading.Lock()
        self._pump: Pump | None = None

    def init_process(self) -> None:
        self._pump = Pump()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        super().init_process()

    def accept(self, listener: Any) -> None:
        """As in gunicorn, but for the bound on one address; no fault of a socket ends the loop."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of descriptors
            self.log.warning("no connection could be accepted: %s", error)
            time.sleep(0.1)
            return
        unix = client.family == socket.AF_UNIX
        host = "" if unix else address[0]
        if self._held[host] >= self.per_client:
            self._count("too many connections")
            client.close()
            return
        self._held[host] += 1
        self.nr_conns += 1
        client = PumpSocket(client.family, client.type, client.proto, client.detach())
        config = _WithoutTls(self.cfg) if unix else self.cfg
        self.enqueue_req(Connection(config, client, address, listener.getsockname(), lambda: self._let_go(host)))

    def _let_go(self, host: str) -> None:
        self._held[host] -= 1
        if self._held[host] <= 0:
            del self._held[host]

    def handle(self, conn: Connection) -> Any:
        """In a thread. Its result, for `finish_request`: whether to keep the connection, and what is still to send."""
        conn.since = time.monotonic()
        with self._guard:
            self._reading.add(conn)
            self._answering.add(conn)
        try:
            again = super().handle(conn)
        finally:
            with self._guard:
                self._reading.discard(conn)
                self._answering.discard(conn)
        download = conn.sock.take_download() if isinstance(conn.sock, PumpSocket) else None
        if download is not None:
            return (again, download)
        if not again:
            _linger(conn.sock)
        return again

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        """In the main loop."""
        result = None if fs.cancelled() or fs.exception() else fs.result()
        if not isinstance(result, tuple):
            super().finish_request(conn, fs)
            return
        again, download = result
        download.done = lambda sent: self.method_queue.defer(self._downloaded, conn, bool(again and sent))
        assert self._pump is not None
        self._pump.add(download)

    def _downloaded(self, conn: Connection, again: bool) -> None:
        """In the main loop, once the pump is through."""
        if not again:
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_WR)
        finished: Future[bool] = Future()
        finished.set_result(again)
        super().finish_request(conn, finished)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        if req.method != "POST":  # a report's body is read by the application, within the same time
            with self._guard:
                self._reading.discard(conn)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """A request that could not be read or answered: counted, told in one line, never with its path."""
        status = next((status for kind, status in STATUSES if isinstance(exc, kind)), None)
        if isinstance(exc, ssl.SSLError):
            self._count("tls")
            self._tell_tls(addr, exc.reason or "")
            return
        if status is None:
            self.log.error("a request failed", exc_info=exc)
            status = "500 Internal Server Error"
        else:
            self._count("malformed request")
        body = status[4:].lower() + "\n"
        reply = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        with contextlib.suppress(OSError):
            util.write_nonblock(client, reply.encode())

    def _count(self, reason: str) -> None:
        """Through the application's own counter: Flask applications may offer one as `extensions["count"]`."""
        count = getattr(self.wsgi, "extensions", {}).get("count")
        if count is not None:
            count(f'http_refused{{reason="{reason}"}}')

    def _tell_tls(self, address: Any, reason: str) -> None:
        """Likewise, as `extensions["tls_failed"]`: who broke off the handshake, and OpenSSL's word for why."""
        tell = getattr(self.wsgi, "extensions", {}).get("tls_failed")
        if tell is not None and isinstance(address, tuple):
            tell(str(address[0]), reason)

    def _watch(self) -> None:
        """Every second: slow clients, and whether the parent still lives, which gunicorn forgets while it stops."""
        while True:
            time.sleep(1.0)
            if os.getppid() != self.ppid:
                os._exit(1)
            self._cut_off(self._reading, self.request_s)
            self._cut_off(self._answering, ANSWER_S)

    def _cut_off(self, connections: set[Connection], after_s: float) -> None:
        """Ends the connections that a thread took up more than `after_s` ago: it sees the end of the stream.

        By descriptor, since a TLS handshake under way has taken the socket object apart.
        """
        with self._guard:
            for conn in [conn for conn in connections if time.monotonic() - conn.since > after_s]:
                connections.discard(conn)
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(conn.descriptor)) as same:
                    same.shutdown(socket.SHUT_RDWR)


def _linger(sock: socket.socket) -> None:
    """Let the client see the end of what was sent, instead of a reset, when it sent more than was read."""
    with contextlib.suppress(OSError, ValueError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(LINGER_S)
        until = time.monotonic() + LINGER_S
        while time.monotonic() < until and sock.recv(4096):
            pass


class ProductLogger(Logger):  # type: ignore[misc]
    """gunicorn's messages in the product's own log: what it says below warning is of no use to anybody there."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log = logging.getLogger("bootstrapper.http")
        self.error_log.setLevel(logging.WARNING)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """A client that went away is no fault of ours."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and error.errno in GONE:
            return
        super().exception(msg, *args, **kwargs)

    def access(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: paths hold tokens."""

    def reopen_files(self) -> None: ...

    def close_on_exec(self) -> None: ...


GONE = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE, errno.ECONNRESET, errno.EBADF}

STATUSES: tuple[tuple[type[Exception], str], ...] = (
    (errors.LimitRequestLine, "414 URI Too Long"),
    (errors.LimitRequestHeaders, "431 Request Header Fields Too Large"),
    (errors.UnsupportedTransferCoding, "501 Not Implemented"),
    (errors.ParseException, "400 Bad Request"),
)
"""What of gunicorn's is the client's fault, the more special first; anything else is ours."""
