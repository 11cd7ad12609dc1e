"""No reply before its lease is saved; none at all when it cannot be; the rest is kept in its time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address

import pytest
from fakes import FailingStore, MemoryStore

from bootstrapper.answers.dhcp import Destination, Reply, Seen, Way
from bootstrapper.answers.leases import Lease
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.servers.dhcp_keeper import Keeper, Waiting
from bootstrapper.state.store import Sighting

MAC = "52:54:00:00:00:01"
TO = Destination(Way.BROADCAST, "255.255.255.255", 68)
EVENT = Event(1.0, MAC, "dhcp", "ack", "10.20.0.100")


class Line:
    """Stands for a transmitter: remembers what was sent, and what the store held at that moment."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.sent: list[bytes] = []
        self.saved_when_sent: list[int] = []

    def send(self, replies: Sequence[Reply]) -> None:
        self.sent += [reply.payload for reply in replies]
        self.saved_when_sent += [len(self.store.leases)] * len(replies)


def lease(number: int, mac: str = MAC) -> Lease:
    return Lease(IPv4Address(0x0A140064 + number), mac, 100.0)


def until(what: Callable[[], object], timeout: float = 3) -> None:
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.005)


@pytest.fixture
def recorded() -> list[Event]:
    return []


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def line(store: MemoryStore) -> Line:
    return Line(store)


@pytest.fixture
def keeper(store: MemoryStore, recorded: list[Event]) -> Iterator[Keeper]:
    made = Keeper(store, recorded.append, lambda mac: "QEMU", lambda: 50.0)
    made.start()
    yield made
    made.stop()


def waiting(number: int, line: Line, event: Event | None = None) -> Waiting:
    return Waiting(lease(number), Reply(b"%d" % number, TO), line, event)  # type: ignore[arg-type]


def test_saved_first_then_sent_then_recorded(
    keeper: Keeper, store: MemoryStore, line: Line, recorded: list[Event]
) -> None:
    assert keeper.save([waiting(number, line, EVENT) for number in range(3)]) == 0
    until(lambda: len(line.sent) == 3)
    assert line.sent == [b"0", b"1", b"2"]
    assert line.saved_when_sent == [3, 3, 3]
    assert recorded == [EVENT] * 3
    assert store.calls.count("save_leases") == 1


def test_what_waits_while_the_disk_is_busy_goes_in_one_transaction(
    keeper: Keeper, store: MemoryStore, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, save = threading.Event(), store.save_leases
    sizes: list[int] = []

    def slow(leases: Sequence[Lease]) -> None:
        sizes.append(len(leases))
        busy.wait(3)
        save(leases)

    monkeypatch.setattr(store, "save_leases", slow)
    keeper.save([waiting(0, line)])
    until(lambda: sizes == [1])
    for number in range(1, 50):
        keeper.save([waiting(number, line)])
    assert line.sent == []
    busy.set()
    until(lambda: len(line.sent) == 50)
    assert sizes == [1, 49]


def test_a_lease_without_a_reply_is_saved_too(keeper: Keeper, store: MemoryStore, line: Line) -> None:
    keeper.save([Waiting(lease(7), None, line, None)])  # type: ignore[arg-type]
    until(lambda: store.leases)
    assert line.sent == []


def test_no_reply_when_the_disk_fails_and_the_log_says_so_once(
    line: Line, recorded: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(FailingStore(), recorded.append, lambda mac: "", lambda: 50.0)
    keeper.start()
    with caplog.at_level(logging.ERROR, "bootstrapper"):
        for number in range(5):
            keeper.save([waiting(number, line, EVENT)])
            time.sleep(0.02)
        until(lambda: keeper.counters['dhcp_dropped{reason="dhcp-lease-not-saved"}'] == 5)
    keeper.stop()
    assert (line.sent, recorded) == ([], [])
    loud = [record.getMessage() for record in caplog.records if "NOT acknowledged" in record.getMessage()]
    assert len(loud) == 1
    assert loud[0].endswith(
        "their leases could not be saved: state.sqlite: the disk is full: nothing was written (make room)"
    )


def test_it_works_again_when_the_disk_does(
    keeper: Keeper, store: MemoryStore, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OSError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(store, "save_leases", fail)
        keeper.save([waiting(0, line)])
        until(lambda: keeper.counters['dhcp_dropped{reason="dhcp-lease-not-saved"}'] == 1)
    keeper.save([waiting(1, line)])
    until(lambda: line.sent == [b"1"])


def test_the_queue_is_bounded(store: MemoryStore, line: Line, recorded: list[Event]) -> None:
    keeper = Keeper(store, recorded.append, lambda mac: "", lambda: 50.0)  # its thread does not run yet
    assert keeper.save([waiting(number, line) for number in range(19_990)]) == 0
    assert keeper.save([waiting(number, line) for number in range(30)]) == 20
    assert keeper.save([waiting(0, line)]) == 1
    keeper.put([waiting(0, line)])
    assert len(keeper._waiting) == 20_001


def test_stopping_answers_what_waits(store: MemoryStore, line: Line, recorded: list[Event]) -> None:
    keeper = Keeper(store, recorded.append, lambda mac: "", lambda: 50.0)
    keeper.save([waiting(number, line) for number in range(100)])
    keeper.counters["dhcp_received"] = 100
    keeper.start()
    keeper.stop()
    assert len(line.sent) == 100
    assert store.counters == {"dhcp": {"dhcp_received": 100}}


def test_other_processes_histories_are_seen(store: MemoryStore, recorded: list[Event]) -> None:
    store.save_history(MAC, History(wanted=2))
    keeper = Keeper(store, recorded.append, lambda mac: "", lambda: 50.0)
    assert keeper.histories == {MAC: History(wanted=2)}
    keeper.start()
    store.save_history(MAC, History(wanted=3))
    store.version += 1
    until(lambda: keeper.histories == {MAC: History(wanted=3)})
    keeper.stop()


def test_sightings_are_counted_on_from_what_is_kept(store: MemoryStore, recorded: list[Event]) -> None:
    store.save_sightings([Sighting(MAC, 1.0, 2.0, 7, "Maker", "uuid", "UEFI x64", "10.20.0.100")])
    keeper = Keeper(store, recorded.append, lambda mac: "QEMU", lambda: 50.0)
    keeper.see(Seen(MAC, "", "", "PXEClient", "name", ""), 59.0)
    keeper.see(Seen(MAC, "", "", "", "", ""), 60.0)
    keeper.see(Seen("52:54:00:00:00:02", "u2", "BIOS", "", "", ""), 61.0)
    keeper.start()
    keeper.stop()
    assert store.sightings == {
        MAC: Sighting(MAC, 1.0, 60.0, 9, "Maker", "uuid", "UEFI x64", "10.20.0.100", "PXEClient", "name"),
        "52:54:00:00:00:02": Sighting("52:54:00:00:00:02", 61.0, 61.0, 1, "QEMU", "u2", "BIOS", ""),
    }


def test_a_storm_of_strangers_is_few_lines(
    store: MemoryStore, recorded: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(store, recorded.append, lambda mac: "QEMU", lambda: 50.0)
    for number in range(100):
        keeper.see(Seen(f"52:54:00:00:01:{number:02x}", "", "", "", "", ""), 60.0)
    with caplog.at_level(logging.INFO, "bootstrapper"):
        keeper.start()
        keeper.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 21
    assert lines[0] == "dhcp: 52:54:00:00:01:00 (QEMU) is not in the description: not answered"
    assert lines[20] == "dhcp: 80 more machines that are not in the description; see the list of them"
    assert len(store.sightings) == 100
