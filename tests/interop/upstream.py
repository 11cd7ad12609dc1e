"""An upstream that misbehaves on purpose: an HTTP server on loopback, one behaviour for each path."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Asked:
    path: str
    range: str | None
    if_range: str | None
    status: int = 0


@dataclass
class Upstream:
    """`files`: path -> content; `behaviours`: path -> a function that answers in the place of the plain one."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    behaviours: dict[str, Callable[[Handler, Upstream], None]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    pace: float = 0.0
    "Seconds between two blocks of 64 KiB."

    def asked_for(self, path: str) -> list[Asked]:
        return [each for each in self.asked if each.path == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: Upstream

    def do_GET(self) -> None:
        self.asked = Asked(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
        self.upstream.asked.append(self.asked)
        behaviour = self.upstream.behaviours.get(self.path, plain)
        try:
            behaviour(self, self.upstream)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_HEAD(self) -> None:
        content = self.upstream.files.get(self.path)
        self.asked = Asked(self.path, "HEAD", None)
        self.upstream.asked.append(self.asked)
        self.begin(404 if content is None else 200, Content_Length=len(content or b""))

    def begin(self, status: int, **headers: object) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def refuse(self, status: int) -> None:
        self.begin(status, Content_Length=0)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that was killed: what the tests do."""


def plain(handler: Handler, upstream: Upstream) -> None:
    """As a good server does: ETag, Range, If-Range."""
    content = upstream.files.get(handler.path)
    if content is None:
        return handler.refuse(404)
    etag = f'"{hash(content):x}"'
    start = 0
    asked = handler.headers.get("Range")
    if asked and handler.headers.get("If-Range") in (None, etag):
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            return handler.begin(416, Content_Length=0, Content_Range=f"bytes */{len(content)}")
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.begin(206, Content_Length=len(content) - start, ETag=etag, Content_Range=where)
    else:
        handler.begin(200, Content_Length=len(content), ETag=etag, Accept_Ranges="bytes")
    for index in range(start, len(content), 65536):
        handler.wfile.write(content[index : index + 65536])
        if upstream.pace:
            time.sleep(upstream.pace)
    return None


@contextmanager
def serving_upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    handler = type("Bound", (Handler,), {"upstream": upstream})
    server = Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    upstream.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
