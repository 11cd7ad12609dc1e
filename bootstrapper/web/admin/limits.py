"""What one client may take: failed logins."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from bootstrapper.errors import UserError

TRIES, WINDOW_S = 5, 60.0
ALL_TRIES = 50
"From all addresses together, in the same time."
MOST_SOURCES = 1000


class TooMany(UserError):
    """429: wrong tokens were sent too often."""


class FailedLogins:
    """A token has 256 bits and is not guessed; this keeps the audit log and the processor from those who try."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._failed: dict[str, deque[float]] = {}

    def is_shut(self, source: str) -> bool:
        with self._lock:
            return self._count(source) >= TRIES or sum(len(each) for each in self._failed.values()) >= ALL_TRIES

    def check(self, source: str) -> None:
        if self.is_shut(source):
            raise TooMany("too many wrong tokens were sent from there", f"wait {WINDOW_S:.0f} seconds")

    def add(self, source: str) -> None:
        with self._lock:
            if len(self._failed) < MOST_SOURCES or source in self._failed:
                self._failed.setdefault(source, deque(maxlen=ALL_TRIES)).append(self._now())

    def _count(self, source: str) -> int:
        since = self._now() - WINDOW_S
        for name, times in list(self._failed.items()):
            while times and times[0] < since:
                times.popleft()
            if not times:
                del self._failed[name]
        return len(self._failed.get(source, ()))
