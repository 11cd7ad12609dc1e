"""Tells which machine fetches its kernel, initrd and image, how far it is, and where it breaks off.

Only the files that its system is started and installed from (`assets.systems`), a few events each: a machine downloads
thousands of other things in its life.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from bootstrapper.assets.systems import list_assets
from bootstrapper.boot.events import Event
from bootstrapper.boot.steps import Http, Service, describe_file
from bootstrapper.cluster.model import Machine
from bootstrapper.errors import UserError
from bootstrapper.web.desk import clean
from bootstrapper.web.limiter import Allowance, Limiter
from bootstrapper.web.senders import Senders

LARGE = 64 << 20
"Bytes. Of smaller files only begin and end are told."
STEPS = 10
"A large file is told in so many parts ..."
STEP_S = 5.0
"... and no more often than this."
AGAIN_S = 2.0
"The same file is told again to the same machine after this long."
MISSING_AGAIN_S = 60.0
MISSING_AT_ONCE, MISSING_PER_S = 20, 0.002
"Of one machine. A system asks each minute, for ever, for what it needs: its history is to have room for other things."
KEYS = 20_000


class Downloads:
    def __init__(self, senders: Senders, record: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._senders = senders
        self._record = record
        self._now = now
        self._limiter = Limiter(AGAIN_S, KEYS)
        self._again = Limiter(MISSING_AGAIN_S, KEYS)
        self._missing = Allowance(MISSING_AT_ONCE, MISSING_PER_S)

    def watch(self, environ: dict[str, Any], name: str, start: int, length: int, size: int) -> Watch | None:
        """For `length` bytes from `start` of the asset `name`, about to be sent; None: nothing to tell of it."""
        found = self._find(environ, name)
        if found is None:
            return None
        machine, use = found
        if not self._limiter.allows(f"{machine.mac} {name}", self._now()):
            return None
        more = f"{show_size(size)}" + (f" from {show_size(start)} on" if start else "")
        self._tell(machine.mac, Http.LOADING, describe_file(use, name, more))
        return Watch(self._tell, self._now, machine.mac, (use, name), start, length, size)

    def missing(self, environ: dict[str, Any], name: str) -> None:
        """`name` (a client's word) was asked for and is not there."""
        machine = self._senders.find(environ.get("REMOTE_ADDR", ""))
        if machine is None or not self._again.allows(f"{machine.mac} {name}", self._now()):
            return
        if self._missing.takes(machine.mac, self._now()):  # names without end, too, tell no more than the first
            self._tell(machine.mac, Http.NO_FILE, clean(name), "warning")

    def _find(self, environ: dict[str, Any], name: str) -> tuple[Machine, str] | None:
        machine = self._senders.find(environ.get("REMOTE_ADDR", ""))
        use = _uses(machine).get(name) if machine else None
        return (machine, use) if machine and use else None

    def _tell(self, mac: str, step: str, detail: str, level: str = "info") -> None:
        self._record(Event(self._now(), mac, Service.HTTP, step, detail, level))


class Watch:
    """One download. The server that sends it calls `moved` and, once, `ended`, from any thread; both return at once."""

    __slots__ = ("_began_at", "_due", "_file", "_length", "_lock", "_mac", "_now", "_over", "_sent", "_size", "_start",
                 "_tell", "_told_at")  # fmt: skip

    def __init__(
        self,
        tell: Callable[..., None],
        now: Callable[[], float],
        mac: str,
        file: tuple[str, str],
        start: int,
        length: int,
        size: int,
    ) -> None:
        self._tell = tell
        self._now = now
        self._mac = mac
        self._file = file
        self._start = start
        self._length = length
        self._size = size
        self._sent = 0
        self._due = max(LARGE // STEPS, size // STEPS)
        self._began_at = self._told_at = now()
        self._over = False
        self._lock = threading.Lock()

    def moved(self, count: int) -> None:
        """`count` more bytes were taken by the client."""
        self._sent += count
        if self._sent < self._due or self._size < LARGE:
            return
        self._due = self._sent + self._size // STEPS
        now = self._now()
        if self._sent < self._length and not 0 <= now - self._told_at < STEP_S:
            self._told_at = now
            self._tell(self._mac, Http.PROGRESS, describe_file(*self._file, f"{self._percent()} %"))

    def ended(self) -> None:
        """It is over: complete when all its bytes were taken. What comes after the first call counts nothing."""
        with self._lock:
            if self._over:
                return
            self._over = True
        seconds = max(0.0, self._now() - self._began_at)
        if self._sent >= self._length:
            text = f"{show_size(self._sent)} in {seconds:.1f} s"
            self._tell(self._mac, Http.LOADED, describe_file(*self._file, text))
        else:
            text = f"at {self._percent()} % after {seconds:.1f} s"
            self._tell(self._mac, Http.CUT_OFF, describe_file(*self._file, text), "warning")

    def _percent(self) -> int:
        return 100 * (self._start + self._sent) // max(1, self._size)


def _uses(machine: Machine) -> dict[str, str]:
    try:
        return {asset.name: asset.use for asset in list_assets(machine)}
    except UserError:  # an OS without an installer yet
        return {}


def show_size(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1_000_000 else f"{size} bytes"
