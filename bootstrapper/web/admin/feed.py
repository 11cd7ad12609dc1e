"""The events as they come: a list, a stream that follows them, and where each install has got to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bootstrapper.boot.events import Event
from bootstrapper.boot.steps import Service
from bootstrapper.cluster.model import Machine
from bootstrapper.web.admin.limits import TooMany
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean

MOST = 1000
"Events in one answer; as many as are kept of a machine."
FOLLOWERS = 24
"At once. Each keeps one of the process' 64 threads; the rest stay free for answers."
STREAM_S = 600.0
"Then a stream ends, and the browser asks again with the last id it saw: by then its session may have ended."
POLL_S = 0.5
HEARTBEAT_S = 15.0
"A comment this often: a client that is gone is noticed, and proxies in between keep the connection."


class Feed:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._free = threading.BoundedSemaphore(FOLLOWERS)
        self.go_on: Callable[[], bool] = lambda: True
        "Whether this process is to go on; the server below sets it."

    def list(self, mac: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Oldest first, those after `after`; the latest `limit` when it is 0. `mac` None: of all."""
        limit = max(1, min(limit, MOST))
        store = self._parts.store
        found = store.events(mac, after, limit) if after else store.latest_events(mac, limit)
        hosts = self._parts.cluster().by_mac
        return [show_event(number, event, hosts) for number, event in found]

    def follow(self, mac: str | None, after: int | None, flush: Callable[[], None] = lambda: None) -> Iterator[str]:
        """The same as server-sent events, from `after` on; None, or an id that is yet to come: from now on. `flush`
        sends what the client's socket had no room for. Raises TooMany at once."""
        if not self._free.acquire(blocking=False):
            raise TooMany(f"{FOLLOWERS} are following already", "close a page, or ask again later")
        return Stream(self._stream(mac, after, flush), self._free.release)

    def _stream(self, mac: str | None, after: int | None, flush: Callable[[], None]) -> Iterator[str]:
        latest = self._parts.store.latest_events(None, 1)
        end = latest[-1][0] if latest else 0
        # An id of the future is from before the state was restored from a backup: its number is yet to be given again.
        after = end if after is None else min(after, end)
        yield f"retry: 2000\nid: {after}\n\n"
        began = said_at = self._parts.now()
        while self.go_on() and 0 <= self._parts.now() - began < STREAM_S:
            found = self._parts.store.events(mac, after, MOST)
            hosts = self._parts.cluster().by_mac
            for number, event in found:
                after = number
                yield f"id: {number}\ndata: {json.dumps(show_event(number, event, hosts))}\n\n"
            now = self._parts.now()
            if found:
                said_at = now
            elif not 0 <= now - said_at < HEARTBEAT_S:
                yield ": still here\n\n"
                said_at = now
            self._parts.wait(POLL_S)
            flush()


class Stream:
    """An iterator whose place is given back exactly once, also when nobody ever took its first item."""

    def __init__(self, items: Iterator[str], release: Callable[[], None]) -> None:
        self._items = items
        self._release: Callable[[], None] | None = release

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        try:
            return next(self._items)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()


def show_event(number: int, event: Event, machines: Mapping[str, Machine]) -> dict[str, Any]:
    machine = machines.get(event.mac)
    return {
        "id": number,
        "at": event.at,
        "mac": event.mac,
        "host": machine.host if machine else "",
        "service": clean(event.service, 30),
        "step": clean(event.step, 60),
        "detail": clean(event.detail),
        "level": event.level if event.level in ("info", "warning") else "error",
    }


class InstallSteps:
    """The latest word of each machine's installer, kept up to date by reading only what is new."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._after = 0
        self._latest: dict[str, Event] = {}

    def read(self) -> Mapping[str, Event]:
        """By first MAC, of the machines of the description."""
        with self._lock:
            known = self._parts.cluster().by_mac
            while found := self._parts.store.events(None, self._after, 10 * MOST):
                self._after = found[-1][0]
                for _number, event in found:
                    machine = known.get(event.mac)
                    if machine is not None and event.service == Service.INSTALLER:
                        self._latest[machine.mac] = event
            return dict(self._latest)
