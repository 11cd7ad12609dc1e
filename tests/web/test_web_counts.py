"""Counting costs no answer anything: not its time, and not the answer itself."""

from __future__ import annotations

import threading

from fakes import FailingStore, MemoryStore

from bootstrapper.web.counts import Counts


class SlowStore(MemoryStore):
    """Its disk takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def save_counters(self, process: str, counters: object) -> None:
        self.go_on.wait(30)
        super().save_counters(process, counters)  # type: ignore[arg-type]


def test_what_was_counted_is_there_after_a_flush() -> None:
    store = MemoryStore()
    counts = Counts(store, "http")
    counts.name_worker(2)
    for _ in range(3):
        counts.add("http_claims")
    counts.flush(30)
    assert store.counters == {"http-2": {"http_claims": 3}}
    counts.flush(30)
    assert store.calls == ["save_counters"], "there was nothing new"


def test_it_is_kept_without_a_flush_too() -> None:
    store = MemoryStore()
    counts = Counts(store, "http")
    counts.add("http_claims")
    thread = counts._thread
    assert thread is not None
    thread.join(30)  # it ends once all is kept
    assert store.load_counters() == {"http_claims": 1}


def test_a_disk_that_is_slow_is_not_waited_for() -> None:
    store = SlowStore()
    counts = Counts(store, "http")
    counts.add("http_claims")
    counts.flush(0.01)
    for _ in range(1000):
        counts.add("http_claims")
    assert store.load_counters() == {}
    store.go_on.set()
    counts.flush(30)
    assert store.load_counters() == {"http_claims": 1001}


def test_a_full_disk_is_said_once_and_loses_nothing(caplog) -> None:
    store = FailingStore()
    counts = Counts(store, "http")
    for _ in range(3):
        counts.add("http_claims")
        counts.flush(30)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "counters of http cannot be stored: state.sqlite: the disk is full: nothing was written (make room)"
    ]
    counts._store = working = MemoryStore()
    counts.flush(30)
    assert working.load_counters() == {"http_claims": 3}
    assert caplog.records[-1].getMessage() == "counters of http are stored again"


def test_threads_that_cannot_be_had_are_no_fault(monkeypatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store = MemoryStore()
    counts = Counts(store, "http")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        counts.add("http_claims")
        counts.flush(30)
    counts.add("http_claims")
    counts.flush(30)
    assert store.load_counters() == {"http_claims": 2}
