"""The DHCP server's one thread for the disk: it saves leases and only then sends their replies (design.md rule 4).

All leases that wait are saved in one transaction, and while it is flushed the next ones gather: the slower the disk,
the larger the transactions. The loop in `dhcp` never waits for the disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from bootstrapper.answers.dhcp import Reply, Seen
from bootstrapper.answers.leases import Lease
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.errors import UserError
from bootstrapper.servers.dhcp_send import Transmitter
from bootstrapper.servers.logs import LOGGER
from bootstrapper.state.store import LeaseChange, Sighting, Store

PERIOD_S = 0.1
"How often other processes' changes are looked for, and how long a thing that is not urgent waits."
SLOW_PERIOD_S = 1.0
BOUND = 20_000
"Leases that wait for the disk; beyond that requests go unanswered, and clients ask again."
MOST_SIGHTINGS = 10_000
SIGHTINGS_PER_ROUND = 1_000
"""Of a storm of strangers the rest wait for the next second, and beyond MOST_SIGHTINGS are forgotten until they ask
again: the list must not cost the machines of the description their answers."""
COMPLAIN_S = 10.0
MOST_LINES = 20
"Of unknown machines, per second."


class Waiting(NamedTuple):
    lease: Lease
    reply: Reply | None
    transmitter: Transmitter
    event: Event | None
    gone: bool = False
    "The lease is to be deleted."


class Keeper:
    def __init__(
        self,
        store: Store,
        record: Callable[[Event], None],
        name_vendor: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Reads the histories and sightings; `record` is told an event once its lease is on disk."""
        self.histories: dict[str, History] = {}
        "What the loop reads; replaced entry by entry as other processes write."
        self.lease_changes: deque[LeaseChange] = deque()
        "What admins' orders did to leases on disk; the loop takes them and does the same to those in its memory."
        self.counters: Counter[str] = Counter()
        "The loop counts here; saved each second."
        self._store = store
        self._record = record
        self._name_vendor = name_vendor
        self._clock = clock
        self._waiting: deque[Waiting] = deque()
        self._seen: deque[tuple[float, Seen]] = deque(maxlen=MOST_SIGHTINGS)
        self._sightings = OrderedDict((each.mac, each) for each in reversed(store.load_sightings()))
        self._saved_counters: Mapping[str, int] = {}
        self._version = store.data_version()
        self._lease_mark = store.lease_mark()
        self._mark, changed = store.changed_histories(0)
        self.histories.update(changed)
        self._wake = threading.Event()
        self._stopping = False
        self._complained_at = float("-inf")
        self._unsaid = 0
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Save and answer what waits, then end."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)

    def save(self, waiting: Sequence[Waiting]) -> int:
        """Take leases to save and replies to send after that; returns how many found no room."""
        room = max(0, BOUND - len(self._waiting))
        self.put(waiting[:room] if room < len(waiting) else waiting)
        return max(0, len(waiting) - room)

    def put(self, waiting: Sequence[Waiting]) -> None:
        """As `save`, for what no client can multiply: there is always room."""
        self._waiting.extend(waiting)
        # Set and not cleared yet: it has still to look, and finds these too. Waking it once more takes a lock.
        if not self._wake.is_set():
            self._wake.set()

    def see(self, seen: Seen, now: float) -> None:
        self._seen.append((now, seen))

    # -- the thread -------------------------------------------------------------
    def _run(self) -> None:
        slow_at = period_at = time.monotonic()
        while not (self._stopping and not self._waiting):
            if not self._waiting:
                self._wake.wait(PERIOD_S)
            self._wake.clear()
            self._guard(self._commit)
            now = time.monotonic()
            if now >= period_at:
                period_at = now + PERIOD_S
                self._guard(self._refresh)
            if now >= slow_at:
                slow_at = now + SLOW_PERIOD_S
                self._guard(self._save_figures)
        while self._seen:
            self._guard(self._save_figures)
        self._guard(self._save_figures)

    def _guard(self, work: Callable[[], None]) -> None:
        """This thread never ends by a fault: without it no machine would ever get a lease again."""
        try:
            work()
        except Exception as error:
            now = time.monotonic()
            if now < self._complained_at + COMPLAIN_S:
                return
            self._complained_at = now
            if isinstance(error, UserError):
                logging.getLogger(LOGGER).error("dhcp: %s (%s)", error.message, error.hint)
            else:
                logging.getLogger(LOGGER).exception("dhcp: the state could not be kept")

    def _commit(self) -> None:
        waiting = self._waiting
        if not waiting:
            return
        batch = [waiting.popleft() for _ in range(len(waiting))]
        try:
            for gone, run in groupby(batch, key=attrgetter("gone")):
                if gone:
                    self._store.delete_leases([each.lease.address for each in run])
                else:
                    self._store.save_leases([each.lease for each in run])
        except Exception as error:
            self._refuse(sum(each.reply is not None for each in batch), error)
            return
        by_transmitter: dict[Transmitter, list[Reply]] = {}
        for _, reply, transmitter, event, _ in batch:
            if reply is not None:
                by_transmitter.setdefault(transmitter, []).append(reply)
            if event is not None:
                self._record(event)
        for transmitter, replies in by_transmitter.items():
            transmitter.send(replies)

    def _refuse(self, count: int, error: Exception) -> None:
        """No ACK for what is not on disk. Loud, but not once per packet."""
        self.counters['dhcp_dropped{reason="dhcp-lease-not-saved"}'] += count
        self._unsaid += count
        now = time.monotonic()
        if now < self._complained_at + COMPLAIN_S:
            return
        message, hint = (error.message, error.hint) if isinstance(error, UserError) else (repr(error), "")
        logging.getLogger(LOGGER).error(
            "dhcp: %d requests were NOT acknowledged, for their leases could not be saved: %s%s",
            self._unsaid,
            message,
            f" ({hint})" if hint else "",
        )
        self._complained_at = now
        self._unsaid = 0

    def _refresh(self) -> None:
        version = self._store.data_version()
        if version != self._version:
            self._mark, changed = self._store.changed_histories(self._mark)
            self.histories.update(changed)
            self._lease_mark, changes = self._store.changed_leases(self._lease_mark)
            self.lease_changes.extend(changes)
            self._version = version

    def _save_figures(self) -> None:
        fresh = [self._seen.popleft() for _ in range(min(len(self._seen), SIGHTINGS_PER_ROUND))]
        if fresh:
            self._store.save_sightings(list(self._merge(fresh)))
        counters = dict(self.counters)
        if counters != self._saved_counters:
            self._store.save_counters("dhcp", counters)
            self._saved_counters = counters

    def _merge(self, fresh: Iterable[tuple[float, Seen]]) -> Iterable[Sighting]:
        """The sightings that changed."""
        changed: dict[str, Sighting] = {}
        strangers: list[Sighting] = []
        for now, seen in fresh:
            before = self._sightings.pop(seen.mac, None)
            after = Sighting(
                mac=seen.mac,
                first_at=before.first_at if before else now,
                last_at=now,
                count=before.count + 1 if before else 1,
                vendor=before.vendor if before else self._name_vendor(seen.mac),
                uuid=seen.uuid or (before.uuid if before else ""),
                arch=seen.arch or (before.arch if before else ""),
                address=seen.address or (before.address if before else ""),
                vendor_class=seen.vendor_class or (before.vendor_class if before else ""),
                host_name=seen.host_name or (before.host_name if before else ""),
            )
            if before is None:
                strangers.append(after)
            self._sightings[seen.mac] = changed[seen.mac] = after
            if len(self._sightings) > MOST_SIGHTINGS:
                self._sightings.popitem(last=False)
        _log_strangers(strangers)
        return changed.values()


def _log_strangers(strangers: Sequence[Sighting]) -> None:
    """A line for each machine never seen before; of a storm of them only the first few, and how many more."""
    logger = logging.getLogger(LOGGER)
    for seen in strangers[:MOST_LINES]:
        policy = f"given {seen.address}" if seen.address else "not answered"
        logger.info("dhcp: %s (%s) is not in the description: %s", seen.mac, seen.vendor or "unknown vendor", policy)
    more = len(strangers) - MOST_LINES
    if more > 0:
        logger.info("dhcp: %d more machines that are not in the description; see the list of them", more)
