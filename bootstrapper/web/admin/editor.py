"""The description: shown, checked, planned, saved, and its earlier revisions.

A save writes the admin's own file; the running server notices that as it notices an editor's, and reloads.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bootstrapper.boot.adoption import add_holds, find_adoptions
from bootstrapper.cluster.model import Cluster
from bootstrapper.cluster.plan import Effect, MachineChange, find_restarts
from bootstrapper.errors import Problem
from bootstrapper.pki.files import write_private
from bootstrapper.state.store import Store
from bootstrapper.web.admin.faults import Conflict, NotFound, Unfit
from bootstrapper.web.admin.parts import AdminParts, Checked
from bootstrapper.web.admin.whole import find_obstacle, read_description, write_whole

MOST_BYTES = 4 << 20
"A description of 10,000 machines has about 2 MB."
NOTE = "description-saved"
"The store's note of who saved last, for the revision that comes of it."
FORCE_S, POLL_S = 40.0, 0.1
"So long a save waits for its reload: that of 1,000 machines takes some seconds."
CHECKED, CHECKED_S = 4, 60.0
"So many texts' checks are kept, and so long: templates and `assets.lock` may change."
REPLACED = "replaced-description.yaml"
"In the state directory: a text that a restore or an adoption wrote over, and that is in no revision."


class Editor:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._checking = threading.Lock()
        "A check of many machines takes a processor for seconds: one at a time."
        self._saving = threading.Lock()
        self._checked: OrderedDict[str, tuple[float, Checked]] = OrderedDict()

    def read(self) -> str:
        return read_description(self._parts.description)

    def show(self) -> dict[str, Any]:
        text = self.read()
        kept = self._parts.store.load_description()
        obstacle = find_obstacle(self._parts.description)
        return {
            "revision": kept[0] if kept else 0,
            "text": text,
            "file": str(self._parts.description),
            "writable": not obstacle,
            "obstacle": obstacle,
            "digest": digest(text),
            "in_force": kept is not None and kept[1] == text,
        }

    def show_kept(self) -> dict[str, Any]:
        """As `show`, for a file that cannot be read: the description in force, to be saved in its place."""
        kept = self._parts.store.load_description()
        obstacle = find_obstacle(self._parts.description)
        return {
            "revision": kept[0] if kept else 0,
            "text": kept[1] if kept else "",
            "file": str(self._parts.description),
            "writable": not obstacle,
            "obstacle": obstacle,
            "digest": "",
            "in_force": False,
        }

    def check(self, text: str) -> dict[str, Any]:
        found = self._check(text)
        return {
            "ok": found.cluster is not None,
            "problems": [show_problem(each) for each in found.problems],
            "advice": [show_problem(each) for each in (*self._find_holds(found.cluster), *found.advice)],
        }

    def _find_holds(self, new: Cluster | None) -> list[Problem]:
        """The machines that the description would put on hold, since whose life is theirs is not plain."""
        if new is None:
            return []
        found = find_adoptions(self._parts.store.load_histories(), new, self._parts.cluster())
        return [
            Problem(new.by_mac[each.mac].line, "", f"{new.by_mac[each.mac].host} would be put on hold: {each.held}")
            for each in found
            if each.held
        ]

    def plan(self, text: str) -> dict[str, Any]:
        new = self._accept(text)
        with self._checking:
            changes = self._parts.plan(self._parts.cluster(), new)
        histories = self._parts.store.load_histories()
        waiting = {mac for mac, history in histories.items() if history.open}
        fresh = {machine.mac for machine in self._parts.cluster().machines} - set(histories)
        changes = add_holds(changes, find_adoptions(histories, new, self._parts.cluster()))
        return {
            "machines": [show_change(each, each.mac in waiting | fresh) for each in changes.machines],
            "server": list(changes.server),
        }

    def save(self, text: str, base_revision: int | None, base_digest: str | None, note: str) -> dict[str, Any]:
        """`base_revision`, `base_digest`: of what the text was made from; None for both: of whatever is there."""
        with self._saving:
            kept = self._parts.store.load_description()
            present = self._read_present()
            if base_revision is not None and kept is not None and base_revision != kept[0]:
                raise Conflict(
                    f"somebody else was faster: revision {kept[0]} is in force, and this was made from {base_revision}",
                    "load the description again, and make the change there",
                )
            if base_digest is not None and present is not None and base_digest != digest(present):
                raise Conflict(
                    f"{self._parts.description} was changed by somebody else meanwhile",
                    "load the description again, and make the change there",
                )
            # A file that is gone, or no text, is what a save puts right.
            unseen = present is not None and kept is not None and present != kept[1]
            if base_revision is not None and base_digest is None and unseen:
                raise Conflict(
                    f"{self._parts.description} holds changes that are not in force",
                    "load the description again, and send its `digest` as `base_digest`",
                )
            return self._write(text, present, note)

    def edit(self, change: Callable[[str], str], note: str) -> dict[str, Any]:
        """Save what `change` makes of the file as it is now."""
        with self._saving:
            present = self.read()
            return self._write(change(present), present, note)

    def restore(self, number: int, note: str) -> dict[str, Any]:
        text = self._find(number)
        with self._saving:
            return self._write(text, self._read_present(), note)

    def revisions(self) -> list[dict[str, Any]]:
        return [
            {"revision": each.revision, "at": each.at, "note": each.note}
            for each in self._parts.store.list_descriptions()
        ]

    def revision(self, number: int) -> dict[str, Any]:
        text = self._find(number)
        kept = next((each for each in self.revisions() if each["revision"] == number), None)
        return {**(kept or {"revision": number, "at": 0.0, "note": ""}), "text": text}

    def _write(self, text: str, present: str | None, note: str) -> dict[str, Any]:
        """Whole or not at all; then wait until it is in force. Whoever calls this holds `_saving`.

        The server that notices the file keeps the revision, not this: it compares with what was in force until then
        (a machine whose first MAC changes keeps its life), and has reasons of its own to refuse.
        """
        cluster = self._accept(text)
        restart = [f"{what}: {before} -> {after}" for what, before, after in self._find_restarts(cluster)]
        replaced = self._keep_replaced(present, text)
        self._parts.store.save_note(NOTE, json.dumps({"digest": digest(text), "note": note}))
        if self._read_present() != present:
            raise Conflict(
                f"{self._parts.description} was changed by somebody else meanwhile",
                "load the description again, and make the change there",
            )
        if present != text:
            write_whole(self._parts.description, text)
        in_force = not restart and self._wait_for(text)
        kept = self._parts.store.load_description()
        return {"revision": kept[0] if kept else 0, "in_force": in_force, "restart": restart, "replaced": replaced}

    def _wait_for(self, text: str) -> bool:
        """Whether `text` came into force; not, when it took too long or was refused (the server's log says why)."""
        until = self._parts.now() + FORCE_S
        while self._parts.now() < until:
            kept = self._parts.store.load_description()
            if kept is not None and kept[1] == text:
                return True
            self._parts.wait(POLL_S)
        return False

    def _find_restarts(self, new: Cluster) -> list[tuple[str, object, object]]:
        return find_restarts(self._parts.cluster(), new)

    def _keep_replaced(self, present: str | None, text: str) -> str | None:
        """A text that is written over and in no revision is not lost: it may be an admin's edit with a typing error."""
        if present is None or present == text:
            return None
        store = self._parts.store
        if any(store.find_description(each.revision) == present for each in store.list_descriptions()):
            return None
        path = self._parts.state / REPLACED
        write_private(path, present.encode())
        return str(path)

    def _read_present(self) -> str | None:
        try:
            return self.read()
        except Unfit:  # no text, or gone: there is nothing to compare with
            return None

    def _find(self, number: int) -> str:
        text = self._parts.store.find_description(number)
        if text is None:
            raise NotFound(f"there is no revision {number}", "the latest 50 are kept")
        return text

    def _check(self, text: str) -> Checked:
        if len(text) > MOST_BYTES or len(text.encode("utf-8", "replace")) > MOST_BYTES:
            return Checked(None, (Problem(0, "", f"the description is longer than {MOST_BYTES >> 20} MiB"),))
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            return Checked(None, (Problem(0, "", "the description is not text: it has characters that no file holds"),))
        with self._checking:
            return self._check_once(text)

    def _check_once(self, text: str) -> Checked:
        """Whoever looks at a plan and saves has the same text checked three times within a minute."""
        now, name = self._parts.now(), digest(text)
        kept = self._checked.get(name)
        if kept is None or not 0 <= now - kept[0] < CHECKED_S:
            kept = (now, self._parts.check(text))
            self._checked[name] = kept
            self._checked.move_to_end(name)
            while len(self._checked) > CHECKED:
                self._checked.popitem(last=False)
        return kept[1]

    def _accept(self, text: str) -> Cluster:
        found = self._check(text)
        if found.cluster is None:
            count = len(found.problems)
            raise Unfit(
                f"{count} problem{'s' if count != 1 else ''} in the description", "nothing was changed", found.problems
            )
        return found.cluster


def find_note(store: Store, text: str) -> str:
    """Who saved `text`, in words; empty: not the admin plane."""
    with suppress(ValueError, TypeError, KeyError):
        kept = json.loads(store.load_note(NOTE) or "{}")
        if kept["digest"] == digest(text):
            return str(kept["note"])
    return ""


def show_change(change: MachineChange, to_install: bool) -> dict[str, Any]:
    """`to_install`: an install of the machine is open, and will be with the new configuration anyway."""
    effect, changes = change.effect, list(change.changes)
    if effect is Effect.REINSTALL and to_install:
        effect, changes = Effect.LIVE, [*changes, "it is still to be installed, and will be with this"]
    return {"mac": change.mac, "host": change.host, "effect": effect.value, "changes": changes}


def show_problem(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line, "path": problem.path, "message": problem.message, "hint": problem.hint}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
