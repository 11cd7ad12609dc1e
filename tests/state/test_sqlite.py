"""The store on a real file: what is written is found again, by another connection, and the limits hold."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bootstrapper.answers.leases import Lease, LeaseState
from bootstrapper.boot.claim import Token
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.state.store import Revision, Sighting, Store

MAC = "52:54:00:00:00:01"
OTHER = "52:54:00:00:00:02"
ADDRESS = IPv4Address("10.20.0.11")
TOKEN = Token("d1", MAC, ADDRESS, generation=1, minted_at=1000.0, expires_at=1900.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path)
    yield opened
    opened.close()


def lease(last: int, mac: str = MAC, expires_at: float = 2000.25, state: LeaseState = LeaseState.BOUND) -> Lease:
    return Lease(IPv4Address(f"10.20.0.{last}"), mac, expires_at, state)


def event(number: int, mac: str = MAC) -> Event:
    return Event(float(number), mac, "dhcp", "offer", f"number {number}")


def test_it_is_a_store(store: SqliteStore) -> None:
    kept: Store = store  # mypy holds the signatures together
    assert kept.load_leases() == []


def test_file_and_directory_are_for_their_owner_only(store: SqliteStore, path: Path) -> None:
    store.save_history(MAC, History())
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
    files = sorted((file.name, oct(file.stat().st_mode & 0o777)) for file in path.parent.iterdir())
    assert files == [("state.sqlite", "0o600"), ("state.sqlite-shm", "0o600"), ("state.sqlite-wal", "0o600")]


def test_every_commit_is_flushed_to_disk(store: SqliteStore) -> None:
    store.save_counters("dhcp", {"a": 1})  # written without a flush, and must leave the setting as it was
    assert store._read("PRAGMA synchronous") == [(2,)]
    assert store._read("PRAGMA journal_mode") == [("wal",)]


def test_leases_survive(store: SqliteStore, path: Path) -> None:
    leases = [
        lease(11),
        lease(12, OTHER, 1763643691.123456, LeaseState.RELEASED),
        lease(13, "", 5.0, LeaseState.DECLINED),
    ]
    store.save_leases(leases[::-1])
    other = SqliteStore(path)
    assert other.load_leases() == leases
    other.close()


def test_a_lease_is_replaced_by_address(store: SqliteStore) -> None:
    store.save_leases([lease(11), lease(12)])
    store.save_leases([lease(11, OTHER, 3000.0)])
    assert store.load_leases() == [lease(11, OTHER, 3000.0), lease(12)]
    assert store.find_lease(OTHER) == lease(11, OTHER, 3000.0)


def test_the_same_address_twice_in_one_batch_keeps_the_last(store: SqliteStore) -> None:
    store.save_leases([lease(11, MAC, 1.0), lease(11, OTHER, 2.0)])
    assert store.load_leases() == [lease(11, OTHER, 2.0)]


@pytest.mark.parametrize("count", [0, 1, 3, 5, 64, 1023, 2500])
def test_batches_of_any_size(store: SqliteStore, count: int) -> None:
    leases = [Lease(IPv4Address(0x0A000000 + number), MAC, float(number)) for number in range(count)]
    store.save_leases(leases)
    assert store.load_leases() == leases


def test_find_lease_wants_the_latest_bound_one(store: SqliteStore) -> None:
    store.save_leases([lease(11, expires_at=10.0), lease(12, expires_at=30.0), lease(13, expires_at=20.0)])
    store.save_leases([lease(14, expires_at=99.0, state=LeaseState.RELEASED)])
    assert store.find_lease(MAC) == lease(12, expires_at=30.0)
    assert store.find_lease(OTHER) is None


def test_leases_are_deleted(store: SqliteStore) -> None:
    store.save_leases([lease(11), lease(12)])
    store.delete_leases([IPv4Address("10.20.0.11"), IPv4Address("10.20.0.99")])
    assert store.load_leases() == [lease(12)]


FULL = History(3, 2, MachineState.INSTALLING, 12.5, "held: ü", True, (1.5, 2.5), "why", True)


def test_histories(store: SqliteStore, path: Path) -> None:
    assert store.find_history(MAC) == History()
    store.save_history(MAC, FULL)
    other = SqliteStore(path)
    assert other.find_history(MAC) == FULL
    assert other.load_histories() == {MAC: FULL}
    other.close()


def test_changed_histories_are_those_since_the_mark(store: SqliteStore) -> None:
    assert store.changed_histories(0) == (0, {})
    store.save_history(MAC, History())
    store.save_history(OTHER, History(wanted=2))
    mark, both = store.changed_histories(0)
    assert both == {MAC: History(), OTHER: History(wanted=2)}
    assert store.changed_histories(mark) == (mark, {})
    store.save_history(MAC, History(wanted=3))
    later, changed = store.changed_histories(mark)
    assert (later > mark, changed) == (True, {MAC: History(wanted=3)})


def test_change_history_reads_and_writes_at_once(path: Path) -> None:
    """Four connections add up to 100 without losing one."""

    def add() -> None:
        mine = SqliteStore(path)
        for _ in range(25):
            mine.change_history(MAC, lambda history: replace(history, wanted=history.wanted + 1))
        mine.close()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = SqliteStore(path)
    assert store.find_history(MAC).wanted == 101
    store.close()


def test_a_change_that_raises_changes_nothing(store: SqliteStore) -> None:
    def change(history: History) -> History:
        store.save_history(OTHER, FULL)
        raise KeyError(history.wanted)

    with pytest.raises(KeyError):
        store.change_history(MAC, change)
    assert store.load_histories() == {}


# -- claims ---------------------------------------------------------------------
def test_a_token_claims_within_the_grace_and_no_more(store: SqliteStore) -> None:
    store.mint(TOKEN)
    first = replace(TOKEN, redeemed_at=1100.0, claims=1)
    assert store.redeem("d1", ADDRESS, 1100.0) == first
    assert store.find_token("d1") == first
    assert store.redeem("d1", ADDRESS, 1110.0) == replace(first, claims=2)
    assert store.redeem("d1", IPv4Address("10.20.0.12"), 1110.0) == "wrong address"
    assert store.redeem("d1", ADDRESS, 1220.0) == replace(first, claims=3)
    assert store.redeem("d1", ADDRESS, 1220.0) == "claimed before"
    assert store.find_token("d1") == replace(first, claims=3)


def test_unknown_and_expired(store: SqliteStore) -> None:
    store.mint(TOKEN)
    assert store.redeem("d2", ADDRESS, 1100.0) == "unknown token"
    assert store.redeem("d1", ADDRESS, 1900.0) == "expired"
    assert store.find_token("d2") is None


def test_a_newer_boot_takes_the_place(store: SqliteStore) -> None:
    store.mint(TOKEN)
    store.mint(replace(TOKEN, digest="d2"))  # in the same second: order counts, not the time
    store.mint(replace(TOKEN, digest="d3", mac=OTHER))
    assert store.redeem("d1", ADDRESS, 1100.0) == "a newer boot took its place"
    assert store.redeem("d2", ADDRESS, 1100.0) == replace(TOKEN, digest="d2", redeemed_at=1100.0, claims=1)


def test_history_decides(store: SqliteStore) -> None:
    store.mint(TOKEN)
    store.save_history(MAC, History(held="five installs in an hour"))
    assert store.redeem("d1", ADDRESS, 1100.0) == "machine on hold"
    store.save_history(MAC, History(wanted=1, done=1))
    assert store.redeem("d1", ADDRESS, 1100.0) == "generation closed"
    store.save_history(MAC, History(wanted=2, done=1))
    assert store.redeem("d1", ADDRESS, 1100.0) == "generation closed"


def test_sealed_for_good(store: SqliteStore) -> None:
    store.mint(TOKEN)
    store.mint(replace(TOKEN, digest="d3", mac=OTHER))
    store.seal(MAC)
    assert store.redeem("d1", ADDRESS, 1100.0) == "sealed"
    assert store.find_token("d1") == replace(TOKEN, sealed=True)
    assert store.find_token("d3") == replace(TOKEN, digest="d3", mac=OTHER)
    store.mint(replace(TOKEN, digest="d4"))
    assert store.redeem("d4", ADDRESS, 1100.0) == replace(TOKEN, digest="d4", redeemed_at=1100.0, claims=1)


def test_only_one_of_many_at_once_gets_the_last_claim(path: Path) -> None:
    first = SqliteStore(path)
    first.mint(replace(TOKEN, redeemed_at=1100.0, claims=2))
    results: list[object] = []

    def claim() -> None:
        mine = SqliteStore(path)
        results.append(mine.redeem("d1", ADDRESS, 1101.0))
        mine.close()

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    assert sorted(str(each) for each in results if not isinstance(each, Token)) == ["claimed before"] * 5
    assert sum(isinstance(each, Token) for each in results) == 1


def test_old_tokens_are_forgotten_but_not_a_claimed_one(store: SqliteStore) -> None:
    store.mint(TOKEN)
    assert isinstance(store.redeem("d1", ADDRESS, 1100.0), Token)
    for number in range(30):
        store.mint(replace(TOKEN, digest=f"n{number}"))
    assert store.find_token("d1") is not None
    assert [store.find_token(f"n{number}") is not None for number in (0, 9, 10, 29)] == [False, False, True, True]


# -- what was seen ----------------------------------------------------------------
def test_events_in_order_and_after_a_mark(store: SqliteStore) -> None:
    store.add_events([event(1), event(2, OTHER)])
    store.add_events([event(3)])
    assert [kept for _, kept in store.events()] == [event(1), event(2, OTHER), event(3)]
    assert [kept for _, kept in store.events(MAC)] == [event(1), event(3)]
    mark = store.events()[1][0]
    assert [kept for _, kept in store.events(after=mark)] == [event(3)]
    assert [kept for _, kept in store.events(limit=2)] == [event(1), event(2, OTHER)]


def test_a_machine_keeps_its_latest_thousand(store: SqliteStore) -> None:
    store.add_events([event(0, OTHER)])
    store.add_events([event(number) for number in range(600)])
    store.add_events([event(number) for number in range(600, 1200)])
    kept = [each for _, each in store.events(MAC, limit=5000)]
    assert kept == [event(number) for number in range(200, 1200)]
    assert len(store.events(OTHER)) == 1


def test_all_machines_keep_a_hundred_thousand(store: SqliteStore) -> None:
    for batch in range(101):
        store.add_events([event(batch, f"mac {batch * 1000 + number}") for number in range(1000)])
    store.add_events([event(0, "last")])
    ((count,),) = store._read("SELECT count(*) FROM events")
    assert count == 100_000
    assert store.events(limit=1)[0][1].mac == "mac 1001"


def test_text_that_is_no_text(store: SqliteStore) -> None:
    store.add_events([replace(event(1), detail="name \udcff ü")])
    assert store.events()[0][1].detail == "name ? ü"


SEEN = Sighting(MAC, 1.0, 2.0, 3, "QEMU", "u-u-i-d", "UEFI x64", "10.20.0.100", "MSFT 5.0", "desk-7")


def test_sightings(store: SqliteStore) -> None:
    store.save_sightings([SEEN, Sighting(OTHER, 1.0, 5.0, 1)])
    store.save_sightings([replace(SEEN, last_at=4.0, count=4)])
    assert store.load_sightings() == [Sighting(OTHER, 1.0, 5.0, 1), replace(SEEN, last_at=4.0, count=4)]
    store.delete_sighting(OTHER)
    assert store.load_sightings() == [replace(SEEN, last_at=4.0, count=4)]


def test_the_longest_unseen_of_ten_thousand_go_first(store: SqliteStore) -> None:
    store.save_sightings([Sighting(f"{number:05}", 0.0, float(number), 1) for number in range(10_100)])
    kept = store.load_sightings()
    assert (len(kept), kept[0].mac, kept[-1].mac) == (10_000, "10099", "00100")


# -- the description, counters, versions ---------------------------------------------
def test_descriptions(store: SqliteStore, path: Path) -> None:
    assert store.load_description() is None
    assert store.save_description("one", 1.0) == 1
    assert store.save_description("one", 2.0) == 1
    assert store.save_description("two", 3.0) == 2
    assert store.save_description("one", 4.0) == 3
    other = SqliteStore(path)
    assert other.load_description() == (3, "one")
    other.close()
    for number in range(60):
        store.save_description(f"text {number}", 5.0, "restored")
    assert store.load_description() == (63, "text 59")
    kept = store.list_descriptions()
    assert (len(kept), kept[0], kept[-1].revision) == (50, Revision(63, 5.0, "restored"), 14)
    assert (store.find_description(14), store.find_description(13)) == ("text 10", None)


def test_notes(store: SqliteStore, path: Path) -> None:
    assert store.load_note("etcd") == ""
    store.save_note("etcd", "one")
    store.save_note("etcd", "two")
    store.save_note("tokens", "three")
    other = SqliteStore(path)
    assert (other.load_note("etcd"), other.load_note("tokens")) == ("two", "three")
    other.close()


def test_counters_are_replaced_by_process_and_summed(store: SqliteStore) -> None:
    store.save_counters("dhcp", {"received": 5, 'dropped{reason="x"}': 1})
    store.save_counters("dns", {"received": 7})
    assert store.load_counters() == {'dropped{reason="x"}': 1, "received": 12}
    store.save_counters("dhcp", {"received": 6})
    assert store.load_counters() == {"received": 13}


def test_data_version_changes_with_the_writes_of_others_only(store: SqliteStore, path: Path) -> None:
    before = store.data_version()
    store.save_leases([lease(11)])
    assert store.data_version() == before
    other = SqliteStore(path)
    other.save_leases([lease(12)])
    assert store.data_version() != before
    other.close()


def test_many_open_at_once(path: Path) -> None:
    """The supervisor starts its children together, each with a store of its own, on a file that may not exist yet."""
    faults: list[BaseException] = []

    def begin() -> None:
        try:
            SqliteStore(path).close()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=begin) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_killed_writer_leaves_the_last_commit(store: SqliteStore, path: Path) -> None:
    store.save_leases([lease(11)])
    store._connection.execute("BEGIN IMMEDIATE")
    store._connection.execute("DELETE FROM leases")
    store._connection.close()  # without COMMIT, as a killed process leaves it
    store._connection = sqlite3.connect(path, isolation_level=None)
    assert store.load_leases() == [lease(11)]


# -- readers beside a writer ----------------------------------------------------------


def test_a_reader_does_not_wait_for_a_writer_and_sees_what_is_committed_only(store: SqliteStore) -> None:
    found: list[int] = []
    with store._write():
        store.save_history(MAC, History(wanted=2))
        assert store.find_history(MAC).wanted == 2, "within its own transaction"
        reader = threading.Thread(target=lambda: found.append(store.find_history(MAC).wanted))
        reader.start()
        reader.join(10)
        assert found == [History().wanted]
    assert store.find_history(MAC).wanted == 2


def test_a_transaction_that_fails_leaves_its_thread_with_what_is_on_disk(store: SqliteStore) -> None:
    with pytest.raises(ZeroDivisionError), store._write():
        store.save_history(MAC, History(wanted=2))
        raise ZeroDivisionError
    assert store.find_history(MAC) == History()


def test_storing_events_walks_through_no_table(store: SqliteStore) -> None:
    """Each of eight processes stores its events four times a second, among up to 100,000."""
    walks = []
    store._connection.set_trace_callback(walks.append)
    store.add_events([event(1)])
    store._connection.set_trace_callback(None)
    plans = [
        (row[3], text)
        for text in walks
        if text.startswith(("SELECT", "DELETE", "UPDATE"))
        for row in store._connection.execute(f"EXPLAIN QUERY PLAN {text}")
    ]
    # `SCAN CONSTANT ROW`, and `SEARCH events` for each end of the index.
    assert [plan for plan in plans if plan[0].startswith("SCAN") and "CONSTANT" not in plan[0]] == []


def test_another_process_that_closes_it_takes_nothing_away(tmp_path: Path) -> None:
    """A second connection of this process must not end the locks of the first: POSIX has them by process, not by
    descriptor, so that whoever closes the database elsewhere would find itself the last one and delete the log."""
    path = tmp_path / "state.db"
    first, second = SqliteStore(path), SqliteStore(path)
    look = "import sys; from pathlib import Path; from bootstrapper.state.sqlite import SqliteStore as S; "
    look += "s = S(Path(sys.argv[1])); print(s.load_note('a'), s.load_note('b')); s.close()"

    def other() -> str:
        done = subprocess.run([sys.executable, "-c", look, str(path)], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    first.save_note("a", "one")
    assert other() == "one"
    second.save_note("b", "two")
    assert other() == "one two"
    first.close()
    second.save_note("a", "three")
    assert other() == "three two"
    second.close()
