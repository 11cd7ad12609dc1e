"""The description: shown, checked, planned, saved so that it is whole at every moment, and its earlier revisions."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import Problem
from bootstrapper.web.admin.faults import NotFound, Unfit
from bootstrapper.web.admin.parts import AdminParts, Checked

MOST_BYTES = 4 << 20
"A description of 10,000 machines has about 2 MB."


class Editor:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._one = threading.Lock()
        "A check of many machines takes a processor for seconds: one at a time."
        self._saving = threading.Lock()

    def read(self) -> str:
        return read_description(self._parts.description)

    def show(self) -> dict[str, Any]:
        text = self.read()
        kept = self._parts.store.load_description()
        return {
            "revision": kept[0] if kept else None,
            "text": text,
            "file": str(self._parts.description),
            "writable": self._is_writable(),
            "digest": digest(text),
            "in_force": kept is not None and kept[1] == text,
        }

    def check(self, text: str) -> dict[str, Any]:
        found = self._check(text)
        return {
            "ok": found.cluster is not None,
            "problems": [show_problem(each) for each in found.problems],
            "advice": [show_problem(each) for each in found.advice],
        }

    def plan(self, text: str) -> dict[str, Any]:
        self._accept(text)
        return {"machines": [], "server": []}

    def save(self, text: str, base_revision: int | None, base_digest: str | None) -> dict[str, Any]:
        raise Unfit("saving is not there yet")

    def revisions(self) -> list[dict[str, Any]]:
        kept = self._parts.store.load_description()
        return [{"revision": kept[0], "at": 0.0, "note": ""}] if kept else []

    def revision(self, number: int) -> dict[str, Any]:
        kept = self._parts.store.load_description()
        if kept is None or kept[0] != number:
            raise NotFound(f"there is no revision {number}")
        return {"revision": number, "at": 0.0, "note": "", "text": kept[1]}

    def restore(self, number: int) -> dict[str, Any]:
        return self.save(self.revision(number)["text"], None, None)

    def _check(self, text: str) -> Checked:
        if len(text.encode()) > MOST_BYTES:
            return Checked(None, (Problem(0, "", f"longer than {MOST_BYTES >> 20} MiB"),))
        with self._one:
            return self._parts.check(text)

    def _accept(self, text: str) -> Cluster:
        found = self._check(text)
        if found.cluster is None:
            count = len(found.problems)
            raise Unfit(f"{count} problem{'s' if count != 1 else ''} in the description", problems=found.problems)
        return found.cluster

    def _is_writable(self) -> bool:
        real = self._parts.description.resolve()
        return os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)


def read_description(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise Unfit(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise Unfit(f"{path} cannot be read: {error.strerror}") from error


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def show_problem(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "path": problem.path, "message": problem.message, "hint": problem.hint}
