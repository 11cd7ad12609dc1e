"""Forwarded replies, kept for as long as they say; bounded, the least used go first. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from bootstrapper.answers.dns_forward import Stored
from bootstrapper.wire import dns as wire

MAX_KEPT_SIZE = 4096
"Octets; a reply larger than this is rare, and thousands of them would be too much memory."

Key = tuple[bytes, int, int, int, bool]


def cache_key(query: wire.Query) -> Key:
    """What a forwarder's reply depends on: the question, and whether validation was to be skipped or shown."""
    dnssec = query.edns.dnssec if query.edns else False
    return query.name, query.qtype, query.qclass, query.flags & wire.CD, dnssec


@dataclass(slots=True)
class _Entry:
    stored: Stored
    at: float
    expires_at: float


class DnsCache:
    """All times are seconds of one monotonic clock."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, now: float) -> tuple[Stored, int] | None:
        """The reply and its age in whole seconds."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.expires_at:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry.stored, int(now - entry.at)

    def put(self, key: Key, stored: Stored, now: float) -> None:
        if stored.ttl_s <= 0 or len(stored.wire) > MAX_KEPT_SIZE:
            return
        self._entries[key] = _Entry(stored, now, now + stored.ttl_s)
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
