"""Records the steps of machines' boots: each is logged at once and stored a moment later, many in one transaction.

Made in the process that uses it (it has a thread, so never before a fork). What is not stored yet when a process is
killed is lost: events are for people, and nothing is decided by them. While the state cannot be written they wait, the
latest BOUND of them; how many were lost is an event of the server, once there is room again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from bootstrapper.boot.events import Event
from bootstrapper.boot.steps import Server, Service
from bootstrapper.servers.logs import LOGGER, log_event
from bootstrapper.state.schema import Unwritable
from bootstrapper.state.store import Store
from bootstrapper.state.trouble import Trouble

FLUSH_S = 0.25
AGAIN_S = 2.0
"After a fault of the disk: whoever answers a machine is not to wait for its turn behind this."
BOUND = 10_000
"Events kept while the disk is slow; the oldest go first, since the log has them all."


class Recorder:
    def __init__(
        self, store: Store, hosts: Mapping[str, str], now: Callable[[], float] = time.time, again_s: float = AGAIN_S
    ) -> None:
        """`hosts` gives the host name for a MAC, for the log."""
        self._store = store
        self._hosts = hosts
        self._now = now
        self._again_s = again_s
        self._waiting: deque[Event] = deque()
        self._lost = 0
        self._trouble = Trouble("events")
        self._logger = logging.getLogger(LOGGER)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> None:
        """Never blocks on the disk."""
        log_event(self._logger, event, self._hosts.get(event.mac, ""))
        self._waiting.append(event)
        while len(self._waiting) > BOUND:
            with suppress(IndexError):  # the thread has taken them meanwhile
                self._waiting.popleft()
                self._lost += 1

    def stop(self) -> None:
        """Store what waits, then end."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        wait_s = FLUSH_S
        while not self._stopped.wait(wait_s):
            wait_s = FLUSH_S if self._flush() else self._again_s
        if not self._flush():
            self._logger.error("%d events could not be stored (they are in this log)", len(self._waiting) + self._lost)

    def _flush(self) -> bool:
        """False: the state cannot be written now, and what waits goes on waiting."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return True
        lost = self._lost
        told = [Event(self._now(), "", Service.STATE, Server.EVENTS_LOST, describe_lost(lost), "error")] if lost else []
        try:
            self._store.add_events([*told, *batch])
        except Unwritable as error:
            self._trouble.met(error)
            self._waiting.extendleft(reversed(batch))
            return False
        except Exception:  # of ours, or of one of these: kept, it would hold up all later ones
            self._logger.exception("%d events could not be stored (they are in this log)", len(batch))
            return True
        self._lost -= lost
        self._trouble.over(describe_lost(lost) if lost else "")
        return True


def describe_lost(count: int) -> str:
    return f"{count} events are in the log only: the state could not be written for a while"
