"""The assets directory for one writer at a time, and what its disk says when it will not."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootstrapper.assets.writing import READABLE, make_directories
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import FILE_NAME

HELD = ".fetch.lock"
"Locked by whoever changes what is here."


def explain_disk(error: OSError, root: Path) -> UserError:
    """In words for the admin."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(root).free
        return UserError(
            f"the disk of {root} is full ({free // 1_000_000} MB free): {error.strerror}",
            "make room and run it again: it goes on from what is there",
        )
    return UserError(
        f"{error.filename or root} cannot be written: {error.strerror}",
        "see who owns it, and run it again: it goes on from what is there",
    )


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """The assets directory, made if need be, for one that changes it at a time. Raises UserError."""
    try:
        make_directories(root)
        descriptor = os.open(root / HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, READABLE)
    except OSError as error:
        raise explain_disk(error, root) from error
    with _locked(descriptor, f"another fetch works on {root}"):
        yield


@contextmanager
def hold_lock(directory: Path) -> Iterator[None]:
    """`assets.lock` in `directory`, for one that writes it at a time: descriptions that share it may have assets
    directories of their own, and each writes it whole. Raises UserError."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # there is no lock yet that another could write
        yield
        return
    except OSError as error:
        raise explain_disk(error, directory) from error
    with _locked(descriptor, f"another fetch writes {directory / FILE_NAME}"):
        yield


@contextmanager
def _locked(descriptor: int, message: str) -> Iterator[None]:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(message, "wait until it is done") from error
        yield
    finally:
        os.close(descriptor)
