"""The assets directory: which of the files that machines will ask for are missing, or cannot be served."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bootstrapper.assets.item import Item, Kind


@dataclass(frozen=True, slots=True)
class MissingAsset:
    item: Item
    problem: str

    def text(self) -> str:
        """One line for the log and for `show`."""
        return f"{self.item.name} ({self.item.use}) {self.problem}: needed by {self.item.needed_by()}"


def find_missing(root: Path, items: Iterable[Item]) -> tuple[MissingAsset, ...]:
    """The files among `items` that are not there, or could not be served."""
    found = []
    for item in items:
        problem = find_problem(root, item.name) if item.kind is Kind.FILE else None
        if problem is not None:
            found.append(MissingAsset(item, problem))
    return tuple(found)


def find_problem(root: Path, name: str) -> str | None:
    """Why `name` would not be served; None: it would. Links below the root are not followed, as in web.assets."""
    path = root
    for part in name.split("/"):
        path = path / part
        try:
            status = path.lstat()
        except FileNotFoundError:
            return f"is not in {root}"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if stat.S_ISLNK(status.st_mode):
            return f"is behind the link {path}, which is not followed"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    if not os.access(path, os.R_OK):
        return "cannot be read by this user"
    return "is empty" if status.st_size == 0 else None
