"""That the description's file was refused, kept for everybody to see until a good one is in force."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from bootstrapper.boot.events import Event
from bootstrapper.boot.steps import Server, Service
from bootstrapper.boot.tail import plain
from bootstrapper.errors import ClusterProblems, UserError
from bootstrapper.state.store import Store

NOTE = "description-refused"
CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Refused:
    at: float
    file: str
    problem: str
    "The first one, in one line."
    hint: str
    more: int
    "How many there are beside it."

    @property
    def words(self) -> str:
        return self.problem + (f", and {self.more} more problem{'s' if self.more != 1 else ''}" if self.more else "")


def describe_refused(error: UserError, file: str, at: float) -> Refused:
    if isinstance(error, ClusterProblems) and error.problems:
        first, *others = error.problems
        where = f"line {first.line}: " if first.line else ""
        path = f"{first.path}: " if first.path else ""
        return Refused(at, file, _clean(f"{where}{path}{first.message}"), _clean(first.hint), len(others))
    return Refused(at, file, _clean(error.message), _clean(error.hint), 0)


def keep_refused(store: Store, refused: Refused) -> None:
    """Also an event of the server."""
    store.save_note(NOTE, json.dumps(asdict(refused)))
    detail = _clean(f"{refused.file}: {refused.words}; the last good description stays in force")
    store.add_events([Event(refused.at, "", Service.SERVE, Server.REFUSED, detail, "error")])


def end_refused(store: Store, at: float, words: str) -> None:
    """A good description is in force: `words` say which. Nothing is written where none was refused before."""
    if store.load_note(NOTE):
        store.save_note(NOTE, "")
        store.add_events([Event(at, "", Service.SERVE, Server.IN_FORCE, words)])


def load_refused(store: Store) -> Refused | None:
    kept = store.load_note(NOTE)
    return Refused(**json.loads(kept)) if kept else None


def _clean(text: str) -> str:
    """The file's own words may be in it."""
    return plain(text)[:CHARACTERS]
