"""The assets directory: which of the files that machines will ask for are missing, or cannot be served."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bootstrapper.assets.catalogue import Asset
from bootstrapper.cluster.model import Machine


@dataclass(frozen=True, slots=True)
class MissingAsset:
    asset: Asset
    machines: tuple[Machine, ...]
    problem: str

    def text(self) -> str:
        """One line for the log and for `show`."""
        hosts = ", ".join(machine.host for machine in self.machines[:3])
        more = f" and {len(self.machines) - 3} more" if len(self.machines) > 3 else ""
        return f"{self.asset.name} ({self.asset.use}) {self.problem}: needed by {hosts}{more}"


def find_missing(root: Path, needed: Mapping[Asset, tuple[Machine, ...]]) -> tuple[MissingAsset, ...]:
    found = []
    for asset, machines in needed.items():
        problem = _find_problem(root, asset.name)
        if problem is not None:
            found.append(MissingAsset(asset, machines, problem))
    return tuple(found)


def _find_problem(root: Path, name: str) -> str | None:
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
