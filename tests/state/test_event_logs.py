"""What a failure's log costs: the latest few of a machine are kept."""

from __future__ import annotations

from pathlib import Path

from bootstrapper.boot.events import Event
from bootstrapper.state.sqlite import LOGS_PER_MACHINE, SqliteStore


def test_the_latest_logs_of_a_machine_are_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    other = Event(1.0, "b", "system", "unit", "failed", "warning", "other")
    store.add_events([other])
    for number in range(LOGS_PER_MACHINE + 5):
        store.add_events([Event(2.0, "a", "system", "unit", "", "warning", f"log {number}")])
        store.add_events([Event(2.0, "a", "system", "unit", "no log")])
    kept = [event.more for _, event in store.events("a") if event.detail != "no log"]
    assert kept == [""] * 5 + [f"log {number}" for number in range(5, LOGS_PER_MACHINE + 5)]
    assert store.events("b") == [(1, other)]
    store.close()
