"""What one run of `fetch` is told, and what it tells: of files and of images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bootstrapper.assets.item import Item
from bootstrapper.assets.transfer import Client


class Outcome(StrEnum):
    PRESENT = "present"
    "It was there, and is what it should be."
    FETCHED = "fetched"
    FAILED = "failed"
    STOPPED = "stopped"
    "Called off; the next run goes on from there."


@dataclass(frozen=True, slots=True)
class Result:
    item: Item
    outcome: Outcome
    sha256: str = ""
    size: int = 0
    first_seen: bool = False
    "Nothing but this download vouches for it."
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Plan:
    """What the command line said, and what the world is."""

    root: Path
    "The assets directory."
    beside: Path
    "The description's directory, where keys are."
    client: Client
    sources: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    "More keys that may sign: paths."
    jobs: int = 4
    tries: int = 5
    wait_s: float = 1.0
    "Before the second try; doubled before each further one."
    verify: bool = False
    "Hash what is there again, whatever the index says."
    pin: bool = False
    "Take anew what was pinned at first sight."
    wall: Callable[[], float] = time.time


@dataclass
class Watcher:
    """Who hears of what happens; each is called from several threads."""

    begin: Callable[[Item], None] = lambda item: None
    progress: Callable[[Item, int, int | None], None] = lambda item, done, whole: None
    say: Callable[[str], None] = lambda line: None
    end: Callable[[Result], None] = lambda result: None
