"""The child `files` of `serve`: looks whether everything that machines will ask for is here, and says what is not.

Part of the wiring: the catalogue needs the add-ons' manifests, which only the wiring sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bootstrapper.assets.hashing import Stopped
from bootstrapper.assets.image_check import find_image_problem
from bootstrapper.assets.index import FILE_NAME as INDEX_NAME
from bootstrapper.assets.index import Index, load_index
from bootstrapper.assets.item import Item
from bootstrapper.assets.readiness import Looker, Need, judge, write_readiness
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.boot.events import Event
from bootstrapper.boot.readiness import Readiness
from bootstrapper.cluster.model import Cluster
from bootstrapper.description import read_lock
from bootstrapper.errors import UserError
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import FILE_NAME, AssetLock
from bootstrapper.servers.logs import LOGGER
from bootstrapper.templating import Templates

WAITING_S = 3.0
"Between two looks while something is missing: an admin who copies a file sees it taken up."
COMPLETE_S = 10.0
SHOWN = 10


class LockFile:
    """`assets.lock` as it is now: read again when `fetch` has written it; the last good one while it is not right."""

    def __init__(self, description: Path) -> None:
        self.description = description
        self._path = description.parent / FILE_NAME
        self._seen: tuple[int, ...] | None = None
        self._fault = ""
        self._lock = AssetLock()
        self.read()

    def read(self) -> AssetLock:
        try:
            status = self._path.stat()
            # The time of change as well: whoever may not read it makes it readable, which is no modification.
            seen = (status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)
        except FileNotFoundError:
            return self._lock
        except OSError as error:
            self._say(f"{self._path} cannot be read: {error.strerror}")
            return self._lock
        if seen != self._seen:
            self._seen = seen
            try:
                self._lock = read_lock(self.description)
                self._fault = ""
            except UserError as error:
                self._fault = ""
                self._say(error.message)
        return self._lock

    def _say(self, fault: str) -> None:
        """Once while it lasts."""
        if fault != self._fault:
            self._fault = fault
            logging.getLogger(LOGGER).error("%s: what was read before stays in force", fault)


class FileWatch:
    """Looks again and again, writes down who is ready, and says what changed."""

    def __init__(
        self,
        cluster: Cluster,
        load_templates: Callable[[], Templates],
        lock: LockFile,
        assets: Path,
        state: Path,
        result: Path,
        need: Need,
        record: Callable[[Event], None],
        now: Callable[[], float],
        stopped: Callable[[], bool],
    ) -> None:
        self._cluster, self._load_templates, self._lock = cluster, load_templates, lock
        self._result, self._record, self._now = result, record, now
        storage = Storage(assets / REGISTRY)
        self._looker = Looker(
            assets, open_index(assets, state), lambda item: find_image_problem(storage, item), need, stopped
        )
        self._known: AssetLock | None = None
        self._items: Sequence[Item] = ()
        self._problems: Mapping[str, str] | None = None
        self._readiness = Readiness()

    def look(self) -> bool:
        """One look; whether everything is here. Raises Stopped, UserError."""
        lock = self._lock.read()
        if lock is not self._known:
            self._items = build_catalogue(self._cluster, self._load_templates(), lock)
            self._known = lock
        problems = self._looker.look(self._items)
        if problems != self._problems:
            readiness = judge(self._items, problems, self._cluster.machines)
            write_readiness(self._result, readiness)
            self._tell(problems, readiness)
            self._problems, self._readiness = problems, readiness
        return not problems

    def _tell(self, problems: Mapping[str, str], readiness: Readiness) -> None:
        log = logging.getLogger(LOGGER)
        shown = [item for item in self._items if item.name in problems]
        for item in shown[:SHOWN]:
            log.warning("%s (%s) %s: needed by %s", item.name, item.use, problems[item.name], item.needed_by())
        if len(shown) > SHOWN:
            more, file = len(shown) - SHOWN, self._lock.description
            log.warning("and %d more files and images: bootstrapper fetch %s --list", more, file)
        if not problems:
            log.info("every file and image that machines will ask for is here")
        for mac, names in readiness.missing.items():
            before = self._readiness.missing.get(mac)
            # Not at each file that comes: ten thousand machines wait for the same ones.
            if names and not before:
                self._record(Event(self._now(), mac, "files", "waiting for files", ", ".join(names)[:500], "warning"))
            elif not names and before:
                self._record(Event(self._now(), mac, "files", "files complete", "everything it needs is here"))


def run_file_watch(watch: FileWatch, wait: Callable[[float], bool], beside: Callable[[], None] = lambda: None) -> None:
    """Until `wait` (seconds) says that it is over. `beside` is done at each look, too."""
    log = logging.getLogger(LOGGER)
    over = False
    while not over:
        beside()
        try:
            over = wait(COMPLETE_S if watch.look() else WAITING_S)
        except Stopped:
            return
        except (UserError, OSError) as error:
            log.error("the files cannot be looked at: %s", error)
            over = wait(WAITING_S)


def open_index(assets: Path, state: Path) -> Index:
    """The server's own index, which may be written when the assets may not, with what `fetch` has hashed."""
    own = load_index(state / "assets-index.json")
    own.entries = {**load_index(assets / INDEX_NAME).entries, **own.entries}
    return own
