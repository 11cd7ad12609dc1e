"""Every fault of the file and its disk ends in words for the admin."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bootstrapper.answers.leases import Lease
from bootstrapper.boot.history import History, MachineState
from bootstrapper.errors import UserError
from bootstrapper.state.schema import APPLICATION_ID, MIGRATIONS, StateError
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.state.store import Revision


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root may read and write everything: such faults are seen as another user."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def opening(path: Path) -> tuple[str, str]:
    with pytest.raises(StateError) as caught:
        SqliteStore(path)
    assert isinstance(caught.value, UserError)
    return caught.value.message, caught.value.hint


def leases(count: int) -> list[Lease]:
    return [Lease(IPv4Address(0x0A000000 + number), "52:54:00:00:00:01", 1.0) for number in range(count)]


def test_text_in_its_place(path: Path) -> None:
    path.write_text("not a database, but long enough to be read as the header of one " * 20)
    path.chmod(0o600)
    message, hint = opening(path)
    assert message == f"{path}: not a state database (or it is damaged from its first bytes on)"
    assert "backup" in hint


def test_another_programs_database(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE cookies (name TEXT)")
    other.close()
    path.chmod(0o600)
    assert opening(path) == (
        f"{path}: this is another program's SQLite database",
        "give another directory with --state",
    )


def test_a_state_of_an_older_version_is_taken_over(path: Path) -> None:
    older = sqlite3.connect(path)
    for statements in MIGRATIONS[:2]:
        for statement in statements:
            older.execute(statement)
    older.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    older.execute("PRAGMA user_version = 2")
    for number, state in enumerate(("joined", "installed"), 1):
        row = (f"m{number}", 1, 1, state, 50.0, "", 0, "[]", "why", 0, number)
        older.execute(f"INSERT INTO histories VALUES ({','.join('?' * len(row))})", row)
    older.execute("INSERT INTO descriptions (text, at) VALUES ('text', 9.0)")
    older.commit()
    older.close()
    path.chmod(0o600)
    store = SqliteStore(path)
    joined = History(1, 1, MachineState.JOINED, 50.0, reason="why", booted_at=50.0)
    assert store.load_histories() == {"m1": joined, "m2": replace(joined, state=MachineState.INSTALLED, booted_at=0.0)}
    assert store.list_descriptions() == [Revision(1, 9.0)]
    assert (store.audit(), store.load_errands(), store.lease_mark()) == ([], [], 0)
    store.close()


def test_a_newer_version(path: Path) -> None:
    SqliteStore(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    message, hint = opening(path)
    assert message.startswith(f"{path}: written by a newer bootstrapper (schema 99; this one knows ")
    assert "backup" in hint


def test_damage_in_the_middle(path: Path) -> None:
    store = SqliteStore(path)
    store.save_leases(leases(5000))
    store.close()
    content = bytearray(path.read_bytes())
    for start in range(8192, len(content), 4096):
        content[start : start + 64] = b"\xff" * 64
    path.write_bytes(content)
    store = SqliteStore(path)
    with pytest.raises(StateError, match="is damaged"):
        store.verify()
    with pytest.raises(StateError, match="the state database is damaged"):
        store.load_leases()
    store.close()


def test_a_sound_file_is_verified(path: Path) -> None:
    store = SqliteStore(path)
    store.save_leases(leases(10))
    store.verify()
    store.close()


def test_a_file_others_may_read(path: Path) -> None:
    SqliteStore(path).close()
    path.chmod(0o644)
    assert opening(path) == (
        f"{path}: other users may read or write the state (mode 0644, expected 0600)",
        f"chmod 600 {path}* and see who could have read it",
    )


def test_a_directory_others_may_write(path: Path) -> None:
    path.parent.chmod(0o775)
    assert opening(path) == (
        f"{path.parent}: other users may replace the state (mode 0775, expected 0700)",
        f"chmod 700 {path.parent}",
    )


def test_a_directory_in_its_place(path: Path) -> None:
    path.mkdir()
    message, hint = opening(path)
    assert message == f"{path}: the state database cannot be opened: Is a directory"
    assert hint == f"{path} is a directory: move it away"


def test_a_file_in_the_directorys_place(path: Path) -> None:
    path.write_text("")
    message, hint = opening(path / "state.sqlite")
    assert hint == "a part of the path is a file: give another directory with --state"
    assert message == f"{path}: the state database cannot be opened: File exists"


def test_a_directory_we_may_not_enter(path: Path, nobody: None) -> None:
    message, hint = opening(Path("/root/bootstrapper-test/state.sqlite"))
    assert "cannot be opened: Permission denied" in message
    assert hint == "run as the user that owns it, or give another directory with --state"


def test_a_full_disk_changes_nothing(path: Path) -> None:
    """A limit on the file's size gives SQLite the same fault as a full disk, and works for every user."""
    store = SqliteStore(path)
    store.save_leases(leases(10))
    store._read("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = store._read("PRAGMA page_count")[0][0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StateError) as caught:
        store.save_leases(leases(50_000))
    assert caught.value.message == f"{path}: the disk is full: nothing was written"
    assert caught.value.hint == f"make room on the disk that holds {path.parent}"
    assert store.load_leases() == leases(10)
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.save_leases(leases(50_000))
    assert len(store.load_leases()) == 50_000
    store.close()


def test_a_disk_that_ends_while_writing(path: Path) -> None:
    """The kernel refuses to let the files grow (RLIMIT_FSIZE), in a process of its own."""
    program = f"""
import resource, signal
from tests_leases import leases
from pathlib import Path
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.state.schema import StateError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteStore(Path({str(path)!r}))
store.save_leases(leases(10))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.save_leases(leases(50_000))
except StateError as error:
    print(error.message)
print(len(store.load_leases()))
"""
    helper = path.parent / "tests_leases.py"
    helper.write_text(
        "from ipaddress import IPv4Address\nfrom bootstrapper.answers.leases import Lease\n"
        "def leases(n):\n    return [Lease(IPv4Address(0x0A000000 + i), 'm', 1.0) for i in range(n)]\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path.parent}
    )
    assert run.stderr == ""
    first, second = run.stdout.splitlines()
    assert first.startswith(f"{path}: ")
    assert second == "10"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000


def test_a_locked_file_is_named(path: Path) -> None:
    store = SqliteStore(path, 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="another process has kept the state locked"):
        store.save_leases(leases(1))
    other.execute("ROLLBACK")
    store.save_leases(leases(1))
    assert len(store.load_leases()) == 1
    other.close()
    store.close()


def test_of_an_install_that_was_open_before_it_is_not_known_whether_it_has_begun(path: Path) -> None:
    """Such an order cannot be taken back, and on hold its machine boots nothing."""
    store = SqliteStore(path)
    for mac, history in (("a", History(2, 1)), ("b", History(1, 1))):
        store.save_history(mac, history)
    store.close()
    number = next(number for number, steps in enumerate(MIGRATIONS) if "begun" in steps[0])
    old = sqlite3.connect(path, isolation_level=None)
    for later in reversed(MIGRATIONS[number:]):
        for statement in later:
            if statement.startswith("ALTER TABLE"):
                _, _, table, _, _, column, *_ = statement.split()
                old.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    old.execute(f"PRAGMA user_version = {number}")
    old.close()
    store = SqliteStore(path)
    assert (store.find_history("a").begun, store.find_history("b").begun) == (True, False)
    store.close()
