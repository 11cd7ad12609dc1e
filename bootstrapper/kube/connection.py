"""JSON over HTTPS to whichever of several servers answers: under both the Kubernetes and the etcd client."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

TIMEOUT_S = 10.0
CONNECT_S = 3.0
"A machine that is off says nothing at all; a round should not take a minute for three of them."
ANSWER_BYTES = 64 * 1024 * 1024
"More than a page of 500 objects can be; an answer without end is a fault."

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Address = tuple[str, int]
"Host name or address, and port."


class Unreachable(Exception):
    """None of the servers could be spoken to: not up yet, down, or not the one whose authority we trust."""


class ServerRefusal(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Connection:
    """Keeps one connection, to the server that answered last. Not for several threads."""

    def __init__(self, addresses: Sequence[Address], tls: ssl.SSLContext, timeout_s: float = TIMEOUT_S) -> None:
        self._addresses = list(addresses)
        self._tls = tls
        self._timeout_s = timeout_s
        self._open: http.client.HTTPSConnection | None = None

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] = NO_HEADERS) -> Any:
        """The answer's JSON. Raises ServerRefusal, or Unreachable when no server answered.

        A request may reach a server twice when a connection breaks: each that is made here may be repeated.
        """
        data = None if body is None else json.dumps(body).encode()
        sent = {
            "Accept": "application/json",
            **({} if data is None else {"Content-Type": "application/json"}),
            **headers,
        }
        if self._open is not None:
            try:
                return self._try(self._open, method, path, data, sent)
            except (OSError, http.client.HTTPException):
                self.close()  # idle for too long, or its server went away: the others are asked
        faults: dict[Address, str] = {}
        for address in list(self._addresses):
            self._open = http.client.HTTPSConnection(*address, timeout=CONNECT_S, context=self._tls)
            try:
                self._open.connect()
                self._open.sock.settimeout(self._timeout_s)
                answer = self._try(self._open, method, path, data, sent)
            except (OSError, http.client.HTTPException) as error:
                faults[address] = explain(error)
                self.close()
                # Asked last next time, so that one dead server does not cost its timeout at every turn.
                self._addresses.remove(address)
                self._addresses.append(address)
                continue
            return answer
        raise Unreachable(describe(faults))

    def _try(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        data: bytes | None,
        headers: dict[str, str],
    ) -> Any:
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        text = answer.read(ANSWER_BYTES + 1)
        if len(text) > ANSWER_BYTES:
            raise http.client.HTTPException(f"an answer of more than {ANSWER_BYTES} bytes")
        try:
            value = json.loads(text) if text.strip() else None
        except ValueError:
            value = None
        if not 200 <= answer.status < 300:
            raise ServerRefusal(answer.status, _find_message(value) or text[:200].decode(errors="replace").strip())
        if value is None and text.strip() not in (b"", b"ok"):
            raise http.client.HTTPException("an answer that is not JSON")
        return value

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def describe(faults: Mapping[Address, str]) -> str:
    """Which server did not answer and why, in an order that does not change from one try to the next."""
    return "; ".join(f"{host}:{port}: {why}" for (host, port), why in sorted(faults.items())) or "no address to ask at"


def explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _find_message(value: object) -> str:
    """`message` of Kubernetes' Status and of etcd's gateway (`error` in its older versions)."""
    if not isinstance(value, dict):
        return ""
    return str(value.get("message") or value.get("error") or "")
