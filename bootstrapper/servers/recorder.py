"""Records the steps of machines' boots: each is logged at once and stored a moment later, many in one transaction.

Made in the process that uses it (it has a thread, so never before a fork). What is not stored yet when a process is
killed is lost: events are for people, and nothing is decided by them.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping

from bootstrapper.boot.events import Event
from bootstrapper.servers.logs import LOGGER, log_event
from bootstrapper.state.store import Store

FLUSH_S = 0.25
BOUND = 10_000
"Events kept while the disk is slow; the oldest go first, since the log has them all."


class Recorder:
    def __init__(self, store: Store, hosts: Mapping[str, str]) -> None:
        """`hosts` gives the host name for a MAC, for the log."""
        self._store = store
        self._hosts = hosts
        self._waiting: deque[Event] = deque(maxlen=BOUND)
        self._logger = logging.getLogger(LOGGER)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> None:
        """Never blocks on the disk."""
        log_event(self._logger, event, self._hosts.get(event.mac, ""))
        self._waiting.append(event)

    def stop(self) -> None:
        """Store what waits, then end."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return
        try:
            self._store.add_events(batch)
        except Exception:
            self._logger.exception("%d events could not be stored (they are in this log)", len(batch))
