"""Unknown machines that an admin approved: they are in force beside those of the file (design.md rule 2, `worker`).

Wiring: the supervisor asks here whether somebody was approved or forgotten since, and loads the description anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bootstrapper.cluster.model import Cluster
from bootstrapper.description import check_description
from bootstrapper.errors import ClusterProblems, UserError
from bootstrapper.servers.logs import LOGGER
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.templating import Templates

EVERY_S = 1.0


class Approvals:
    """No connection is kept open: the supervisor forks, and SQLite's may not be carried over."""

    def __init__(self, database: Path, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._monotonic = monotonic
        self._next_at = 0.0
        self._stamp: tuple[int, ...] = ()
        self._taken: frozenset[str] = frozenset()

    def load(self) -> frozenset[str]:
        """MACs; what `changed` compares with from now on. Raises UserError for a database that cannot be read."""
        self._stamp = self._look()
        self._taken = self._read()
        return self._taken

    def changed(self) -> bool:
        """Whether others are approved than `load` last said. Cheap: the database is opened only after a write."""
        now = self._monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + EVERY_S
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        # A disk that fails is told by those who write to it; the supervisor goes on.
        with suppress(UserError):
            return self._read() != self._taken
        return False

    def _read(self) -> frozenset[str]:
        if not os.access(
            self._database, os.R_OK
        ):  # none yet; or not ours, of which whoever opens it for good will tell
            return frozenset()
        store = SqliteStore(self._database)
        try:
            return store.load_approved()
        finally:
            store.close()

    def _look(self) -> tuple[int, ...]:
        found = []
        for path in (self._database, self._database.with_name(self._database.name + "-wal")):
            try:
                status = path.stat()
            except OSError:
                continue
            found += [status.st_ino, status.st_mtime_ns, status.st_size]
        return tuple(found)


def check_with_approved(text: str, file: str, templates: Templates, approved: frozenset[str]) -> Cluster:
    """As `check_description`; machines that were approved never keep the admin's file from coming into force."""
    try:
        return check_description(text, file, templates, approved)
    except ClusterProblems as error:
        if not approved:
            raise
        cluster = check_description(text, file, templates)
        log = logging.getLogger(LOGGER)
        log.error("%d approved machines cannot be members with this description:", len(approved))
        for problem in error.problems[:10]:
            log.error("  %s", problem.text())
        return cluster
