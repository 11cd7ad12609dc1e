"""The whole state in one sealed file, and back: the database, all keys, the admin's token. Assets are not in it.

A restored state is older than the rack. So that no old order destroys anything (design.md rules 1 and 5), a machine
that was to be installed again, or wiped, comes back on hold, and no boot's token claims anything any more. A first
install that has been done since is found on the disk by its marker, and reported instead of done again; an order that
is given from now on has an identity that no marker bears, whatever its number.
"""

from __future__ import annotations

import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from bootstrapper.boot.history import History, MachineState
from bootstrapper.errors import UserError
from bootstrapper.outfile import check_outfile
from bootstrapper.state.sealed import seal, unseal
from bootstrapper.state.sqlite import SqliteStore

DATABASE = "state.db"
KEPT = ("pki", "admin.token")
"Below the state directory, beside the database."
MOST_BYTES = 8 * 1024**3
"Of one file in a backup."


@dataclass(frozen=True, slots=True)
class Restored:
    revision: int | None
    "Of the description in force when the backup was made."
    machines: int
    held: tuple[str, ...]
    "First MACs of machines that are on hold now: an order to install them again was open."


def write_backup(state: Path, file: Path, passphrase: str, salt: bytes, replace: bool = False) -> int:
    """Seal `state` into `file` (0600, whole or not at all); returns its size in bytes. The server may go on running.

    `replace`: `file` may exist. Raises UserError.
    """
    check_outfile(file, replace)
    if not (state / DATABASE).is_file():
        raise UserError(f"{state} holds no state of a server", "give its state directory with --state")
    unfinished = file.with_name(f".{file.name}.unfinished")
    packed = file.with_name(f".{file.name}.tar")
    try:
        for each in (unfinished, packed):
            each.unlink(missing_ok=True)
        with _create(packed) as plain:
            _pack(state, plain)
            plain.seek(0)
            with _create(unfinished) as out:
                seal(plain, out, passphrase, salt)
                out.flush()
                os.fsync(out.fileno())
        size = unfinished.stat().st_size
        check_outfile(file, replace)  # once more: packing takes a while
        unfinished.rename(file)
        _flush_directory(file.parent)
        return size
    except OSError as error:
        raise UserError(f"{error.filename or file}: {error.strerror}", "nothing was written") from error
    finally:
        for each in (unfinished, packed):
            each.unlink(missing_ok=True)


def read_backup(file: Path, state: Path, passphrase: str, now: float) -> Restored:
    """Unseal `file` into `state`, which must not exist or be empty: whole or not at all. Raises UserError."""
    if state.is_symlink():
        raise UserError(
            f"{state} is a link; a state directory is made in its place, and the link would be in the way",
            f"give the directory itself: --state {state.resolve()}",
        )
    if state.exists() and (not state.is_dir() or any(state.iterdir())):
        raise UserError(
            f"{state} is not empty", f"move it away first (mv {state} {state}.before), or give another with --state"
        )
    unpacked = state.with_name(f".{state.name}.restoring")
    packed = state.with_name(f".{state.name}.tar")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        _remove_tree(unpacked)
        packed.unlink(missing_ok=True)
        with file.open("rb") as sealed, _create(packed) as plain:
            for chunk in unseal(sealed, passphrase):
                plain.write(chunk)
            plain.seek(0)
            unpacked.mkdir(mode=0o700)
            _unpack(plain, unpacked)
        restored = _make_safe(unpacked / DATABASE, now)
        if state.exists():
            state.rmdir()
        unpacked.rename(state)
        _flush_directory(state.parent)
        return restored
    except OSError as error:
        raise UserError(f"{error.filename or file}: {error.strerror}", "nothing was restored") from error
    finally:
        packed.unlink(missing_ok=True)
        _remove_tree(unpacked)


def _pack(state: Path, out: IO[bytes]) -> None:
    copy = state / f".{DATABASE}.copy"
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        try:
            # The engine's own copy is of one moment, also while the server writes.
            with closing(sqlite3.connect(state / DATABASE)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            tar.add(copy, DATABASE)
        except sqlite3.Error as error:
            raise UserError(f"{state / DATABASE}: {error}", "see the server's log; nothing was written") from error
        finally:
            for leftover in state.glob(f".{DATABASE}.copy*"):
                leftover.unlink()
        for path in _list_kept(state):
            tar.add(path, str(path.relative_to(state)), recursive=False)


def _list_kept(state: Path) -> Iterator[Path]:
    """Files and directories; whatever else may lie there (a socket, a link) is not state."""
    for name in KEPT:
        found = state / name
        for path in sorted((found, *found.rglob("*"))):
            if path.is_symlink() or not (path.is_file() or path.is_dir()) or path.name.startswith("."):
                continue
            yield path


def _unpack(packed: IO[bytes], directory: Path) -> None:
    """Only files and directories below the kept names, whoever wrote the archive."""
    try:
        with tarfile.open(fileobj=packed, mode="r:") as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                known = parts and (parts[0] in KEPT or parts == (DATABASE,)) and ".." not in parts
                if not known or not (member.isfile() or member.isdir()) or member.size > MOST_BYTES:
                    raise UserError(f"the backup holds {member.name!r}, which is no part of a state")
                target = directory.joinpath(*parts)
                if member.isdir():
                    target.mkdir(mode=0o700)
                    continue
                content = tar.extractfile(member)
                assert content is not None, "a plain file has content"
                with _create(target) as out:
                    while block := content.read(1024 * 1024):
                        out.write(block)
                    out.flush()
                    os.fsync(out.fileno())
    except tarfile.TarError as error:
        raise UserError(f"what the backup holds cannot be read: {error}") from error


def _make_safe(database: Path, now: float) -> Restored:
    if not database.is_file():
        raise UserError("the backup holds no database", "nothing was restored")
    store = SqliteStore(database)
    try:
        store.verify()
        held = []
        histories = store.load_histories()
        for mac, history in histories.items():
            store.seal(mac)
            safe = make_safe(history, now)
            if safe != history:
                store.save_history(mac, safe)
                held.append(mac)
        kept = store.load_description()
    finally:
        store.close()
    return Restored(kept[0] if kept else None, len(histories), tuple(held))


def make_safe(history: History, now: float) -> History:
    """`history` without an order that may be older than what is on the disk; a first install destroys nothing."""
    first = not history.done and not history.order_id and not history.wipe
    if first or not history.open:
        return history
    held = "restored from a backup in which it was to be installed again: order `reinstall` if it still is"
    return replace(
        history,
        wanted=history.done,
        wipe=False,
        order_id="",
        state=MachineState.HELD,
        state_at=now,
        held=held,
        reason=held,
    )


def _create(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "w+b")


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_tree(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    if directory.exists():
        directory.rmdir()
