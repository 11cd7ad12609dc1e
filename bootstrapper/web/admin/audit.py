"""Who ordered what, when, and what came of it. Kept as events of the service `admin` until told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bootstrapper.boot.events import Event
from bootstrapper.errors import UserError
from bootstrapper.web.admin.caller import Caller
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean


class Audit:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    @contextmanager
    def entry(self, who: Caller, what: str, target: str = "", detail: str = "") -> Iterator[None]:
        """Keep what the block does under `what`, with its outcome."""
        outcome = "failed"
        try:
            yield
            outcome = "done"
        except UserError as error:
            outcome = f"refused: {error.message}"
            raise
        finally:
            self.add(who.name, what, target, detail, outcome)

    def add(self, who: str, what: str, target: str, detail: str, outcome: str) -> None:
        text = "; ".join(part for part in (target, detail, outcome) if part)
        event = Event(self._parts.now(), "", "admin", clean(what, 60), clean(f"{who}: {text}", 500))
        self._parts.store.add_events([event])

    def list(self, after: int, limit: int) -> list[dict[str, Any]]:
        found = [each for each in self._parts.store.events("", after, 1000) if each[1].service == "admin"]
        return [
            {"id": number, "at": event.at, "who": event.detail.partition(": ")[0], "what": event.step, "target": "",
             "detail": event.detail.partition(": ")[2], "outcome": ""}
            for number, event in found[:limit]
        ]  # fmt: skip
