"""Events wait for the disk, and nobody for them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from fakes import MemoryStore

from bootstrapper.boot.events import Event
from bootstrapper.servers import recorder as recorders
from bootstrapper.servers.counters import CounterSaver
from bootstrapper.servers.recorder import Recorder
from bootstrapper.state.schema import Unwritable

MAC = "52:54:00:00:00:01"


class Disk(MemoryStore):
    """Full as long as the test says so; `tried` is set at each attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Exception | None = Unwritable("state.db: the disk is full: nothing was written", "make room")
        self.tried = threading.Semaphore(0)

    def add_events(self, events: Sequence[Event]) -> None:
        self._try(lambda: super(Disk, self).add_events(events))

    def save_counters(self, process: str, counters: object) -> None:
        self._try(lambda: super(Disk, self).save_counters(process, counters))  # type: ignore[arg-type]

    def _try(self, write: Callable[[], None]) -> None:
        try:
            if self.fault is not None:
                raise self.fault
            write()
        finally:
            self.tried.release()


def told(number: int) -> Event:
    return Event(float(number), MAC, "http", "script", f"number {number}")


def said(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    return [text for text in (each.getMessage() for each in caplog.records) if any(word in text for word in words)]


def wait(disk: Disk, times: int) -> None:
    for _ in range(times):
        assert disk.tried.acquire(timeout=20)


def test_events_of_a_full_disk_are_stored_later_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    recorder = Recorder(disk, {}, again_s=0.01)
    recorder.record(told(1))
    wait(disk, 3)
    recorder.record(told(2))
    wait(disk, 3)
    disk.fault = None
    recorder.stop()
    assert [event for _, event in disk.kept_events] == [told(1), told(2)]
    assert said(caplog, "stored") == [
        "events cannot be stored: state.db: the disk is full: nothing was written (make room)",
        "events are stored again",
    ]


def test_what_found_no_room_is_counted_and_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorders, "BOUND", 10)
    disk = Disk()
    recorder = Recorder(disk, {}, now=lambda: 99.0, again_s=0.01)
    recorder.record(told(0))
    wait(disk, 2)
    for number in range(1, 26):
        recorder.record(told(number))
    wait(disk, 2)
    disk.fault = None
    recorder.stop()
    lost, *kept = [event for _, event in disk.kept_events]
    assert (lost.at, lost.mac, lost.service, lost.step, lost.level) == (99.0, "", "state", "events lost", "error")
    count = int(lost.detail.split()[0])
    assert lost.detail == f"{count} events are in the log only: the state could not be written for a while"
    assert count + len(kept) == 26
    assert kept[-10:] == [told(number) for number in range(16, 26)]
    assert kept == sorted(kept, key=lambda event: event.at), "an attempt under way may have had the first in its hands"
    assert said(caplog, "stored again") == [f"events are stored again: {lost.detail}"]


def test_what_is_lost_at_the_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(Disk(), {}, again_s=0.01)
    recorder.record(told(1))
    recorder.stop()
    assert said(caplog, "in this log") == ["1 events could not be stored (they are in this log)"]


def test_an_event_that_cannot_be_stored_for_its_own_sake_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    disk.fault = ValueError("no such event")
    recorder = Recorder(disk, {}, again_s=0.01)
    recorder.record(told(1))
    wait(disk, 1)
    disk.fault = None
    recorder.record(told(2))
    recorder.stop()
    assert [event for _, event in disk.kept_events] == [told(2)]


def test_counters_of_a_full_disk_are_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootstrapper.servers.counters.SAVE_S", 0.01)
    disk = Disk()
    saver = CounterSaver(disk, "tftp", "tftp_requests", "outcome", Counter({"tftp-sent": 3}))
    wait(disk, 4)
    disk.fault = None
    saver.stop()
    assert disk.load_counters() == {'tftp_requests{outcome="tftp-sent"}': 3}
    assert said(caplog, "stored") == [
        "counters of tftp cannot be stored: state.db: the disk is full: nothing was written (make room)",
        "counters of tftp are stored again",
    ]
