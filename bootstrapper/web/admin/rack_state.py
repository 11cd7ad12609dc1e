"""The rack as browsers last saw it, so that each is sent only the rows that changed since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bootstrapper.web.admin.fresh import Fresh
from bootstrapper.web.admin.views import Row, make_digest

FRESH_S = 1.0
"So old the rows may be; many browsers that ask in one second cost one reading."
KEPT = 32
"Earlier versions that are remembered: a browser asks every two seconds."


@dataclass(frozen=True, slots=True)
class Seen:
    version: str
    "A digest of the rows: the same in every process."
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Change:
    version: str
    rows: tuple[Row, ...]
    "Those that differ."
    anew: bool = False
    "The browser's version is forgotten, or machines came or went: the whole page is to be read again."


class RackState:
    def __init__(self, read: Callable[[], Sequence[Row]], now: Callable[[], float]) -> None:
        self._read = read
        self._fresh = Fresh(self._see, FRESH_S, now)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Seen] = OrderedDict()

    def see(self) -> Seen:
        return self._fresh.get()

    def find_change(self, version: str) -> Change:
        """What is new to a browser that shows `version`."""
        seen = self.see()
        if version == seen.version:
            return Change(version, ())
        with self._lock:
            before = self._kept.get(version)
        if before is None or [row.mac for row in before.rows] != [row.mac for row in seen.rows]:
            return Change(seen.version, (), anew=True)
        changed = tuple(row for old, row in zip(before.rows, seen.rows, strict=True) if old != row)
        return Change(seen.version, changed)

    def _see(self) -> Seen:
        rows = tuple(self._read())
        seen = Seen(make_digest([tuple(asdict(row).values()) for row in rows]), rows)
        with self._lock:
            self._kept[seen.version] = seen
            self._kept.move_to_end(seen.version)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return seen
