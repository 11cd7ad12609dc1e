"""The database file: how it is made, opened, checked and brought to this version, and what its faults are called.

Versions are SQLite's `user_version`; `MIGRATIONS[n]` leads from version n to n + 1. A file that a newer version of
this program wrote is refused, since reading it half would lose what it added.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from pathlib import Path

from bootstrapper.errors import UserError

APPLICATION_ID = 0x42535452
"`BSTR`, in the file's header: a database of another program is not taken for ours."
BUSY_TIMEOUT_S = 10.0
"For whom nobody waits; what answers a machine gives up sooner (`SqliteStore`)."
OPEN_TRIES = 50


class StateError(UserError):
    """The state on disk cannot be read or written; nothing was changed by the call that raised it."""


class Unwritable(StateError):
    """What may pass by itself, or once an admin made room: the disk is full or fails, or the file is locked."""


def open_database(path: Path, busy_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """A connection in autocommit mode (transactions are explicit), safe to share between threads under a lock.

    The file is made 0600 in a directory made 0700. `busy_s`: how long it waits for other processes' transactions.
    Raises StateError.
    """
    _prepare_file(path)
    try:
        connection = sqlite3.connect(
            path, timeout=busy_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        _check_ours(connection, path)
        _enter_wal(connection)
        # FULL: in WAL mode only this flushes at each commit, which rule 4 (no ACK before its lease is on disk) needs.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this version, in one transaction; another process may be doing the same at this moment.

    A file of this version is only read: a process may start while the disk is full.
    """
    if connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def explain(error: sqlite3.Error, path: Path) -> StateError:
    """SQLite's error in the admin's words."""
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, (message, hint) in FAULTS.items():
        if name.startswith(prefix):
            kind = Unwritable if prefix in PASSING else StateError
            return kind(f"{path}: {message}", hint.format(path=path, directory=path.parent))
    return StateError(f"{path}: the state database failed: {error}", "see whether its disk has faults")


def _prepare_file(path: Path) -> None:
    """Make the directory and the file with nobody else's access; refuse ones that others could read or change."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_file(path)
        file_mode, directory_mode = path.stat().st_mode, path.parent.stat().st_mode
    except OSError as error:
        raise _explain_os_error(error, path) from error
    if file_mode & 0o077:
        mode = stat.S_IMODE(file_mode)
        raise StateError(
            f"{path}: other users may read or write the state (mode {mode:04o}, expected 0600)",
            f"chmod 600 {path}* and see who could have read it",
        )
    if directory_mode & 0o022 and not directory_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(directory_mode)
        raise StateError(
            f"{path.parent}: other users may replace the state (mode {mode:04o}, expected 0700)",
            f"chmod 700 {path.parent}",
        )


def _make_file(path: Path) -> None:
    """Before SQLite does: it would make it by the umask, and gives -wal and -shm the mode it finds here.

    One that is there is never opened here: closing it would end every lock that this process' other connections have
    on it (POSIX), and another process that closes the database then takes the log away in which they write.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            code = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(code, os.strerror(code), str(path)) from None


def _explain_os_error(error: OSError, path: Path) -> StateError:
    where = error.filename or path
    hint = OS_HINTS.get(error.errno or 0, "give another directory with --state")
    return StateError(f"{where}: the state database cannot be opened: {error.strerror}", hint.format(path=path))


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    # In this order: whoever sees the tables that another process is making now also sees whose they are.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if tables and application != APPLICATION_ID:
        raise StateError(f"{path}: this is another program's SQLite database", "give another directory with --state")
    if version > len(MIGRATIONS):
        raise StateError(
            f"{path}: written by a newer bootstrapper (schema {version}; this one knows {len(MIGRATIONS)})",
            "start the newer version, or restore a backup made by this one",
        )


def _enter_wal(connection: sqlite3.Connection) -> None:
    """The change to WAL wants the file for itself for a moment, and SQLite does not wait for that by its timeout."""
    for attempt in range(OPEN_TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == OPEN_TRIES - 1:
                raise
            time.sleep(0.02)


OS_HINTS = {
    errno.EACCES: "run as the user that owns it, or give another directory with --state",
    errno.EPERM: "run as the user that owns it, or give another directory with --state",
    errno.EROFS: "the file system is read-only: give another directory with --state",
    errno.ENOTDIR: "a part of the path is a file: give another directory with --state",
    errno.EEXIST: "a part of the path is a file: give another directory with --state",
    errno.EISDIR: "{path} is a directory: move it away",
    errno.ENOSPC: "the disk is full: make room",
}

FAULTS: dict[str, tuple[str, str]] = {
    "SQLITE_NOTADB": (
        "not a state database (or it is damaged from its first bytes on)",
        "restore a backup, or move it away to start with an empty state",
    ),
    "SQLITE_CORRUPT": (
        "the state database is damaged",
        "stop the server, then restore a backup, or move {path} away to start with an empty state",
    ),
    "SQLITE_FULL": ("the disk is full: nothing was written", "make room on the disk that holds {directory}"),
    "SQLITE_READONLY": (
        "the state cannot be written: it is read-only for this user",
        "see the owner and mode of {directory} and the files in it",
    ),
    "SQLITE_CANTOPEN": (
        "the state database cannot be opened",
        "see the owner and mode of {directory} and the files in it",
    ),
    "SQLITE_PERM": ("the state database cannot be opened", "see the owner and mode of {directory}"),
    "SQLITE_BUSY": (
        "another process has kept the state locked for too long",
        "see which processes have {path} open (fuser {path})",
    ),
    "SQLITE_IOERR": ("the disk failed while the state was read or written", "see the kernel's log for disk faults"),
}
"Start of SQLite's error name -> (message, hint)."
PASSING = {"SQLITE_FULL", "SQLITE_READONLY", "SQLITE_BUSY", "SQLITE_IOERR"}

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Addresses are integers: as the row id they need no index of their own.
        """CREATE TABLE leases (
            address INTEGER PRIMARY KEY, mac TEXT NOT NULL, expires_at REAL NOT NULL, state TEXT NOT NULL)""",
        "CREATE INDEX leases_by_mac ON leases (mac)",
        # `changed` numbers the writes, so that a reader asks for what is new and does not read 10,000 rows again.
        """CREATE TABLE histories (
            mac TEXT PRIMARY KEY, wanted INTEGER NOT NULL, done INTEGER NOT NULL, state TEXT NOT NULL,
            state_at REAL NOT NULL, held TEXT NOT NULL, approved INTEGER NOT NULL, opened_at TEXT NOT NULL,
            reason TEXT NOT NULL, wipe INTEGER NOT NULL, changed INTEGER NOT NULL) WITHOUT ROWID""",
        "CREATE UNIQUE INDEX histories_by_change ON histories (changed)",
        """CREATE TABLE tokens (
            id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, mac TEXT NOT NULL,
            address INTEGER NOT NULL, generation INTEGER NOT NULL, minted_at REAL NOT NULL, expires_at REAL NOT NULL,
            redeemed_at REAL, claims INTEGER NOT NULL, sealed INTEGER NOT NULL)""",
        "CREATE INDEX tokens_by_mac ON tokens (mac, id)",
        # AUTOINCREMENT: an id is never used twice, so that `after` is a safe place to go on reading from.
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, mac TEXT NOT NULL, service TEXT NOT NULL,
            step TEXT NOT NULL, detail TEXT NOT NULL, level TEXT NOT NULL)""",
        "CREATE INDEX events_by_mac ON events (mac, id)",
        """CREATE TABLE sightings (
            mac TEXT PRIMARY KEY, first_at REAL NOT NULL, last_at REAL NOT NULL, count INTEGER NOT NULL,
            vendor TEXT NOT NULL, uuid TEXT NOT NULL, arch TEXT NOT NULL, address TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX sightings_by_last ON sightings (last_at, mac)",
        """CREATE TABLE descriptions (
            revision INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, at REAL NOT NULL)""",
        """CREATE TABLE counters (
            process TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,
            PRIMARY KEY (process, name)) WITHOUT ROWID""",
    ),
    ("CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",),
    (
        "ALTER TABLE histories ADD COLUMN booted_at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE histories ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0",
        # Until now a first boot made a machine joined: its system is up.
        "UPDATE histories SET booted_at = max(state_at, 1) WHERE state = 'joined'",
        "ALTER TABLE descriptions ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE lease_changes (
            id INTEGER PRIMARY KEY AUTOINCREMENT, mac TEXT NOT NULL, new_mac TEXT NOT NULL)""",
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
            mac TEXT NOT NULL, detail TEXT NOT NULL, refused INTEGER NOT NULL)""",
        """CREATE TABLE errands (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, mac TEXT NOT NULL,
            host TEXT NOT NULL)""",
    ),
    (
        "ALTER TABLE events ADD COLUMN more TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE tokens ADD COLUMN uuid TEXT NOT NULL DEFAULT ''",
    ),
    ("ALTER TABLE histories ADD COLUMN order_id TEXT NOT NULL DEFAULT ''",),
    (
        "ALTER TABLE tokens ADD COLUMN failed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE tokens ADD COLUMN plan TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE histories ADD COLUMN plan TEXT NOT NULL DEFAULT ''",
    ),
    (
        "ALTER TABLE sightings ADD COLUMN vendor_class TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE sightings ADD COLUMN host_name TEXT NOT NULL DEFAULT ''",
    ),
    (
        "ALTER TABLE histories ADD COLUMN begun INTEGER NOT NULL DEFAULT 0",
        # Of what is open now it is not known.
        "UPDATE histories SET begun = 1 WHERE wanted > done",
    ),
)
