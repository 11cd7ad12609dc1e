"""The description's pages: an editor that says what is wrong and what a save would change, and the earlier versions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request
from werkzeug.wrappers import Response as BaseResponse

from bootstrapper.errors import UserError
from bootstrapper.web.admin import views
from bootstrapper.web.admin.auth import caller
from bootstrapper.web.admin.desk import AdminDesk
from bootstrapper.web.admin.diff import compare
from bootstrapper.web.admin.faults import Conflict, Unfit
from bootstrapper.web.admin.pages_reply import Notice, find_said, go, page
from bootstrapper.web.admin.problems import find_status

Json = Mapping[str, Any]


class DescriptionPages:
    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def show_description(self) -> Response:
        """The editor with the file's text; `adopt=MAC`: with that machine's lines in it."""
        kept, trouble = self._find_kept()
        adopted = request.args.get("adopt", "")
        if adopted:
            try:
                found = self._desk.adopt(caller(), adopted)
            except UserError as error:
                notice = Notice(error.message, "bad", error.hint)
                return self._draw(kept, kept["text"], status=find_status(error), notice=notice)
            notice = Notice(f"{adopted[:40]} was put in, and is not saved yet.", "busy", "Set its host name and roles.")
            line = find_first_new(kept["text"], found["text"])
            return self._draw(kept, found["text"], found, notice=notice, line=line)
        return self._draw(kept, kept["text"], notice=trouble or find_said())

    def _find_kept(self) -> tuple[Json, Notice | None]:
        """The file; where it cannot be read, the description in force and why."""
        try:
            return self._desk.description(), None
        except Unfit as error:
            words = "Below is the description in force: saving it puts it in the file's place."
            return self._desk.description_in_force(), Notice(error.message, "bad", f"{error.hint}. {words}")

    def show_save_description(self) -> BaseResponse:
        """`do=review`: what the text would change; `do=save`: it is written, if this very text was reviewed."""
        text = request.form.get("text", "").replace("\r\n", "\n")
        kept, _trouble = self._find_kept()
        try:
            if request.form.get("do") == "save" and self._was_reviewed(text):
                return self._save(text)
            plan = self._desk.plan(text)
        except Unfit as error:
            problems = [views.show_problem(each) for each in error.problems]
            notice = None if problems else Notice(error.message, "bad", error.hint)
            return self._draw(kept, text, {"ok": False, "problems": problems, "advice": []}, 422, notice=notice)
        except Conflict as error:
            return self._draw_conflict(kept, text, error)
        except UserError as error:  # a full disk, a directory that is closed: what was typed is still there
            notice = Notice(error.message, "bad", f"{error.hint}. Nothing was saved; your text is below.")
            return self._draw(kept, text, status=find_status(error), notice=notice)
        return self._draw(kept, text, {"ok": True, "problems": [], "advice": []}, plan=plan,
                          line=find_first_new(kept["text"], text))  # fmt: skip

    def _was_reviewed(self, text: str) -> bool:
        return hmac.compare_digest(request.form.get("reviewed", "").encode(), digest_text(text).encode())

    def _save(self, text: str) -> BaseResponse:
        revision = request.form.get("base_revision", "")
        base = int(revision) if revision.isascii() and revision.isdecimal() and len(revision) < 16 else None
        saved = self._desk.save_description(caller(), text, base, request.form.get("base_digest") or None)
        if saved["in_force"] and not saved["replaced"]:
            return go("pages.description", "saved")
        words = [f"{each}." for each in saved["restart"]]
        if saved["replaced"]:
            words.append(f"What was in the file and in no revision is kept as {saved['replaced']}.")
        if not saved["in_force"] and not saved["restart"]:
            words.append("The server has not taken it up: its log says why.")
        told = "Saved. It is in force when the server is started again." if saved["restart"] else "Saved."
        kept = self._desk.description()
        notice = Notice(told, "warn", " ".join(words))
        return self._draw(kept, kept["text"], notice=notice, base_revision=int(kept["revision"] or 0),
                          base_digest=kept["digest"])  # fmt: skip

    def _draw_conflict(self, kept: Json, text: str, error: Conflict) -> Response:
        """Somebody else saved meanwhile: their text beside ours, and ours based on theirs from here on."""
        notice = Notice(
            "Nothing was saved: the description was changed by somebody else meanwhile.",
            "bad",
            f"{error.message}. {error.hint}".rstrip(". ") + ".",
        )
        return self._draw(kept, text, status=409, notice=notice, theirs=compare(kept["text"], text))

    def _draw(
        self, kept: Json, text: str, found: Json | None = None, status: int = 200, plan: Json | None = None, **more: Any
    ) -> Response:
        started = int(kept["revision"] or 0)
        form = request.form
        conflict = bool(more.get("theirs"))
        found = found or {"ok": True, "problems": [], "advice": []}
        return page(
            "description.html",
            status,
            **{
                "title": "Description",
                "kept": kept,
                "text": text,
                "base_revision": started if conflict else form.get("base_revision", started),
                "base_digest": kept["digest"] if conflict else form.get("base_digest", kept["digest"]),
                "reviewed": digest_text(text) if plan else "",
                "problems": found["problems"],
                "advice": found["advice"],
                "verdict": views.tell_verdict(found["ok"], len(found["problems"]), len(found["advice"])),
                "plan": plan,
                "effects": views.count_effects(plan) if plan else [],
                "planned": views.list_planned(plan) if plan else [],
                "diff": compare(kept["text"], text) if plan else [],
                "theirs": [],
                "line": 0,
                "notice": None,
                **more,
            },
        )

    # -- versions -----------------------------------------------------------------------------------------------------
    def show_versions(self) -> Response:
        """`show=N`: what N changed; `show=N&against=M`: from N to M."""
        revisions = self._desk.revisions()
        numbers = [entry["revision"] for entry in revisions]
        shown, against = read_revision("show"), read_revision("against")
        before, after = (shown, against) if against else (find_before(numbers, shown), shown)
        heading = f"From revision {before} to {after}" if before else f"Revision {after}, whole"
        old = self._desk.revision(before)["text"] if before else ""
        new = self._desk.revision(after)["text"] if after else ""
        current = self._find_kept()[0]["revision"]
        plan, refused = self._plan_restore(shown) if shown and shown != current else (None, "")
        return page(
            "versions.html",
            title="Versions",
            revisions=revisions,
            current=current,
            shown=shown,
            heading=heading,
            diff=compare(old, new) if shown else [],
            plan=plan,
            effects=views.count_effects(plan) if plan else [],
            planned=views.list_planned(plan) if plan else [],
            refused=refused,
            notice=find_said(),
        )

    def _plan_restore(self, number: int) -> tuple[Json | None, str]:
        """What restoring it would change; else why it cannot be: today's checks may know more than those of its day."""
        try:
            return self._desk.plan(self._desk.revision(number)["text"]), ""
        except Unfit as error:
            first = f": {error.problems[0].text()}" if error.problems else ""
            return None, f"It cannot be restored: {error.message}{first}"

    def show_restore(self, number: int) -> BaseResponse:
        self._desk.restore_revision(caller(), number)
        return go("pages.versions", "restored")


def read_revision(name: str) -> int:
    """A query's revision; 0: none."""
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def find_before(numbers: Sequence[int], number: int) -> int:
    """The revision that was in force before `number`; 0: it is not kept."""
    return max((each for each in numbers if each < number), default=0)


def find_first_new(before: str, after: str) -> int:
    """The first line of `after`, from 1, that `before` has not at its place; 0: none."""
    old = before.splitlines()
    new = after.splitlines()
    return next((number for number, line in enumerate(new, 1) if number > len(old) or line != old[number - 1]), 0)


def digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
