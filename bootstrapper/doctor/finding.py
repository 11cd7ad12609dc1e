"""What a check looks at, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bootstrapper.cluster.model import Cluster
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.servers.privileges import Account
from bootstrapper.templating import Templates


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    "It would install; look at it all the same."
    FAIL = "fail"
    "It would not."
    SKIP = "skip"
    "Could not be looked at, for the reason it gives."


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    grade: Grade
    message: str
    hint: str = ""
    "What to do."


@dataclass(frozen=True)
class Site:
    """What the command line said, and the world."""

    description: Path
    state: Path
    assets: Path
    templates: Templates
    boot_files: Path
    account: Account
    "Who `serve` runs as."
    now: float
    "Wall clock, seconds."
    admin: tuple[str, int] | None = None
    "Where the admin plane would listen beside its socket."
    verify: bool = False
    "Hash everything again."
    rivals_wait_s: float = 4.0
    proc: Path = Path("/proc")


@dataclass(frozen=True)
class Described(Site):
    """A site whose description is good."""

    cluster: Cluster = field(kw_only=True)
    lock: AssetLock = field(kw_only=True)
