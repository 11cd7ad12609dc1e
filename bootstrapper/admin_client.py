"""Talks to a running server's admin API: by its Unix socket on the same host, or by URL and token from another.

Used by the verbs of `cli_admin`. Answers of the server are its words to an admin: a refusal comes back as UserError.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from bootstrapper.boot.tail import plain
from bootstrapper.errors import UserError

SOCKET = "admin.sock"
TIMEOUT_S = 60.0
"A check of a big description takes some seconds."
QUIET_S = 90.0
"The event stream says something at least every half minute."


class Unreachable(UserError):
    """No answer came: the server is not there, or may not be asked."""


class AdminClient:
    """One request, one connection. Every method raises UserError with what to do."""

    def __init__(self, place: Place, timeout_s: float = TIMEOUT_S) -> None:
        self._place = place
        self._timeout_s = timeout_s

    def get(self, path: str, **query: object) -> Any:
        return self._ask("GET", path, None, query)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._ask("POST", path, body, {})

    def follow(self, path: str, **query: object) -> Iterator[tuple[int, Any]]:
        """(id, event) of each of a text/event-stream, until the server ends it; (id, None) first: where it begins."""
        connection, reply = self._send("GET", path, None, query, QUIET_S)
        begun = False
        try:
            while line := reply.readline(64 * 1024):
                if line.startswith(b"id:") and not begun:
                    begun = True
                    yield int(line[3:]), None
                elif line.startswith(b"data:"):
                    found = json.loads(line[5:])
                    yield int(found["id"]), found
        except (TimeoutError, ConnectionError, http.client.HTTPException, ValueError, TypeError, LookupError):
            return
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None, query: Mapping[str, object]) -> Any:
        connection, reply = self._send(method, path, body, query, self._timeout_s)
        try:
            return json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            raise UserError(f"the server's answer broke off: {error}", "ask again; its log says more") from error
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, body: Mapping[str, object] | None, query: Mapping[str, object], timeout: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._place.connect(timeout)
        asked = urlencode({name: str(value) for name, value in query.items() if value not in ("", None)})
        headers = {"Content-Type": "application/json", **self._place.headers}
        try:
            connection.request(
                method,
                f"/api/v1{path}" + (f"?{asked}" if asked else ""),
                None if body is None else json.dumps(body),
                headers,
            )
            reply = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._place.explain(error) from error
        if reply.status >= 400:
            text = reply.read(1024 * 1024)
            connection.close()
            raise _read_refusal(reply.status, text)
        return connection, reply


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is: a Unix socket, or an address."""

    path: Path | None = None
    host: str = "localhost"
    port: int = 0
    tls: ssl.SSLContext | None = None
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        if self.path is not None:
            return _SocketConnection(self.path, timeout)
        if self.tls is not None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def explain(self, error: Exception) -> Unreachable:
        """Why no answer came, for somebody who only wanted to see the rack."""
        if self.path is None:
            where = f"{self.host}:{self.port}"
            if isinstance(error, ssl.SSLCertVerificationError):
                return Unreachable(
                    f"{where} has a certificate that is not trusted: {error.verify_message}",
                    "give --ca with its authority: STATE/pki/authority.crt of the server",
                )
            return Unreachable(f"no answer from {where}: {error}", "is `serve` running there, with --admin?")
        if isinstance(error, FileNotFoundError):
            return Unreachable(
                f"no server listens at {self.path}", "is `serve` running? give its state directory with --state"
            )
        if isinstance(error, ConnectionRefusedError):
            return Unreachable(f"nobody listens at {self.path} any more", "`serve` has stopped: start it, see its log")
        if isinstance(error, PermissionError):
            return Unreachable(f"{self.path} may not be opened by you", "be root, or the user that `serve` runs as")
        return Unreachable(f"no answer from {self.path}: {error}", "see the log of `serve`")


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


def find_local(state: Path) -> Place:
    return Place(path=state / SOCKET)


def find_remote(url: str, token: str, authority: Path | None) -> Place:
    """Raises UserError for a URL that is none, and for plain HTTP beyond this host: anyone could read the token."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UserError(f"{url!r} is no URL: {error}", "https://HOST:PORT") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise UserError(f"{url!r} is not where a server is", "https://HOST:PORT")
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise UserError("the token is not sent in the clear", f"https://{parts.netloc}")
    tls = None
    if parts.scheme == "https":
        try:
            tls = ssl.create_default_context(cafile=str(authority) if authority else None)
        except (OSError, ssl.SSLError) as error:
            raise UserError(f"{authority} is no file of certificates: {error}", "a PEM file") from error
    return Place(host=parts.hostname, port=port or (443 if tls else 80), tls=tls, token=token)


def write_path(*parts: str) -> str:
    """`/machines/node1/orders` of its parts, each quoted."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _read_refusal(status: int, text: bytes) -> UserError:
    """In the server's words, each on one line: what answers there may be somebody else, who writes to a terminal."""
    with suppress(ValueError, AttributeError, LookupError, TypeError, RecursionError):
        found = json.loads(text)
        words = [str(found.get("error", f"status {status}"))]
        words += [f"  line {each['line']}: {each['path']}: {each['message']}" for each in found.get("problems", ())]
        return UserError("\n".join(map(plain, words)), plain(str(found.get("hint", ""))))
    return UserError(f"the server answered with status {status}", "see its log")
