"""A value that is dear to make: made again only when the last one is too old."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    def __init__(self, make: Callable[[], T], most_s: float, now: Callable[[], float]) -> None:
        self._make = make
        self._most_s = most_s
        self._now = now
        self._lock = threading.Lock()
        self._made: tuple[float, T] | None = None

    def get(self) -> T:
        """At most `most_s` seconds old; several who ask at once wait for one to make it."""
        with self._lock:
            now = self._now()
            if self._made is None or not 0 <= now - self._made[0] < self._most_s:
                self._made = (now, self._make())
            return self._made[1]
