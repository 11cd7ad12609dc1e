"""`/metrics`: what all processes counted, and how the rack is, in Prometheus' format.

Every label's values are a closed set: states, causes, names of certificates; never what a client sent, never a machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from bootstrapper.boot.causes import Cause
from bootstrapper.boot.claim import ClaimRefusal
from bootstrapper.boot.diagnosis import diagnose
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import find_overdue, find_state
from bootstrapper.errors import UserError
from bootstrapper.pki.listing import list_rows
from bootstrapper.state.refused import load_refused
from bootstrapper.web.admin.fresh import Fresh
from bootstrapper.web.parts import Parts

SERIES = re.compile(r"([a-z][a-z0-9_]*)(?:\{(.*)\})?")
LABEL = re.compile(r'([a-z][a-z0-9_]*)="([^"\\]*)"')
CAUSES_S, CERTIFICATES_S, WRITABLE_S = 15.0, 60.0, 5.0
"How old what costs more than a look may be: anyone on the segment may ask as often as they like."
EVENTS = 200
"Of a machine that is diagnosed."
DIAGNOSED = 200
"Machines at most; where more have stopped, the rest counts as `not_diagnosed`."
NOT_DIAGNOSED = "not_diagnosed"
FROM_ZERO = ("http_claims_again", *(f'http_claims_refused{{reason="{refusal}"}}' for refusal in ClaimRefusal))
"There from the start: of a series that begins with 1, Prometheus' `increase` does not see the first."


class Metrics:
    """For one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._causes = Fresh(self._count_causes, CAUSES_S, parts.now)
        self._writable = Fresh(self._probe, WRITABLE_S, parts.now)
        self._certificates = Fresh(self._find_ends, CERTIFICATES_S, parts.now)

    def render(self) -> tuple[str, str]:
        """(text, content type)."""
        registry = CollectorRegistry(auto_describe=False)
        counters = {**dict.fromkeys(FROM_ZERO, 0), **self._parts.store.load_counters()}
        registry.register(RackCollector(counters, tuple(self._list_gauges())))
        return generate_latest(registry).decode(), CONTENT_TYPE_LATEST

    def _list_gauges(self) -> Iterator[GaugeMetricFamily]:
        store, now = self._parts.store, self._parts.now()
        histories = self._load_histories()
        states = Counter(find_state(history) for history in histories.values())
        held = sum(bool(history.held) for history in histories.values())
        overdue = sum(bool(find_overdue(history, now)) for history in histories.values())
        kept = store.load_description()
        ends = {name: end.timestamp() - now for name, end in self._certificates.get().items()}
        yield _gauge("machines", "Machines of the description by state", "state",
                     {state.value: states[state] for state in MachineState})  # fmt: skip
        yield _gauge("machines_held", "Machines on hold", "", {"": held})
        yield _gauge("machines_overdue", "Machines that are in a state longer than they should", "", {"": overdue})
        yield _gauge("machines_stopped", "Machines that do not get on, by the cause that was found", "cause",
                     self._causes.get())  # fmt: skip
        yield _gauge("unknown_machines", "Machines that asked and are not in the description", "",
                     {"": len(store.load_sightings())})  # fmt: skip
        yield _gauge("description_revision", "Of the description in force", "", {"": kept[0] if kept else 0})
        yield _gauge("description_refused", "1 while the description's file is not in force, for it was refused", "",
                     {"": int(load_refused(store) is not None)})  # fmt: skip
        yield _gauge("state_writable", "0 while the state cannot be written: its disk is full, or it is locked", "",
                     {"": self._writable.get()})  # fmt: skip
        yield _gauge("certificate_expiry_seconds", "Until the first certificate of this name ends; negative: it has",
                     "name", ends)  # fmt: skip

    def _load_histories(self) -> Mapping[str, History]:
        """Of the description's machines, by first MAC."""
        kept = self._parts.store.load_histories()
        return {machine.mac: kept.get(machine.mac, History()) for machine in self._parts.cluster().machines}

    def _count_causes(self) -> Mapping[str, int]:
        store, now = self._parts.store, self._parts.now()
        by_mac = self._parts.cluster().by_mac
        around = [event for _id, event in store.latest_events("", EVENTS)]
        strangers = store.load_sightings()
        counts = Counter({cause.value: 0 for cause in Cause} | {NOT_DIAGNOSED: 0})
        stopped = [(mac, history) for mac, history in self._load_histories().items() if _has_stopped(history, now)]
        for mac, history in stopped[:DIAGNOSED]:
            own = [event for _id, event in store.latest_events(mac, EVENTS)]
            found = diagnose(by_mac[mac], history, own, now, around, strangers)
            counts[found.cause.value if found else NOT_DIAGNOSED] += 1
        counts[NOT_DIAGNOSED] += len(stopped[DIAGNOSED:])
        return counts

    def _probe(self) -> int:
        try:
            self._parts.store.probe()
        except UserError:
            return 0
        return 1

    def _find_ends(self) -> Mapping[str, datetime]:
        """Name -> when the first certificate of that name ends."""
        ends: dict[str, datetime] = {}
        if self._parts.state is None:
            return ends
        with suppress(UserError):  # keys that cannot be read: whoever uses them says so, and the rest is still told
            for row in list_rows(self._parts.state, self._parts.cluster(), self._parts.now()):
                ends[row.name] = min(ends.get(row.name, row.not_after), row.not_after)
        return ends


def _has_stopped(history: History, now: float) -> bool:
    return find_state(history) is MachineState.FAILED or bool(find_overdue(history, now))


def _gauge(name: str, words: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"bootstrapper_{name}", words, labels=[label] if label else [])
    for value, count in values.items():
        family.add_metric([value] if label else [], count)
    return family


class RackCollector(Collector):
    def __init__(self, counters: Mapping[str, int], gauges: tuple[GaugeMetricFamily, ...]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        families: dict[tuple[str, tuple[str, ...]], CounterMetricFamily] = {}
        for series, value in self._counters.items():
            matched = SERIES.fullmatch(series)
            if matched is None:
                continue
            labels = dict(LABEL.findall(matched[2] or ""))
            name, names = f"bootstrapper_{matched[1]}", tuple(labels)
            if (name, names) not in families:
                families[name, names] = CounterMetricFamily(name, matched[1].replace("_", " "), labels=names)
            families[name, names].add_metric(list(labels.values()), value)
        yield from families.values()
        yield from self._gauges
