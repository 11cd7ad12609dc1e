"""What a process counts, kept in the store now and then so that `/metrics` shows all processes together."""

from __future__ import annotations

import threading
from collections import Counter

from bootstrapper.state.store import Store
from bootstrapper.state.trouble import Trouble

SAVE_S = 1.0


class CounterSaver:
    """Saves `counts` under `process` once a second while they change, each key as `series{label="key"}`.

    The keys are constants of ours, never what a client sent. Has a thread: made after the last fork.
    """

    def __init__(self, store: Store, process: str, series: str, label: str, counts: Counter[str]) -> None:
        self._store = store
        self._process = process
        self._series = series
        self._label = label
        self._counts = counts
        self._saved: dict[str, int] = {}
        self._trouble = Trouble(f"counters of {process}")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counters", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(SAVE_S):
            self._save()
        self._save()

    def _save(self) -> None:
        counts = self._counts.copy()
        series = {f'{self._series}{{{self._label}="{key}"}}': value for key, value in counts.items()}
        if series == self._saved:
            return
        try:
            self._store.save_counters(self._process, series)
            self._saved = series
            self._trouble.over()
        except Exception as error:
            self._trouble.met(error)
