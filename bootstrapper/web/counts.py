"""What this process counted, kept in the store now and then so that `/metrics` of any process shows them all.

A thread of its own saves, and lives while there is something to save: no answer waits for the disk, or fails with it,
because it was counted.
"""

from __future__ import annotations

import threading
from collections import Counter

from bootstrapper.state.store import Store
from bootstrapper.state.trouble import Trouble

SAVE_EVERY_S = 1.0
FLUSH_S = 0.5


class Counts:
    """Thread-safe. Names are whole series: `http_refused{reason="claim"}`; never made from what a client sent."""

    def __init__(self, store: Store, process: str) -> None:
        self._store = store
        self._process = process
        self._changed = threading.Condition()
        self._values: Counter[str] = Counter()
        self._added = self._saved = 0  # how many calls of `add` there were, and how many of them are in the store
        self._hurry = False
        self._thread: threading.Thread | None = None
        self._trouble = Trouble(f"counters of {process}")

    def name_worker(self, number: int) -> None:
        """Several workers run one application; each keeps its counters under a name of its own."""
        self._process = f"{self._process}-{number}"

    def add(self, name: str) -> None:
        """Never raises, never waits."""
        with self._changed:
            self._values[name] += 1
            self._added += 1
            self._begin()

    def flush(self, most_s: float = FLUSH_S) -> None:
        """What was counted is in the store when this returns; after `most_s` seconds, or where the state cannot be
        written, it returns all the same."""
        with self._changed:
            wanted = self._added
            if self._saved < wanted:
                self._hurry = True
                self._begin()
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._saved >= wanted or self._thread is None, most_s)

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="counts", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads just now: the next `add` tries again
                self._thread = None

    def _run(self) -> None:
        """Until all is saved, or it failed: the next `add` begins anew, a second later."""
        saved = True
        while saved:
            with self._changed:
                self._changed.wait_for(lambda: self._hurry, SAVE_EVERY_S)
                self._hurry = False
                if self._saved == self._added:
                    self._thread = None
                    return
                added, values = self._added, dict(self._values)
            saved = self._save(values)
            with self._changed:
                if saved:
                    self._saved = added
                else:
                    self._thread = None
                self._changed.notify_all()

    def _save(self, values: dict[str, int]) -> bool:
        try:
            self._store.save_counters(self._process, values)
        except Exception as error:
            self._trouble.met(error)
            return False
        self._trouble.over()
        return True
