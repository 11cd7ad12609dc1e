"""Small bounded memories: who was reported lately, and who is going round in a boot loop.

All hold at most a fixed number of MACs; when one is full, the longest unheard are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_MACS = 16_384
SIGHTING_S = 10.0
NOTICE_S = 1.0
MOST_NOTICES = 20
NOTICES_S = 10.0
MOST_HOURLY = 200
HOUR_S = 3600.0
LOOP_COUNT = 5
LOOP_S = 300.0


class Sightings:
    """At most one sighting of a MAC per ten seconds: a flood of requests must not become a flood of records."""

    def __init__(self) -> None:
        self._seen_at: OrderedDict[str, float] = OrderedDict()

    def due(self, mac: str, now: float) -> bool:
        at = self._seen_at.get(mac)
        if at is not None and 0 <= now - at < SIGHTING_S:
            return False
        self._seen_at[mac] = now
        if len(self._seen_at) > MOST_MACS:
            self._seen_at.popitem(last=False)
        return True


class Notices:
    """Firmware retransmits, and anybody can copy a known MAC: the same step of a machine within a second is one event,
    and twenty in ten seconds are enough (a boot has eight). Two hundred in an hour are, too: a thousand are kept of a
    machine, and whoever copies its MAC is not to push out the others within minutes."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, _Noticed] = OrderedDict()

    def due(self, mac: str, step: str, detail: str, now: float) -> bool:
        last = self._last.get(mac)
        if last is None:
            last = self._last[mac] = _Noticed(now)
            if len(self._last) > MOST_MACS:
                self._last.popitem(last=False)
        elif 0 <= now - last.at < NOTICE_S and last.step == step and last.detail == detail:
            return False
        if not 0 <= now - last.window_at < NOTICES_S:
            last.window_at, last.count = now, 0
        if not 0 <= now - last.hour_at < HOUR_S:
            last.hour_at, last.hourly = now, 0
        last.at, last.step, last.detail = now, step, detail
        last.count += 1
        told = last.count <= MOST_NOTICES and last.hourly < MOST_HOURLY
        last.hourly += told
        return told


class _Noticed:
    __slots__ = ("at", "count", "detail", "hour_at", "hourly", "step", "window_at")

    def __init__(self, now: float) -> None:
        self.at = self.window_at = self.hour_at = now
        self.step = self.detail = ""
        self.count = self.hourly = 0


class Handouts:
    """Counts how often a firmware was given iPXE since it last came back as iPXE (reference A6.4)."""

    def __init__(self) -> None:
        self._given_at: OrderedDict[str, list[float]] = OrderedDict()

    def count(self, mac: str, now: float) -> int:
        """One more; how many there were in the last five minutes."""
        times = self._given_at.setdefault(mac, [])
        times.append(now)
        while times[0] < now - LOOP_S or len(times) > 2 * LOOP_COUNT:
            times.pop(0)
        if len(self._given_at) > MOST_MACS:
            self._given_at.popitem(last=False)
        return len(times)

    def clear(self, mac: str) -> None:
        self._given_at.pop(mac, None)


def clean(data: bytes, most: int = 64) -> str:
    """Bytes a client sent, fit for logs and pages: printable ASCII, everything else as `?`."""
    return data[:most].rstrip(b"\0").translate(_PRINTABLE).decode("ascii")


_PRINTABLE = bytes(each if 32 <= each < 127 else ord("?") for each in range(256))
