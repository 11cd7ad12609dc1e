"""Which machines everything is here for: each file there and genuine, each image there and whole.

One process looks (`look`) and writes down what it found; the others read that file again when it has changed, which is
one `stat` for a boot script and nothing for a packet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bootstrapper.assets.hashing import hash_file
from bootstrapper.assets.index import Index
from bootstrapper.assets.item import Item, Kind
from bootstrapper.assets.store import find_problem
from bootstrapper.assets.writing import write_atomically
from bootstrapper.boot.readiness import Readiness
from bootstrapper.cluster.model import Machine

FILE_NAME = "readiness.json"
"Below the state directory."


class Need(StrEnum):
    """What must be here before a machine is installed."""

    ALL = "all"
    "Everything that its configuration names, each with a known hash: it works without internet."
    BOOT = "boot"
    "Only what its installer boots and writes: the rest comes from elsewhere, or is not wanted (a lab)."


BOOTED = frozenset({"kernel", "initrd", "image", "signature", "key", "root filesystem"})
"Uses of files that `Need.BOOT` asks for."


@dataclass(frozen=True)
class Looker:
    """Looks at what is on the disk, and hashes what nobody has hashed yet."""

    root: Path
    index: Index
    find_image_problem: Callable[[Item], str | None]
    need: Need = Need.ALL
    stopped: Callable[[], bool] = lambda: False

    def look(self, items: Iterable[Item]) -> Mapping[str, str]:
        """Name -> what is wrong with it; nothing for what is here and right. Raises Stopped."""
        found = {}
        for item in items:
            if self.need is Need.BOOT and (item.kind is Kind.IMAGE or item.use not in BOOTED):
                continue
            problem = self.find_image_problem(item) if item.kind is Kind.IMAGE else self._look_at(item)
            if problem is not None:
                found[item.name] = problem
        return found

    def _look_at(self, item: Item) -> str | None:
        problem = find_problem(self.root, item.name)
        if problem is not None:
            return problem
        wanted = item.proof.sha256
        if wanted is None:
            return None if self.need is Need.BOOT else "has no hash in assets.lock: run `bootstrapper fetch`"
        try:
            known = self.index.find(self.root, item.name)
            if known is None:
                before = (self.root / item.name).lstat()
                known = hash_file(self.root / item.name, stopped=self.stopped)["sha256"]
                self.index.put(self.root, item.name, known, before)
                self.index.save()
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None if known == wanted else f"is not genuine: expected sha256 {wanted}, found {known}"


def judge(items: Sequence[Item], problems: Mapping[str, str], machines: Iterable[Machine]) -> Readiness:
    """Who waits for what. What nobody in particular needs (an add-on's image) keeps nobody from being installed."""
    missing: dict[str, list[str]] = {machine.mac: [] for machine in machines}
    for item in items:
        if item.name in problems:
            for machine in item.machines:
                missing[machine.mac].append(item.name)
    return Readiness({mac: tuple(names) for mac, names in missing.items()})


def write_readiness(path: Path, readiness: Readiness) -> None:
    """Raises OSError. Many machines wait for the same: each such list is written, and later kept in memory, once."""
    lists = list(dict.fromkeys(readiness.missing.values()))
    places = {names: index for index, names in enumerate(lists)}
    machines = {mac: places[names] for mac, names in readiness.missing.items()}
    write_atomically(path, json.dumps({"lists": lists, "machines": machines}).encode() + b"\n")


class ReadinessFile:
    """What the looking process wrote last. Without it nothing has been looked at, and nobody is ready."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._readiness = Readiness()

    def read(self) -> Readiness:
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                document = json.loads(self._path.read_bytes())
                lists = [tuple(names) for names in document["lists"]]
                self._readiness = Readiness({mac: lists[index] for mac, index in document["machines"].items()})
                self._seen = seen
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self._seen, self._readiness = None, Readiness()
        return self._readiness
