"""The description on the admin plane: checked, planned, saved whole, restored."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adminplane import NODE1, TOKEN, AdminPlane
from pages_site import Visitor

from bootstrapper.boot.history import History, MachineState
from bootstrapper.errors import UserError
from bootstrapper.web.admin import whole
from bootstrapper.web.admin.editor import Editor
from bootstrapper.web.admin.whole import write_whole

URL = "/api/v1/description"


def edited(admin: AdminPlane, before: str = "host: node2", after: str = "host: renamed") -> str:
    text = admin.file.read_text()
    assert before in text
    return text.replace(before, after, 1)


def save(admin: AdminPlane, text: str, revision: int = 1, digest: str | None = None) -> tuple[int, Any]:
    body = {"text": text, "base_revision": revision, "base_digest": digest}
    reply = admin.ask("PUT", URL, json=body)
    return reply.status_code, reply.json


def test_it_is_shown_with_what_a_save_needs(admin: AdminPlane) -> None:
    found = admin.get("/description")
    assert found["text"] == admin.file.read_text()
    assert (found["revision"], found["writable"], found["in_force"]) == (1, True, True)
    assert found["obstacle"] == ""
    assert found["file"] == str(admin.file)


def test_a_check_names_every_problem_with_its_line(admin: AdminPlane) -> None:
    text = edited(admin, "ip: 10.10.14.12", "ip: 10.10.14.999")
    found = admin.ask("POST", f"{URL}/check", json={"text": text}).json
    assert found["ok"] is False
    line = text[: text.index("10.10.14.999")].count("\n") + 1
    assert (found["problems"][0]["path"], found["problems"][0]["line"]) == ("machines[1].ip", line)
    assert admin.ask("POST", f"{URL}/check", json={"text": admin.file.read_text()}).json["ok"] is True


@pytest.mark.parametrize(
    "text", ["", "\x00", "\ud800", "- " * 5000, "a: &a [*a]", "x" * (5 << 20), "!!python/object:os.x {}"]
)
def test_texts_that_are_no_description(admin: AdminPlane, text: str) -> None:
    reply = admin.ask("POST", f"{URL}/check", json={"text": text})
    assert reply.status_code == 200
    assert reply.json["ok"] is False


def test_a_save_is_a_new_revision_and_the_file(admin: AdminPlane) -> None:
    admin.file.chmod(0o640)
    text = edited(admin)
    status, found = save(admin, text)
    assert (status, found) == (200, {"revision": 2, "in_force": True, "restart": [], "replaced": None})
    assert admin.file.read_text() == text
    assert stat.S_IMODE(admin.file.stat().st_mode) == 0o640
    assert [path.name for path in admin.folder.iterdir() if path.name.endswith(".new")] == []
    listed = admin.get("/description/revisions")
    assert [(each["revision"], each["note"]) for each in listed] == [(2, "saved by token from 127.0.0.1"), (1, "")]
    assert admin.get("/description/revisions/2")["text"] == text


def test_whoever_was_slower_is_told_and_changes_nothing(admin: AdminPlane) -> None:
    first, second = edited(admin), edited(admin, "host: node3", "host: other")
    assert save(admin, first)[0] == 200
    status, found = save(admin, second)
    assert status == 409
    assert found["error"].startswith("somebody else was faster: revision 2 is in force")
    assert admin.file.read_text() == first


def test_an_edit_in_the_file_itself_is_not_written_over(admin: AdminPlane) -> None:
    """An editor on the host saved something that is not in force (it was refused, or is a moment old)."""
    shown = admin.get("/description")
    by_hand = edited(admin, "host: node3", "host: byhand")
    admin.file.write_text(by_hand)
    assert save(admin, edited(admin), digest=shown["digest"])[0] == 409
    assert save(admin, edited(admin))[0] == 409, "and who sends no digest cannot know what he writes over"
    assert admin.file.read_text() == by_hand
    assert save(admin, edited(admin), digest=admin.get("/description")["digest"])[0] == 200


def test_a_bad_text_is_refused_whole(admin: AdminPlane) -> None:
    before = admin.file.read_text()
    status, found = save(admin, edited(admin, "ip: 10.10.14.12", "ip: 10.10.14.11"))
    assert status == 422
    assert found["error"] == "1 problem in the description"
    assert found["problems"][0]["path"] == "machines[1].ip"
    assert admin.file.read_text() == before
    assert len(admin.get("/description/revisions")) == 1
    assert admin.get("/audit")[-1]["outcome"] == "refused"


def test_what_needs_a_restart_is_saved_and_said(admin: AdminPlane) -> None:
    status, found = save(admin, edited(admin, "bootstrapper: 10.10.14.253", "bootstrapper: 10.10.14.252"))
    assert status == 200
    assert found["in_force"] is False
    assert found["restart"] == ["network.bootstrapper: 10.10.14.253 -> 10.10.14.252"]
    assert (admin.get("/description")["revision"], admin.get("/description")["in_force"]) == (1, False)


def test_a_revision_is_restored_and_the_text_it_replaces_is_kept(admin: AdminPlane) -> None:
    original = admin.file.read_text()
    assert save(admin, edited(admin))[0] == 200
    admin.file.write_text("a typing error: [\n")
    reply = admin.ask("POST", f"{URL}/revisions/1/restore")
    assert reply.status_code == 200
    assert reply.json["revision"] == 3
    assert admin.file.read_text() == original
    assert Path(reply.json["replaced"]).read_text() == "a typing error: [\n"
    assert admin.get("/description/revisions")[0]["note"] == "revision 1 restored by token from 127.0.0.1"
    assert admin.ask("POST", f"{URL}/revisions/9/restore").status_code == 404


def test_the_plan_says_what_of_it_an_open_install_takes_along(admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(done=1, state=MachineState.INSTALLED))
    text = edited(admin, "ip: 10.10.14.11", "ip: 10.10.14.21").replace("ip: 10.10.14.12", "ip: 10.10.14.22", 1)
    found = {each["host"]: each for each in admin.ask("POST", f"{URL}/plan", json={"text": text}).json["machines"]}
    assert (found["node1"]["effect"], found["node1"]["changes"]) == ("reinstall", ["ip: 10.10.14.11 -> 10.10.14.21"])
    assert (found["node2"]["effect"], found["node2"]["changes"][-1]) == (
        "live", "it is still to be installed, and will be with this",
    )  # fmt: skip
    assert admin.ask("POST", f"{URL}/plan", json={"text": "x"}).status_code == 422


def test_the_check_and_the_plan_say_what_would_be_put_on_hold(admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(done=1, state=MachineState.INSTALLED))
    text = edited(admin, NODE1, "52:54:00:00:00:99")
    words = (
        f"it has the host name of node1 ({NODE1}), which is installed and no longer described: order `move {NODE1} "
        "52:54:00:00:00:99` if it is that machine, or `install` if its disk is to be written"
    )
    found = {each["mac"]: each for each in admin.ask("POST", f"{URL}/plan", json={"text": text}).json["machines"]}
    assert found["52:54:00:00:00:99"]["changes"][-1] == f"is put on hold: {words}"
    assert found[NODE1]["effect"] == "gone"
    advice = admin.ask("POST", f"{URL}/check", json={"text": text}).json["advice"]
    assert advice[0]["message"] == f"node1 would be put on hold: {words}"
    assert advice[0]["line"] == 1 + text[: text.index("52:54:00:00:00:99")].count("\n")


def test_a_link_stays_and_what_it_points_at_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "etc" / "real.yaml", tmp_path / "link.yaml"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to(real)
    write_whole(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_disk_that_is_full_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="No space left on device") as refused:
        write_whole(path, "new")
    assert refused.value.hint == f"make room on the disk of {tmp_path}, and save it again"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_a_mount_is_not_writable_and_says_why(
    admin: AdminPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's part, a real mount, is in tests/interop/test_description_mount.py."""
    old, before = admin.file.read_text(), sorted(admin.folder.iterdir())
    monkeypatch.setattr(whole, "_find_mount", str)

    def busy(path: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    what = f"mount the directory that it is in, {admin.folder}, instead of the file alone (docs/admin-api.md)"
    found = admin.get("/description")
    assert (found["writable"], found["obstacle"]) == (False, f"{admin.file} is a mount of its own: {what}")
    status, refused = save(admin, edited(admin))
    assert (status, refused["hint"]) == (503, what)
    assert (admin.file.read_text(), sorted(admin.folder.iterdir())) == (old, before)
    page = Visitor(admin.browser())
    page.log_in(TOKEN)
    assert "is a mount of its own" in page.get("/description")


def test_the_same_text_is_checked_once_for_check_plan_and_save(admin: AdminPlane) -> None:
    seen: list[str] = []
    parts = admin.make_parts()
    editor = Editor(replace(parts, check=lambda text: (seen.append(text), parts.check(text))[1]))
    text = edited(admin)
    editor.check(text)
    editor.plan(text)
    assert editor.save(text, 1, None, "")["in_force"]
    assert seen == [text]
    admin.clock += 61
    editor.check(text)
    assert len(seen) == 2, "a template may have changed since"


def test_the_server_alone_keeps_revisions(admin: AdminPlane) -> None:
    """It compares a new description with the one before; a save that kept it first would hide that one."""
    admin.refuses = True
    status, found = save(admin, edited(admin))
    assert (status, found["in_force"], found["revision"]) == (200, False, 1)
    assert 40 <= admin.waited < 41
    kept = admin.store.load_description()
    assert kept is not None
    assert kept[1] != admin.file.read_text()


def test_a_text_that_is_there_already_is_saved_at_once(admin: AdminPlane) -> None:
    assert save(admin, admin.file.read_text())[1]["revision"] == 1
    assert admin.waited == 0
