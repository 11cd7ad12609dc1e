"""`/metrics`: the rack's figures; and the dashboard shows nothing that is not exported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rack import NODE1_MAC, NODE4_MAC

from bootstrapper.boot.causes import Cause
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.errors import UserError
from bootstrapper.pki.authority import load_identity
from bootstrapper.state.refused import describe_refused, keep_refused
from bootstrapper.state.store import Sighting

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "packaging" / "grafana-dashboard.json").read_text())
COUNTER = re.compile(r"""["']((?:dhcp|tftp|dns|http)_[a-z_]+)(?:\{\{?([a-z]+)=)?""")


def read(plane) -> dict[tuple[str, str], float]:
    """(metric, its label's value) -> value."""
    found = {}
    for family in text_string_to_metric_families(plane.get("/metrics").text):
        for sample in family.samples:
            found[sample.name.removeprefix("bootstrapper_"), ",".join(sample.labels.values())] = sample.value
    return found


def test_the_racks_figures(plane):
    plane.store.save_history(NODE1_MAC, History(done=1, state=MachineState.HELD, held="new memory"))
    plane.store.save_history(NODE4_MAC, History(state=MachineState.BOOTING, state_at=plane.clock - 7200))
    plane.store.save_sightings([Sighting("52:54:00:12:34:56", 1.0, 2.0, 3)])
    plane.store.save_description("x", 1.0)
    found = read(plane)
    assert found["machines", "held"] == 1
    assert found["machines", "booting"] == 1
    assert (found["machines_held", ""], found["machines_overdue", ""]) == (1, 1)
    assert (found["unknown_machines", ""], found["description_revision", ""]) == (1, 1)


def test_what_is_wrong_with_the_server_itself(plane, monkeypatch):
    def fail() -> None:
        raise UserError("state.db: the disk is full: nothing was written", "make room")

    found = read(plane)
    assert (found["description_refused", ""], found["state_writable", ""]) == (0, 1)
    keep_refused(plane.store, describe_refused(UserError("no such file"), "rack.yaml", plane.clock))
    monkeypatch.setattr(plane.store, "probe", fail)
    plane.clock += 6
    found = read(plane)
    assert (found["description_refused", ""], found["state_writable", ""]) == (1, 0)


def test_stopped_machines_by_cause(plane):
    plane.store.save_history(NODE4_MAC, History(state=MachineState.FAILED, state_at=plane.clock - 60))
    for service, step, detail in (("http", "script", "install for UEFI x64: open"), ("installer", "failed", "no disk")):
        plane.store.add_events([Event(plane.clock - 60, NODE4_MAC, service, step, detail, "error")])
    found = {cause: count for (name, cause), count in read(plane).items() if name == "machines_stopped"}
    assert set(found) == {each.value for each in Cause} | {"not_diagnosed"}
    assert sum(found.values()) == 1
    assert found["not_diagnosed"] == 0


def test_a_rack_that_all_stopped_costs_a_bounded_look(plane, monkeypatch):
    looks = []
    monkeypatch.setattr("bootstrapper.web.metrics.DIAGNOSED", 1)
    monkeypatch.setattr("bootstrapper.web.metrics.diagnose", lambda machine, *_: looks.append(machine.host))
    for mac in (NODE1_MAC, NODE4_MAC):
        plane.store.save_history(mac, History(state=MachineState.FAILED, state_at=plane.clock))
    for _ in range(5):
        assert read(plane)["machines_stopped", "not_diagnosed"] == 2
    assert len(looks) == 1
    plane.clock += 16
    read(plane)
    assert len(looks) == 2


def test_certificates_by_their_end(plane, tmp_path):
    plane.state = tmp_path
    load_identity(tmp_path / "pki", "bootstrapper.prod.example.com", [], plane.clock)
    found = read(plane)
    assert found["certificate_expiry_seconds", "https"] == pytest.approx(397 * 86400, abs=86400)
    (tmp_path / "pki" / "server.pem").write_text("nothing")
    plane.clock += 61
    assert "machines" in {name for name, _ in read(plane)}


def list_expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_the_dashboard_names_only_what_is_exported(plane, tmp_path):
    plane.state = tmp_path
    load_identity(tmp_path / "pki", "bootstrapper.prod.example.com", [], plane.clock)
    plane.boot()
    labels = {}
    for family in text_string_to_metric_families(plane.get("/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for source in (ROOT / "bootstrapper").rglob("*.py"):
        text = source.read_text()
        for name, label in COUNTER.findall(text):
            labels.setdefault(f"bootstrapper_{name}_total", set()).update([label] if label else [])
        for name, label in re.findall(r'CounterSaver\(store, "\w+", "(\w+)", "(\w+)"', text):
            labels.setdefault(f"bootstrapper_{name}_total", set()).add(label)
    expressions = list_expressions()
    assert len(expressions) > 25
    for expression in expressions:
        (name,) = re.findall(r"bootstrapper_[a-z_]+", expression)
        assert name in labels, expression
        for used in re.findall(r"by \((\w+)\)|,(\w+)=", expression):
            assert set(filter(None, used)) <= labels[name], expression


def test_the_dashboard_shows_every_figure_of_the_rack(plane):
    shown = " ".join(list_expressions())
    gauges = {name for name, _ in read(plane) if not name.endswith("_total")} | {"certificate_expiry_seconds"}
    assert {name for name in gauges if f"bootstrapper_{name}{{" not in shown} == set()


def test_the_dashboard_has_a_form_that_grafana_loads():
    assert DASHBOARD["uid"] == "bootstrapper"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] in ("row", "stat", "timeseries", "bargauge")
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "job"]
