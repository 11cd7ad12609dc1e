"""`Store` on SQLite: one file, WAL, a connection that writes and one that reads. `rows` has values and rows, `schema`
the file."""

# ruff: noqa: S608  (statements are put together from this room's own column lists; values are always bound)

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from bootstrapper.answers.leases import Lease, LeaseState
from bootstrapper.boot.claim import GRACE_CLAIMS, ClaimRefusal, Token, check_claim, mark_claimed
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.boot.lifecycle import tell_change
from bootstrapper.state import rows
from bootstrapper.state.rows import Row
from bootstrapper.state.schema import BUSY_TIMEOUT_S, FAULTS, StateError, Unwritable, explain, open_database
from bootstrapper.state.store import AuditEntry, Errand, HistoryChange, LeaseChange, MoveChange, Revision, Sighting

EVENTS_PER_MACHINE = 1_000
LOGS_PER_MACHINE = 20
"Of `Event.more`."
EVENTS = 100_000
SIGHTINGS = 10_000
TOKENS_PER_MACHINE = 20
DESCRIPTIONS = 50
AUDIT = 10_000
LEASE_CHANGES = 1_000
PROBE = "x" * 4096
"As much as a page: a full disk has no room for it."
CHUNKS = (1024, 256, 64, 16, 4, 1)
"Rows per statement: few sizes, so that each is prepared once."


class SqliteStore:
    """See `Store`. `path` is the database file; raises StateError (a UserError) for every fault of the disk.

    `wait_s`: how long a write waits for its turn in this process, and then for other processes'. Reads wait for nobody.
    """

    def __init__(self, path: Path, wait_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self._wait_s = wait_s
        self._lock = threading.RLock()
        self._connection = open_database(path, wait_s)
        # Readers do not wait for the disk to flush what others write (WAL); each has seen every COMMIT before it.
        self._reading = threading.Lock()
        self._readings = open_database(path)
        self._writer = 0
        self._version = 0

    # -- leases ---------------------------------------------------------------
    def load_leases(self) -> list[Lease]:
        return [rows.parse_lease(row) for row in self._read(f"SELECT {rows.LEASE} FROM leases ORDER BY address")]

    def save_leases(self, leases: Sequence[Lease]) -> None:
        with self._write():
            self._insert(
                f"INSERT INTO leases ({rows.LEASE})",
                [rows.build_lease(lease) for lease in leases],
                # Updating in place leaves the MAC's index alone when only the time changed, as in each renewal.
                """ON CONFLICT (address) DO UPDATE SET
                   mac = excluded.mac, expires_at = excluded.expires_at, state = excluded.state""",
            )

    def delete_leases(self, addresses: Iterable[IPv4Address]) -> None:
        with self._write():
            self._connection.executemany("DELETE FROM leases WHERE address = ?", [(int(each),) for each in addresses])

    def find_lease(self, mac: str) -> Lease | None:
        found = self._read(
            f"""SELECT {rows.LEASE} FROM leases WHERE mac = ? AND state = ?
                ORDER BY expires_at DESC, address LIMIT 1""",
            (mac, LeaseState.BOUND.value),
        )
        return rows.parse_lease(found[0]) if found else None

    def find_holder(self, address: IPv4Address) -> str | None:
        found = self._read(
            "SELECT mac FROM leases WHERE address = ? AND state = ?", (int(address), LeaseState.BOUND.value)
        )
        return str(found[0][0]) if found else None

    def lease_mark(self) -> int:
        return int(self._read("SELECT coalesce(max(id), 0) FROM lease_changes")[0][0])

    def changed_leases(self, after: int) -> tuple[int, list[LeaseChange]]:
        found = self._read("SELECT id, mac, new_mac FROM lease_changes WHERE id > ? ORDER BY id", (after,))
        return found[-1][0] if found else after, [LeaseChange(mac, new_mac) for _, mac, new_mac in found]

    # -- machines -------------------------------------------------------------
    def load_histories(self) -> dict[str, History]:
        return self.changed_histories(0)[1]

    def changed_histories(self, after: int) -> tuple[int, dict[str, History]]:
        found = self._read(f"SELECT {rows.HISTORY} FROM histories WHERE changed > ? ORDER BY changed", (after,))
        return found[-1][-1] if found else after, {row[0]: rows.parse_history(row) for row in found}

    def find_history(self, mac: str) -> History:
        found = self._read(f"SELECT {rows.HISTORY} FROM histories WHERE mac = ?", (mac,))
        return rows.parse_history(found[0]) if found else History()

    def load_approved(self) -> frozenset[str]:
        return frozenset(str(row[0]) for row in self._read("SELECT mac FROM histories WHERE approved = 1"))

    def save_history(self, mac: str, history: History) -> None:
        with self._write():
            ((changed,),) = self._read("SELECT coalesce(max(changed), 0) + 1 FROM histories")
            row = rows.build_history(mac, history, changed)
            self._connection.execute(f"REPLACE INTO histories ({rows.HISTORY}) {rows.values_clause(len(row), 1)}", row)

    def change_history(self, mac: str, change: HistoryChange) -> History:
        with self._write():
            before = self.find_history(mac)
            after = change(before)
            if after != before:
                self.save_history(mac, after)
                told = tell_change(mac, before, after)
                if told is not None:
                    self.add_events([told])
            return after

    def forget_machine(
        self, mac: str, macs: Collection[str], change: HistoryChange, errands: Iterable[Errand] = ()
    ) -> History:
        with self._write():
            self._delete("tokens", mac)
            for each in sorted({mac, *macs}):
                self._delete("leases", each)
                self._delete("sightings", each)
                self._note_leases(each, "")
            for errand in errands:
                self.add_errand(errand.kind, errand.mac, errand.host, errand.at)
            return self.change_history(mac, change)

    def move_machine(self, old: str, new: str, change: MoveChange) -> None:
        with self._write():
            stays, goes = change(self.find_history(old), self.find_history(new))
            for table in ("leases", "tokens", "sightings"):
                self._delete(table, new)
            for table in ("leases", "tokens", "events"):
                self._connection.execute(f"UPDATE {table} SET mac = ? WHERE mac = ?", (new, old))
            self._note_leases(old, new)
            self.change_history(old, lambda _: stays)
            self.change_history(new, lambda _: goes)

    def _delete(self, table: str, mac: str) -> None:
        self._connection.execute(f"DELETE FROM {table} WHERE mac = ?", (mac,))

    def _note_leases(self, mac: str, new_mac: str) -> None:
        self._connection.execute("INSERT INTO lease_changes (mac, new_mac) VALUES (?, ?)", (mac, new_mac))
        self._keep_latest("lease_changes", LEASE_CHANGES)

    # -- claims ---------------------------------------------------------------
    def mint(self, token: Token) -> None:
        with self._write():
            row = rows.build_token(token)
            self._connection.execute(f"INSERT INTO tokens ({rows.TOKEN}) {rows.values_clause(len(row), 1)}", row)
            for kept in ("redeemed_at IS NULL", "redeemed_at IS NOT NULL"):
                self._connection.execute(
                    f"""DELETE FROM tokens WHERE mac = ?1 AND {kept} AND id NOT IN (
                        SELECT id FROM tokens WHERE mac = ?1 AND {kept} ORDER BY id DESC LIMIT ?2)""",
                    (token.mac, TOKENS_PER_MACHINE),
                )

    def find_token(self, digest: str) -> Token | None:
        found = self._read(f"SELECT {rows.TOKEN} FROM tokens WHERE digest = ?", (digest,))
        return rows.parse_token(found[0]) if found else None

    def newest_token(self, mac: str) -> str:
        found = self._read("SELECT digest FROM tokens WHERE mac = ? ORDER BY id DESC LIMIT 1", (mac,))
        return str(found[0][0]) if found else ""

    def list_tokens(self, mac: str) -> list[Token]:
        return [
            rows.parse_token(row)
            for row in self._read(f"SELECT {rows.TOKEN} FROM tokens WHERE mac = ? ORDER BY id DESC", (mac,))
        ]

    def redeem(
        self, digest: str, address: IPv4Address, now: float, uuid: str | None = None, plan: str = ""
    ) -> Token | ClaimRefusal:
        with self._write():
            token = self.find_token(digest)
            mac = token.mac if token else ""
            refusal = check_claim(token, address, self.find_history(mac), now, self.newest_token(mac), uuid)
            if token is None or refusal is not None:
                return refusal or ClaimRefusal.UNKNOWN
            claimed = mark_claimed(token, now, plan)
            self._connection.execute(
                "UPDATE tokens SET redeemed_at = ?, claims = ?, plan = ? WHERE digest = ?",
                (claimed.redeemed_at, claimed.claims, rows.clean(plan), digest),
            )
            return claimed

    def settle(self, digest: str) -> None:
        with self._write():
            self._connection.execute(
                "UPDATE tokens SET claims = max(claims, ?) WHERE digest = ? AND redeemed_at IS NOT NULL",
                (GRACE_CLAIMS, digest),
            )

    def mark_failed(self, digest: str) -> None:
        with self._write():
            self._connection.execute(
                "UPDATE tokens SET failed = 1 WHERE digest = ? AND redeemed_at IS NOT NULL AND claims >= ?",
                (digest, GRACE_CLAIMS),
            )

    def seal(self, mac: str) -> None:
        with self._write():
            self._connection.execute("UPDATE tokens SET sealed = 1 WHERE mac = ? AND sealed = 0", (mac,))

    # -- what was seen --------------------------------------------------------
    def add_events(self, events: Sequence[Event]) -> None:
        with self._write():
            self._insert(f"INSERT INTO events ({rows.EVENT})", [rows.build_event(event) for event in events])
            self._connection.executemany(
                "DELETE FROM events WHERE mac = ?1 AND id <= "
                "(SELECT id FROM events WHERE mac = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                [(mac, EVENTS_PER_MACHINE) for mac in {event.mac for event in events}],
            )
            # Logs are large: the latest few of a machine are enough.
            self._connection.executemany(
                "UPDATE events SET more = '' WHERE mac = ?1 AND more <> '' AND id <= "
                "(SELECT id FROM events WHERE mac = ?1 AND more <> '' ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                [(mac, LOGS_PER_MACHINE) for mac in {event.mac for event in events if event.more}],
            )
            # Apart, each is the end of an index; asked for together, SQLite walks through the whole table.
            ((span,),) = self._read("SELECT (SELECT max(id) FROM events) - (SELECT min(id) FROM events)")
            if span is not None and span >= EVENTS:  # Only then can there be too many; counting takes such a walk.
                self._connection.execute(
                    "DELETE FROM events WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (EVENTS,),
                )

    def events(self, mac: str | None = None, after: int = 0, limit: int = 1000) -> list[tuple[int, Event]]:
        where, values = ("mac = ? AND ", (mac,)) if mac is not None else ("", ())
        found = self._read(
            f"SELECT id, {rows.EVENT} FROM events WHERE {where} id > ? ORDER BY id LIMIT ?", (*values, after, limit)
        )
        return [(row[0], rows.parse_event(row[1:])) for row in found]

    def latest_events(self, mac: str | None = None, limit: int = 100) -> list[tuple[int, Event]]:
        where, values = ("WHERE mac = ?", (mac,)) if mac is not None else ("", ())
        found = self._read(f"SELECT id, {rows.EVENT} FROM events {where} ORDER BY id DESC LIMIT ?", (*values, limit))
        return [(row[0], rows.parse_event(row[1:])) for row in reversed(found)]

    def last_events(self) -> dict[str, tuple[int, Event]]:
        found = self._read(f"SELECT id, {rows.EVENT} FROM events WHERE id IN (SELECT max(id) FROM events GROUP BY mac)")
        return {row[2]: (row[0], rows.parse_event(row[1:])) for row in found}

    def save_sightings(self, sightings: Sequence[Sighting]) -> None:
        with self._write():
            self._insert(f"REPLACE INTO sightings ({rows.SIGHTING})", [rows.build_sighting(each) for each in sightings])
            self._connection.execute(
                """DELETE FROM sightings WHERE mac IN (
                   SELECT mac FROM sightings ORDER BY last_at DESC, mac DESC LIMIT -1 OFFSET ?)""",
                (SIGHTINGS,),
            )

    def load_sightings(self) -> list[Sighting]:
        found = self._read(f"SELECT {rows.SIGHTING} FROM sightings ORDER BY last_at DESC, mac DESC")
        return [rows.parse_sighting(row) for row in found]

    def delete_sighting(self, mac: str) -> None:
        with self._write():
            self._connection.execute("DELETE FROM sightings WHERE mac = ?", (mac,))

    # -- the description ------------------------------------------------------
    def save_description(self, text: str, at: float, note: str = "") -> int:
        with self._write():
            kept = self.load_description()
            if kept is not None and kept[1] == text:
                return kept[0]
            cursor = self._connection.execute(
                "INSERT INTO descriptions (text, at, note) VALUES (?, ?, ?)", (text, at, rows.clean(note))
            )
            revision = cursor.lastrowid
            assert revision is not None
            self._connection.execute("DELETE FROM descriptions WHERE revision <= ?", (revision - DESCRIPTIONS,))
            return revision

    def load_description(self) -> tuple[int, str] | None:
        found = self._read("SELECT revision, text FROM descriptions ORDER BY revision DESC LIMIT 1")
        return (found[0][0], found[0][1]) if found else None

    def list_descriptions(self) -> list[Revision]:
        return [Revision(*row) for row in self._read("SELECT revision, at, note FROM descriptions ORDER BY 1 DESC")]

    def find_description(self, revision: int) -> str | None:
        found = self._read("SELECT text FROM descriptions WHERE revision = ?", (revision,))
        return str(found[0][0]) if found else None

    # -- what admins did --------------------------------------------------------
    def add_audit(self, entry: AuditEntry) -> None:
        with self._write():
            row = rows.build_audit(entry)
            self._connection.execute(f"INSERT INTO audit ({rows.AUDIT}) {rows.values_clause(len(row), 1)}", row)
            self._keep_latest("audit", AUDIT)

    def audit(self, after: int = 0, limit: int = 1000) -> list[tuple[int, AuditEntry]]:
        found = self._read(f"SELECT id, {rows.AUDIT} FROM audit WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return [(row[0], rows.parse_audit(row[1:])) for row in found]

    def latest_audit(self, limit: int = 100) -> list[tuple[int, AuditEntry]]:
        found = self._read(f"SELECT id, {rows.AUDIT} FROM audit ORDER BY id DESC LIMIT ?", (limit,))
        return [(row[0], rows.parse_audit(row[1:])) for row in reversed(found)]

    # -- errands ----------------------------------------------------------------
    def add_errand(self, kind: str, mac: str, host: str, at: float) -> None:
        with self._write():
            self._connection.execute("DELETE FROM errands WHERE kind = ? AND mac = ? AND host = ?", (kind, mac, host))
            self._connection.execute(
                "INSERT INTO errands (at, kind, mac, host) VALUES (?, ?, ?, ?)", (at, kind, mac, host)
            )

    def drop_errands(self, kind: str, mac: str) -> None:
        with self._write():
            self._connection.execute("DELETE FROM errands WHERE kind = ? AND mac = ?", (kind, mac))

    def load_errands(self) -> list[Errand]:
        return [Errand(*row) for row in self._read(f"SELECT {rows.ERRAND} FROM errands ORDER BY id")]

    def finish_errand(self, errand_id: int) -> None:
        with self._write():
            self._connection.execute("DELETE FROM errands WHERE id = ?", (errand_id,))

    # -- notes ----------------------------------------------------------------
    def save_note(self, name: str, text: str) -> None:
        with self._write():
            self._connection.execute("REPLACE INTO notes (name, text) VALUES (?, ?)", (name, text))

    def load_note(self, name: str) -> str:
        found = self._read("SELECT text FROM notes WHERE name = ?", (name,))
        return str(found[0][0]) if found else ""

    # -- counters -------------------------------------------------------------
    def save_counters(self, process: str, counters: Mapping[str, int]) -> None:
        with self._unflushed():  # figures for people, written every second
            self._connection.execute("DELETE FROM counters WHERE process = ?", (process,))
            self._insert(
                "INSERT INTO counters (process, name, value)",
                [(process, name, value) for name, value in counters.items()],
            )

    def clear_counters(self) -> None:
        with self._write():
            self._connection.execute("DELETE FROM counters")

    def load_counters(self) -> dict[str, int]:
        found = self._read("SELECT name, sum(value) FROM counters GROUP BY name ORDER BY name")
        return {row[0]: row[1] for row in found}

    # -- the file itself ------------------------------------------------------
    def data_version(self) -> int:
        # Of the connection that writes: what this process wrote itself is no change for it. While that waits for the
        # disk the last answer holds: who polls asks again soon, and servers' loops may not wait.
        if self._lock.acquire(blocking=False):
            try:
                ((version,),) = self._ask(self._connection, "PRAGMA data_version")
                self._version = int(version)
            finally:
                self._lock.release()
        return self._version

    def probe(self, wait_s: float = 1.0) -> None:
        with self._turn(wait_s):
            self._ask(self._connection, f"PRAGMA busy_timeout = {round(wait_s * 1000)}")
            try:
                with self._unflushed():
                    self._connection.execute("REPLACE INTO notes (name, text) VALUES ('probe', ?)", (PROBE,))
            finally:
                self._ask(self._connection, f"PRAGMA busy_timeout = {round(self._wait_s * 1000)}")

    def verify(self) -> None:
        """Read the whole file for damage (a second for each 100 MB or so). Raises StateError."""
        ((result,),) = self._read("PRAGMA quick_check(1)")
        if result != "ok":
            raise StateError(
                f"{self.path}: the state database is damaged: {result.splitlines()[-1]}",
                f"stop the server, then restore a backup, or move {self.path} away to start with an empty state",
            )

    def close(self) -> None:
        with self._lock, self._reading:
            self._readings.close()
            self._connection.close()

    # -- how --------------------------------------------------------------------
    def _keep_latest(self, table: str, count: int) -> None:
        """Of a table whose ids only rise."""
        self._connection.execute(f"DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?", (count,))

    def _read(self, statement: str, values: Row = ()) -> list[Row]:
        """Inside a transaction of this thread: what it sees."""
        if self._writer == threading.get_ident():
            return self._ask(self._connection, statement, values)
        with self._reading:
            return self._ask(self._readings, statement, values)

    def _ask(self, connection: sqlite3.Connection, statement: str, values: Row = ()) -> list[Row]:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    @contextmanager
    def _turn(self, wait_s: float | None = None) -> Iterator[None]:
        """This thread's, to use the connection that writes."""
        if not self._lock.acquire(timeout=self._wait_s if wait_s is None else wait_s):
            message, hint = FAULTS["SQLITE_BUSY"]
            raise Unwritable(f"{self.path}: {message}", hint.format(path=self.path))
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _unflushed(self) -> Iterator[None]:
        """A transaction that a power cut may undo."""
        with self._turn():
            self._ask(self._connection, "PRAGMA synchronous = NORMAL")
            try:
                with self._write():
                    yield
            finally:
                self._ask(self._connection, "PRAGMA synchronous = FULL")

    @contextmanager
    def _write(self) -> Iterator[None]:
        """One transaction; inside another, a part of it."""
        with self._turn():
            if self._connection.in_transaction:
                yield
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._writer = threading.get_ident()
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.Error):
                    raise explain(error, self.path) from error
                raise
            finally:
                self._writer = 0

    def _roll_back(self) -> None:
        # A full disk ends the transaction by itself: then there is none to roll back.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _insert(self, statement: str, values: Sequence[Row], conflict: str = "") -> None:
        start = 0
        for size in CHUNKS:
            while len(values) - start >= size:
                chunk = values[start : start + size]
                flat = [field for row in chunk for field in row]
                clause = rows.values_clause(len(chunk[0]), size)
                self._connection.execute(f"{statement} {clause} {conflict}", flat)
                start += size
