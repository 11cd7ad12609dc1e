"""gunicorn's threaded worker, with bounds on what one client may take of it.

gunicorn itself sets no limit on how long a client takes to send its request, waits in its main loop for clients that
are slow to close, and names the path of a failing request, which may hold a token, in its log.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import ssl
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import errors, get_parser
from gunicorn.sock import ssl_wrap_socket
from gunicorn.workers.gthread import TConn, ThreadWorker

from bootstrapper.servers.http_intake import BODY_BYTES, Intake, Refused
from bootstrapper.servers.http_pump import Download, Pump, PumpSocket, PumpTlsSocket
from bootstrapper.servers.http_threads import Threads

REQUEST_S = 15.0
"From a connection's beginning, TLS handshake included, or its next request's first byte, until all of it is here."
ANSWER_S = 900.0
"The longest that one answer may be made; only events without end take long."
LINGER_S = 1.0
"How long a closing connection may take to see its end (RFC 9112 section 9.6)."
STOPPING_S = 2.0
"How long a server that stops waits for a connection that has asked for nothing yet."
CHUNK = 16 * 1024


class Connection(TConn):  # type: ignore[misc]
    """Its bytes are taken in as they come, without waiting; a thread answers what is whole."""

    def __init__(
        self, config: Any, client: socket.socket, address: Any, server: Any, most: int, gone: Callable[[], None]
    ) -> None:
        super().__init__(config, client, address, server)
        self.sock: Any
        self.parser: Any
        self.descriptor = client.fileno()
        self.host = "" if client.family == socket.AF_UNIX else str(address[0])
        self.intake = Intake(most)
        self.idle = True
        "It has asked for nothing yet, or for nothing since its last answer."
        self._shaken = False
        self.closed = False
        self._gone = gone

    def take_in(self) -> bool | None:
        """Whether a whole request is here; None when no more can come. Never waits.

        Raises Refused, ssl.SSLError (the handshake's end included) and OSError.
        """
        self.sock.answering = False
        self.sock.setblocking(False)
        if self.parser is None:
            self.initialized = True
            if self.cfg.is_ssl:
                self.sock = ssl_wrap_socket(self.sock, self.cfg)
            self.parser = get_parser(self.cfg, self.sock, self.client)
        self.intake.feed(self.parser.unreader.take_buffered())  # sent along with the last request
        tls = isinstance(self.sock, ssl.SSLSocket)
        try:
            if tls and not self._shaken:
                self.sock.do_handshake()
                self._shaken = True
            # What TLS has decrypted already makes no socket readable: it must all be taken now.
            while not self.intake.whole or (tls and self.sock.pending()):
                data = self.sock.recv(CHUNK)
                if not data:
                    return None
                self.intake.feed(data)
                if self.intake.expects:
                    self.intake.expects = False
                    self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        self.parser.unreader.unread(self.intake.take())
        return True

    def close(self, graceful: bool = False) -> None:
        """Never waits: a connection that should see its end has lingered before (`BoundedWorker._linger`)."""
        if not self.closed:
            self.closed = True
            self._gone()
            super().close(graceful=False)


class _WithoutTls:
    """gunicorn's settings for a Unix socket's connections, beside TCP with TLS in the same worker; and for whoever asks
    whether sockets have `sendfile`: all of ours do."""

    is_ssl = False

    def __init__(self, config: Any) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


WAIT = object()
"What `handle` says of a request that is not whole yet."


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    per_client = 64
    "How many connections one address may hold in this worker."
    share: int | None = None
    "How many threads one address may hold (None: a quarter); its other requests wait for those."
    request_s = REQUEST_S
    most = BODY_BYTES
    "How long a request's body may be, in bytes."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings: Any = self.cfg
        self.cfg: Any = _WithoutTls(self._settings)
        self._held: Counter[str] = Counter()
        self._busy: Counter[str] = Counter()
        self._queued: dict[str, deque[Connection]] = {}
        self._until: dict[Connection, float] = {}  # monotonic: when what is under way is cut off
        self._guard = threading.Lock()
        self._pump: Pump | None = None
        if self.share is None:
            self.share = max(1, self.cfg.threads // 4)

    def init_process(self) -> None:
        self._pump = Pump()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        super().init_process()

    def accept(self, listener: Any) -> None:
        """As in gunicorn, but for the bound on one address, and no thread is asked for before there is something to
        read; no fault of a socket ends the loop."""
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
        config = self.cfg if unix else self._settings
        conn = Connection(config, client, address, listener.getsockname(), self.most, lambda: self._let_go(conn))
        self._allow(conn, self.request_s)
        self._wait_for(conn, self.enqueue_req)

    def get_thread_pool(self) -> Threads:
        return Threads(self.cfg.threads, self._work)

    def _wait_for(self, conn: Connection, then: Callable[[Connection], None]) -> None:
        """In the main loop: `then`, once there is something to read."""

        def readable(sock: socket.socket) -> None:
            self.poller.unregister(sock)
            self._safely(then, conn)

        try:
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, readable)
        except (OSError, ValueError, KeyError):  # closed meanwhile
            self._drop(conn)

    def _safely(self, step: Callable[..., None], conn: Connection, *args: Any) -> None:
        """In the main loop, which no fault with one connection may end: with it the worker would, and everybody's."""
        try:
            step(conn, *args)
        except Exception:
            self.log.exception("a connection was dropped")
            with contextlib.suppress(Exception):
                self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        if not conn.closed:
            self.nr_conns -= 1
            conn.close()

    def _allow(self, conn: Connection, seconds: float) -> None:
        """So long for what is under way; then it is cut off."""
        with self._guard:
            self._until[conn] = time.monotonic() + seconds

    def _let_go(self, conn: Connection) -> None:
        """Before the descriptor is closed, and can be another's."""
        with self._guard:
            self._until.pop(conn, None)
        self._held[conn.host] -= 1
        if self._held[conn.host] <= 0:
            del self._held[conn.host]

    def enqueue_req(self, conn: Connection) -> None:
        """In the main loop: to a thread, when the client has not its share of them already."""
        if conn.idle:
            conn.idle = False
            self._allow(conn, self.request_s)
        assert self.share is not None
        if conn.host and self._busy[conn.host] >= self.share:
            self._queued.setdefault(conn.host, deque()).append(conn)
            return
        self._busy[conn.host] += 1
        self.tpool.put(conn)

    def _leave_thread(self, host: str) -> None:
        self._busy[host] -= 1
        if self._busy[host] <= 0:
            del self._busy[host]
        queued = self._queued.get(host)
        if queued:
            following = queued.popleft()
            if not queued:
                del self._queued[host]
            self.enqueue_req(following)

    def _work(self, conn: Connection) -> None:
        """In a thread."""
        again, download = False, None
        try:
            again = self._answer(conn)
            if again is not WAIT and isinstance(conn.sock, PumpSocket | PumpTlsSocket):
                download = conn.sock.take_download()
        except BaseException:  # whatever ends an answer, SystemExit too, does not end a thread
            self.log.exception("a request failed")
        self.method_queue.defer(self._safely, self._answered, conn, again, download)

    def _answer(self, conn: Connection) -> Any:
        """WAIT, or whether to keep the connection."""
        try:
            whole = conn.take_in()
        except ssl.SSLError as error:
            if error.args[0] != ssl.SSL_ERROR_EOF:
                self.handle_error(None, conn.sock, conn.client, error)
            return False
        except Refused as error:
            self.handle_error(None, conn.sock, conn.client, error)
            return False
        except OSError:
            return False
        if whole is None:
            return False
        if not whole:
            return WAIT
        self._allow(conn, ANSWER_S)
        conn.sock.answering = True
        return super().handle(conn)

    def _answered(self, conn: Connection, again: Any, download: Download | None) -> None:
        """In the main loop."""
        self._leave_thread(conn.host)
        if again is WAIT:
            self._wait_for(conn, self.enqueue_req)
        elif download is not None:
            with self._guard:
                self._until.pop(conn, None)  # the pump drops who takes nothing
            download.done = lambda sent: self.method_queue.defer(self._safely, self._go_on, conn, bool(again and sent))
            assert self._pump is not None
            self._pump.add(download)
        else:
            self._go_on(conn, bool(again))

    def _go_on(self, conn: Connection, again: bool) -> None:
        """In the main loop, once an answer is sent."""
        if not again:
            self._linger(conn)
            return
        conn.idle = True
        if conn.parser.unreader.buf.getbuffer().nbytes:  # the next request came along with this one
            self.enqueue_req(conn)
            return
        self._allow(conn, self.cfg.keepalive if self.alive else STOPPING_S)
        self._wait_for(conn, self.enqueue_req)

    def _linger(self, conn: Connection) -> None:
        """Let the client see the end of what was sent, instead of a reset, when it sent more than was read."""
        conn.sock.answering = False
        with contextlib.suppress(OSError, ValueError):  # here nothing may wait, and gunicorn leaves it waiting at times
            conn.sock.setblocking(False)
        if isinstance(conn.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):  # it raises "want read" once it has sent its close_notify
                conn.sock.unwrap()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except (OSError, ValueError):
            self._drop(conn)
            return
        self._allow(conn, LINGER_S)
        self._wait_for(conn, self._read_away)

    def _read_away(self, conn: Connection) -> None:
        try:
            more = conn.sock.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            more = b"-"
        except (OSError, ValueError):
            more = b""
        if more:
            self._wait_for(conn, self._read_away)
        else:
            self._drop(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """A request that could not be read or answered: counted, told in one line, never with its path."""
        status = next((status for kind, status in STATUSES if isinstance(exc, kind)), None)
        if isinstance(exc, Refused):
            status = str(exc)
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
            if not self.alive:
                self._hurry()
            self._cut_off()

    def _hurry(self) -> None:
        soon = time.monotonic() + STOPPING_S
        with self._guard:
            for conn, until in self._until.items():
                if conn.idle:
                    self._until[conn] = min(until, soon)

    def _cut_off(self) -> None:
        """Ends the connections whose time is over: whoever reads them sees the end of the stream.

        By descriptor, since TLS takes the socket object apart.
        """
        now = time.monotonic()
        with self._guard:
            for conn in [conn for conn, until in self._until.items() if until < now]:
                del self._until[conn]
                with contextlib.suppress(OSError):
                    same = socket.socket(fileno=conn.descriptor)  # no duplicate, for which there may be no room
                    try:
                        same.shutdown(socket.SHUT_RDWR)
                    finally:
                        same.detach()


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
