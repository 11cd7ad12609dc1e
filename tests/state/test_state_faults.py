"""A full or locked disk: what fails, how soon, and what goes on working all the same."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rack import make_cluster, make_machine

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask
from bootstrapper.state.carry_out import carry_out
from bootstrapper.state.schema import StateError, Unwritable
from bootstrapper.state.sqlite import SqliteStore

MAC = "00:00:00:00:00:0a"
JOINED = History(1, 1, MachineState.JOINED, 5.0, booted_at=4.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


def test_a_forget_that_breaks_off_has_changed_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errands and its history go to the disk together: a machine is never forgotten here only."""

    def fail(*_: object) -> None:
        raise StateError("the disk is full")

    store = SqliteStore(path)
    store.save_history(MAC, JOINED)
    monkeypatch.setattr(store, "add_errand", fail)
    with pytest.raises(StateError):
        carry_out(store, make_cluster(make_machine(MAC, "alpha", "10.10.14.11")), MAC, Ask(Order.FORGET), 9.0)
    assert (store.find_history(MAC), store.load_errands()) == (JOINED, [])


def test_many_writers_of_a_locked_file_do_not_wait_one_after_the_other(path: Path) -> None:
    store = SqliteStore(path, wait_s=0.5)
    found: list[type[Exception]] = []

    def write() -> None:
        try:
            store.save_history(MAC, JOINED)
        except StateError as error:
            found.append(type(error))

    threads = [threading.Thread(target=write) for _ in range(12)]
    with locked(path):
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
    assert found == [Unwritable] * 12
    assert took < 4.0, "twice 0.5 s is what one may wait; one after the other they would take 6 s"
    store.save_history(MAC, JOINED)


def test_a_locked_file_is_read_and_opened(path: Path) -> None:
    store = SqliteStore(path)
    store.save_history(MAC, JOINED)
    with locked(path):
        assert store.find_history(MAC) == JOINED
        other = SqliteStore(path, wait_s=0.0)
        assert other.find_history(MAC) == JOINED


def test_who_polls_for_changes_never_waits_for_a_writer(path: Path) -> None:
    store = SqliteStore(path)
    before = store.data_version()
    store._lock.acquire()
    found: list[int] = []
    poller = threading.Thread(target=lambda: found.append(store.data_version()))
    poller.start()
    poller.join(10)
    store._lock.release()
    assert found == [before]


def test_a_probe_says_what_keeps_the_state_from_being_written(path: Path) -> None:
    store = SqliteStore(path, wait_s=0.05)
    store.probe()
    with locked(path), pytest.raises(Unwritable, match="another process has kept the state locked"):
        store.probe(0.01)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unwritable, match="the disk is full: nothing was written"):
        store.save_note("more", "x" * 100_000)
