"""Lets one thing through per key and time: what a stranger causes may not fill the log or the disk."""

from __future__ import annotations

import threading
from collections import OrderedDict


class Limiter:
    def __init__(self, every_s: float, keys: int = 1024) -> None:
        self._every_s = every_s
        self._keys = keys
        self._lock = threading.Lock()
        self._last: OrderedDict[str, float] = OrderedDict()

    def allows(self, key: str, now: float) -> bool:
        """Whether `key` may pass at `now`; at most `keys` keys are remembered, and when all of them are fresh a new
        one does not pass."""
        with self._lock:
            last = self._last.get(key)
            if last is not None and 0 <= now - last < self._every_s:
                return False
            if last is None and len(self._last) >= self._keys:
                oldest, at = next(iter(self._last.items()))
                if 0 <= now - at < self._every_s:
                    return False
                del self._last[oldest]
            self._last[key] = now
            self._last.move_to_end(key)
            return True


class Allowance:
    """So many at once and so many a second after that, per key: what a machine may tell of itself."""

    def __init__(self, burst: int, per_s: float, keys: int = 20_000) -> None:
        self._burst, self._per_s, self._keys = float(burst), per_s, keys
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def takes(self, key: str, now: float) -> bool:
        """Whether one more of `key` is allowed at `now`. At most `keys` are remembered, the latest."""
        with self._lock:
            left, at = self._left.pop(key, (self._burst, now))
            left = min(self._burst, left + max(0.0, now - at) * self._per_s)
            taken = left >= 1.0
            self._left[key] = (left - 1.0 if taken else left, now)
            if len(self._left) > self._keys:
                self._left.popitem(last=False)
            return taken
