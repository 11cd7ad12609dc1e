"""Who ordered what, when, and what came of it: everything that changes something passes through `entry`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bootstrapper.errors import UserError
from bootstrapper.state.store import AuditEntry
from bootstrapper.web.admin.caller import Caller
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean

MOST = 1000
"Entries in one answer."


class Audit:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    @contextmanager
    def entry(self, who: Caller, action: str, target: str = "", detail: str = "") -> Iterator[None]:
        """Keep what the block does, and whether it was refused or failed. `target`: a machine, as it was named."""
        said = ""
        try:
            yield
        except UserError as error:
            said = error.message
            raise
        except BaseException:
            said = "failed: see the server's log"
            raise
        finally:
            self.add(who.name, action, target, "; ".join(part for part in (detail, said) if part), bool(said))

    def add(self, who: str, action: str, target: str = "", detail: str = "", refused: bool = False) -> None:
        entry = AuditEntry(
            self._parts.now(), clean(who, 100), clean(action, 60), clean(target, 60), clean(detail, 1000), refused
        )
        words = " ".join(
            part for part in (entry.action, entry.mac, f"({entry.detail})" if entry.detail else "") if part
        )
        level = logging.WARNING if refused else logging.INFO
        logging.getLogger("bootstrapper").log(level, "%s%s: %s", "refused: " if refused else "", entry.who, words)
        self._parts.store.add_audit(entry)

    def list(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Oldest first, those after `after`; the latest `limit` when it is 0."""
        limit = max(1, min(limit, MOST))
        store = self._parts.store
        found = store.audit(after, limit) if after else store.latest_audit(limit)
        return [
            {
                "id": number,
                "at": each.at,
                "who": each.who,
                "what": each.action,
                "target": each.mac,
                "detail": each.detail,
                "outcome": "refused" if each.refused else "done",
            }
            for number, each in found
        ]
