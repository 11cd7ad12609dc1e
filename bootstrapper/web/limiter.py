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
