"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import stat
from pathlib import Path

READABLE, ENTERABLE = 0o644, 0o755
"""Modes of what is served. The umask is root's business, and another user serves: whoever fetches with umask 077 means
his own files."""


def write_atomically(path: Path, content: bytes, mode: int = READABLE) -> None:
    """Under its name only once it is on the disk, with this mode whatever the umask. Raises OSError."""
    fresh = path.with_name(f".{path.name.lstrip('.')}.{os.getpid()}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as opened:
            if mode & ~os.fstat(descriptor).st_mode:
                os.fchmod(descriptor, mode)
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
        put_in_place(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def put_in_place(fresh: Path, path: Path) -> None:
    """Rename, and have the directory's entry on the disk as well. Raises OSError."""
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def make_directories(path: Path) -> None:
    """`path` and what is missing above it, for everybody to enter, whatever the umask. What is there stays as it is.
    Raises OSError."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        mode = stat.S_IMODE(each.stat().st_mode)
        if ENTERABLE & ~mode:
            each.chmod(mode | ENTERABLE)
