"""The events as they come: a list, and the latest of each machine."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from bootstrapper.boot.events import Event
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean

MOST = 1000
"Events in one answer; as many as are kept of a machine."


class Feed:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def list(self, mac: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Oldest first; the latest `limit` when `after` is 0. `mac` None: of all."""
        limit = max(1, min(limit, MOST))
        found = self._parts.store.events(mac, after, MOST if after == 0 else limit)
        if after == 0 and mac is None and len(found) == MOST:
            found = self._parts.store.events(None, self.last_id() - limit, limit)
        hosts = self._parts.cluster().by_mac
        return [show_event(number, event, hosts) for number, event in found[-limit:]]

    def last_id(self) -> int:
        """The id of the latest event; 0: there is none."""
        low, found = 0, self._parts.store.events(None, 0, 1)
        # Ids only rise, so the end is found by doubling steps instead of reading 100,000 rows.
        step = 1
        while found:
            low = found[-1][0]
            found = self._parts.store.events(None, low + step, 1)
            step = step * 2 if found else 1
            if not found:
                found = self._parts.store.events(None, low, 1)
        return low


def show_event(number: int, event: Event, hosts: Mapping[str, Any]) -> dict[str, Any]:
    machine = hosts.get(event.mac)
    return {
        "id": number,
        "at": event.at,
        "mac": event.mac,
        "host": machine.host if machine else "",
        "service": event.service,
        "step": clean(event.step, 60),
        "detail": clean(event.detail),
        "level": event.level,
    }


class Latest:
    """Each machine's latest event, and its installer's, kept up to date by reading only what is new."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._after = 0
        self._events: dict[str, tuple[int, Event]] = {}
        self._installer: dict[str, Event] = {}

    def read(self) -> tuple[Mapping[str, tuple[int, Event]], Mapping[str, Event]]:
        """(first MAC -> (id, its latest event), first MAC -> its installer's latest)."""
        with self._lock:
            known = self._parts.cluster().by_mac
            while found := self._parts.store.events(None, self._after, MOST):
                self._after = found[-1][0]
                for number, event in found:
                    machine = known.get(event.mac)
                    if machine is not None:
                        self._events[machine.mac] = (number, event)
                        if event.service == "installer":
                            self._installer[machine.mac] = event
            return self._events, self._installer
