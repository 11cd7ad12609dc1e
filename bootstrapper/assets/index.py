"""Which files below the assets directory have been hashed, so that nothing is hashed twice: name, size, time, SHA-256.

Kept in a hidden file that is never served. It saves work and proves nothing: the hash a file must have comes from
`assets.lock`. A file whose size or modification time differs from its entry has no entry.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bootstrapper.assets.writing import write_atomically

FILE_NAME = ".index.json"


@dataclass(frozen=True, slots=True)
class Entry:
    size: int
    mtime_ns: int
    sha256: str


@dataclass
class Index:
    """Of one directory. `path` need not be in it: a server that may not write there keeps its own."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)

    def find(self, root: Path, name: str) -> str | None:
        """The SHA-256 of the file as it is now; None: not known. Raises OSError for a file that is not there."""
        entry = self.entries.get(name)
        status = (root / name).lstat()
        same = entry is not None and (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)
        return entry.sha256 if same and entry is not None else None

    def put(self, root: Path, name: str, sha256: str, before: os.stat_result | None = None) -> None:
        """`before`: the file's `lstat` before it was hashed; one that has changed meanwhile gets no entry."""
        status = (root / name).lstat()
        if before is not None and _identify(before) != _identify(status):
            self.drop(name)
            return
        self.entries[name] = Entry(status.st_size, status.st_mtime_ns, sha256)

    def drop(self, name: str) -> None:
        self.entries.pop(name, None)

    def save(self) -> None:
        """Raises OSError."""
        lines = {name: [each.size, each.mtime_ns, each.sha256] for name, each in sorted(self.entries.items())}
        write_atomically(self.path, json.dumps({"version": 1, "files": lines}, indent=0).encode() + b"\n")


def _identify(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def load_index(path: Path) -> Index:
    """Empty where there is none, or where it cannot be read: everything is hashed again then."""
    try:
        document = json.loads(path.read_bytes())
        return Index(path, _read(document["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Index(path)


def _read(files: Mapping[str, tuple[int, int, str]]) -> dict[str, Entry]:
    return {str(name): Entry(int(size), int(mtime), str(sha256)) for name, (size, mtime, sha256) in files.items()}
