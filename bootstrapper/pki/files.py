"""Files that only the server may read: written whole or not at all, and read only when they are what they should be."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootstrapper.errors import UserError


def make_directory(directory: Path) -> None:
    """`directory`, and those above it that are missing, for the server alone."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o700)
            _hand_over(descriptor, directory)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror}", "the state directory must belong to the server") from error


def read_private(path: Path, hint: str) -> bytes:
    """A file with a key in it. Raises UserError, with `hint`, for one that is missing, empty or open to others."""
    data = read_file(path, hint)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"{path} can be read by others", f"chmod 600 {path}")
    return data


def read_file(path: Path, hint: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint) from error
    if not data.strip():
        raise UserError(f"{path} is empty", hint)
    return data


def write_private(path: Path, data: bytes) -> None:
    """Whole or not at all, on disk when it returns, and never readable by others for a moment."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _hand_over(descriptor, temporary)
            os.fsync(descriptor)
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "the state directory must be writable by the server") from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One process, and one thread in it, at a time: several of ours make keys in the same directory."""
    path = directory / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        _hand_over(descriptor, path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "the state directory must be writable by the server") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _hand_over(descriptor: int, path: Path) -> None:
    """What root makes (`bootstrapper kubeconfig` beside a server that runs as another) is for whom the state is for.

    The open file, not the name: that one's owner could have made a link to any file of the host of it meanwhile.
    """
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
