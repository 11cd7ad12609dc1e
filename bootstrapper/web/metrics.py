"""`/metrics`: what all processes counted, and how many machines are in which state, in Prometheus' format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.model import Cluster
from bootstrapper.state.store import Store

SERIES = re.compile(r"([a-z][a-z0-9_]*)(?:\{(.*)\})?")
LABEL = re.compile(r'([a-z][a-z0-9_]*)="([^"\\]*)"')


class StateCollector(Collector):
    def __init__(self, counters: Mapping[str, int], states: Mapping[MachineState, int]) -> None:
        self._counters = counters
        self._states = states

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
        machines = GaugeMetricFamily("bootstrapper_machines", "Machines of the description by state", labels=["state"])
        for state in MachineState:
            machines.add_metric([str(state)], self._states.get(state, 0))
        yield machines


def render_metrics(store: Store, cluster: Cluster) -> tuple[str, str]:
    """(text, content type)."""
    histories = store.load_histories()
    states = Counter(histories.get(machine.mac, History()).state for machine in cluster.machines)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(store.load_counters(), states))
    return generate_latest(registry).decode(), CONTENT_TYPE_LATEST
