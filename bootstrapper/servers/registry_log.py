"""What the registry says in its log of requests that it could not answer: its notifications tell successes only.

Its lines are JSON (distribution's `log.formatter`): nothing in a client's words can pass for a field of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bootstrapper.boot.steps import UNMIRRORED

FILE_NAME = "refused"
"In the registry's folder: what `RefusalFile` keeps until somebody takes it."
MOST_BYTES = 256 * 1024
"What comes on top of it is lost: who asks without end gets no more room than that."
NAME_CHARACTERS = 200
SHOWN_CHARACTERS = 1000
OURS = "response completed with error"
NAMESPACE = re.compile(r"[?&]ns=([A-Za-z0-9.:-]{1,100})(?:&|\Z)")
"How containerd names the registry that it wants an image of."


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request for a part of an image, answered 404 or 5xx."""

    at: float
    address: str
    "The client's, without its port."
    image: str
    "`registry.k8s.io/pause:3.10`, or `...@sha256:...`."
    status: int
    error: str


class RefusalFile:
    """A few lines from the process that reads the registry's log to the one that may write events."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, refusal: Refusal) -> None:
        """Raises OSError."""
        with self._path.open("ab") as file:
            if file.tell() < MOST_BYTES:
                file.write(json.dumps(asdict(refusal)).encode() + b"\n")

    def take(self) -> list[Refusal]:
        """What came since the last time, the oldest first. Raises OSError."""
        taken = self._path.with_suffix(".taken")
        try:
            self._path.rename(taken)
        except FileNotFoundError:
            return []
        lines = taken.read_bytes().splitlines()
        taken.unlink()
        return [found for line in lines if (found := _read(line)) is not None]


def make_hearer(put: Callable[[Refusal], None], now: Callable[[], float]) -> Callable[[str], str | None]:
    """For `WatchedChild.hear`: each refusal is `put`; the words for the log come back, None for none."""

    def hear(line: str) -> str | None:
        fields = _parse(line)
        if fields is None:
            return line[:SHOWN_CHARACTERS]
        refusal = find_refusal(fields, now())
        if refusal is not None:
            try:
                put(refusal)
            except OSError:
                return show(fields)
        # What is not here is asked for by anybody, as often as he likes.
        missing = fields.get("msg") == OURS and fields.get("http.response.status") == 404
        return None if missing else show(fields)

    return hear


def find_refusal(fields: dict[str, Any], at: float) -> Refusal | None:
    """None: the line tells something else, or of no image."""
    status, name = fields.get("http.response.status"), fields.get("vars.name")
    address = fields.get("http.request.remoteaddr")
    if fields.get("msg") != OURS or not isinstance(name, str) or not isinstance(address, str):
        return None
    if type(status) is not int or not (status == 404 or 500 <= status <= 599):
        return None
    # Always with a port, save where the registry believed a client's X-Forwarded-For: that is nobody's word.
    sender = address.rpartition(":")[0]
    if not sender:
        return None
    tag, digest = _text(fields.get("vars.reference")), _text(fields.get("vars.digest"))
    part = f"@{digest}" if digest else f"@{tag}" if ":" in tag else f":{tag}" if tag else ""
    asked = NAMESPACE.search(_text(fields.get("http.request.uri")))
    if asked and name.startswith(UNMIRRORED):
        name = f"{UNMIRRORED}{asked[1]}/{name.removeprefix(UNMIRRORED)}"
    image = (name + part)[:NAME_CHARACTERS]
    error = _text(fields.get("err.detail")) if status >= 500 else _text(fields.get("err.message"))
    return Refusal(at, sender, image, status, error[:NAME_CHARACTERS])


def show(fields: dict[str, Any]) -> str:
    words = [_text(fields.get(name)) for name in ("level", "msg", "err.message", "err.detail", "http.request.uri")]
    return ": ".join(word for word in words if word)[:SHOWN_CHARACTERS]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _read(line: bytes) -> Refusal | None:
    try:
        fields = json.loads(line)
        return Refusal(
            float(fields["at"]),
            str(fields["address"]),
            str(fields["image"]),
            int(fields["status"]),
            str(fields["error"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):  # cut off, when this host lost its power
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
