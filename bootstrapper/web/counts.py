"""What this process counted, kept in the store now and then so that `/metrics` of any process shows them all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from bootstrapper.state.store import Store

SAVE_EVERY_S = 1.0


class Counts:
    """Thread-safe. Names are whole series: `http_refused{reason="claim"}`; never made from what a client sent."""

    def __init__(self, store: Store, process: str, now: Callable[[], float]) -> None:
        self._store = store
        self._process = process
        self._now = now
        self._lock = threading.Lock()
        self._values: Counter[str] = Counter()
        self._saved_at = now()
        self._changed = False

    def name_worker(self, number: int) -> None:
        """Several workers run one application; each keeps its counters under a name of its own."""
        self._process = f"{self._process}-{number}"

    def add(self, name: str) -> None:
        with self._lock:
            self._values[name] += 1
            self._changed = True
            due = abs(self._now() - self._saved_at) >= SAVE_EVERY_S
        if due:
            self.save()

    def save(self) -> None:
        with self._lock:
            self._saved_at = self._now()
            if not self._changed:
                return
            self._changed = False
            values = dict(self._values)
        self._store.save_counters(self._process, values)
