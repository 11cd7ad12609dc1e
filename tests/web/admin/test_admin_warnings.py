"""What is wrong with the server itself, in words: on the rack page, on Status, in the API and in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from adminplane import NODE1, TOKEN, AdminPlane
from pages_site import Visitor

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.errors import ClusterProblems, Problem, UserError
from bootstrapper.pki.authority import load_identity
from bootstrapper.state.carry_out import FORGET_NODE
from bootstrapper.state.refused import describe_refused, end_refused, keep_refused
from bootstrapper.web.admin.rack import RackView
from bootstrapper.web.admin.warnings import Warnings

RIVAL = (
    "another DHCP server, 10.10.14.7 (52:54:00:00:00:07), answers on eth1: machines may take its answers for ours; "
    "turn it off, or set network.dhcp.mode"
)


def look(admin: AdminPlane, free: int = 1 << 40) -> list[tuple[str, str]]:
    parts = admin.make_parts()
    return [(each["text"], each["page"]) for each in Warnings(parts, RackView(parts), lambda _folder: free).list()]


def test_a_server_that_is_well_says_nothing(admin: AdminPlane) -> None:
    assert look(admin) == []


def test_a_description_that_was_refused(admin: AdminPlane) -> None:
    admin.file.write_text("cluster: [\n")
    admin.clock = admin.file.stat().st_mtime + 14
    assert look(admin) == [], "it was saved a moment ago"
    admin.clock += 2
    words = f"{admin.file} was changed and is not in force: it was refused, or needs a restart"
    assert look(admin) == [(words, "description")]
    admin.clock = admin.file.stat().st_mtime - 3600
    assert look(admin) == [(words, "description")], "a clock that was set back"


def test_the_first_problem_of_a_description_that_was_refused(admin: AdminPlane) -> None:
    problems = (Problem(7, "machines[2].mac", "an <odd> MAC\x1b[31m", "write six pairs"), Problem(9, "x", "more"))
    refused = describe_refused(ClusterProblems(problems), "/etc/rack.yaml", 5.0)
    keep_refused(admin.store, refused)
    assert admin.get("/status")["refused"] == {
        "at": 5.0,
        "file": "/etc/rack.yaml",
        "problem": "line 7: machines[2].mac: an <odd> MAC [31m",
        "hint": "write six pairs",
        "more": 1,
    }
    words = "line 7: machines[2].mac: an <odd> MAC [31m, and 1 more problem; the last good description stays in force"
    assert look(admin) == [(f"/etc/rack.yaml was refused: {words}", "description")]
    end_refused(admin.store, 6.0, "revision 4, 2 machines")
    end_refused(admin.store, 7.0, "revision 5, 2 machines")
    assert look(admin) == []
    assert admin.get("/status")["refused"] is None
    assert [(event.mac, event.step, event.detail, event.level) for _, event in admin.store.events()] == [
        ("", "description refused", f"/etc/rack.yaml: {words}", "error"),
        ("", "description in force", "revision 4, 2 machines", "info"),
    ]


def test_a_refused_description_stands_on_every_page(admin: AdminPlane) -> None:
    error = ClusterProblems((Problem(7, "machines[2].mac", "an <odd> MAC", "write six pairs"), Problem(9, "x", "more")))
    visitor = Visitor(admin.browser())
    assert "was refused" not in visitor.client.get("/login").text
    visitor.log_in(TOKEN)
    keep_refused(admin.store, describe_refused(error, "/etc/rack.yaml", 5.0))
    words = "was refused: line 7: machines[2].mac: an &lt;odd&gt; MAC, and 1 more"
    for path in ("/", "/machines/node1", "/unknown", "/description", "/events", "/audit", "/certificates", "/status"):
        assert visitor.get(path).count(words) == 1, path
    assert "was refused" not in admin.browser().get("/login").text, "nothing for who is not logged in"
    end_refused(admin.store, 6.0, "revision 4, 2 machines")
    admin.clock += 6
    for path in ("/", "/machines/node1", "/description"):
        assert "was refused" not in visitor.get(path), path


def test_a_state_that_cannot_be_written(admin: AdminPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise UserError("state.db: the disk is full: nothing was written", "make room")

    monkeypatch.setattr(admin.store, "probe", fail)
    assert look(admin) == [("the state cannot be written: state.db: the disk is full: nothing was written", "status")]


@pytest.mark.parametrize("broken", [b"\xff\xfe", None])
def test_a_description_that_cannot_be_read(admin: AdminPlane, broken: bytes | None) -> None:
    admin.file.unlink()
    if broken is not None:
        admin.file.write_bytes(broken)
    ((text, page),) = look(admin)
    assert text.startswith(f"{admin.file} ")
    assert text.endswith("; the last good description stays in force")
    assert page == "description"


def test_another_dhcp_server_that_was_heard_lately(admin: AdminPlane) -> None:
    for _ in range(2):
        admin.store.add_events([Event(admin.clock, "", "dhcp", "rival", RIVAL, "warning")])
    assert look(admin) == [(RIVAL.split("; ")[0], "events")]
    admin.clock += 2 * 3600
    assert look(admin) == []


def test_a_disk_that_is_nearly_full(admin: AdminPlane) -> None:
    assert look(admin, 256 << 20) == []
    assert look(admin, (256 << 20) - 1) == [(f"only 255 MiB are free where {admin.folder} is", "status")]


def test_a_state_directory_that_is_gone(admin: AdminPlane) -> None:
    def fail(_folder: Path) -> int:
        raise FileNotFoundError(2, "No such file or directory")

    parts = admin.make_parts()
    assert [each["text"] for each in Warnings(parts, RackView(parts), fail).list()] == [
        "the state directory cannot be looked at: No such file or directory"
    ]


def test_files_that_are_missing(admin: AdminPlane) -> None:
    admin.missing = {"52:54:00:00:00:01": ("a", "b"), "52:54:00:00:00:02": ("b",)}
    assert look(admin) == [("2 files machines need are not here", "status")]
    admin.missing = {"52:54:00:00:00:01": ("a",)}
    assert look(admin) == [("1 file machines need is not here", "status")]


def test_a_certificate_that_was_not_renewed(admin: AdminPlane) -> None:
    load_identity(admin.folder / "pki", "bootstrapper.prod.example.com", [], admin.clock)
    assert look(admin) == []
    admin.clock += 390 * 86400
    assert [page for _text, page in look(admin)] == ["certificates"]
    assert look(admin)[0][0].startswith("a certificate of server ends in ")
    admin.clock += 30 * 86400
    assert look(admin)[0][0] == "a certificate of server has ended"


def test_what_a_forget_has_left_in_the_cluster(admin: AdminPlane) -> None:
    installed = History(done=1, state=MachineState.JOINED, state_at=admin.clock)
    admin.store.save_history(NODE1, installed)
    assert admin.ask("POST", "/api/v1/machines/node1/orders", {"order": "forget"}).status_code == 200
    assert look(admin) == []
    admin.clock += 60
    words = "node1 was forgotten, and its Node and its etcd member are still in the cluster"
    assert look(admin) == [(words, "events")]
    for errand in admin.store.load_errands():
        if errand.kind != FORGET_NODE:
            admin.store.finish_errand(errand.id)
    assert look(admin) == [("node1 was forgotten, and its Node is still in the cluster", "events")]


def test_where_it_is_shown(admin: AdminPlane) -> None:
    admin.store.add_events([Event(admin.clock, "", "dhcp", "rival", f"<b>{RIVAL}", "warning")])
    visitor = Visitor(admin.browser())
    visitor.log_in(TOKEN)
    for path in ("/", "/status"):
        assert "&lt;b&gt;another DHCP server, 10.10.14.7" in visitor.get(path), path
        assert "turn it off, or set network.dhcp.mode" in visitor.get(path), path
    (warning,) = admin.get("/status")["warnings"]
    assert warning["hint"] == "turn it off, or set network.dhcp.mode"
    live = visitor.client.get("/live/rack").json
    assert "another DHCP server" in live["warnings"]
    assert "warnings" not in visitor.client.get(f"/live/rack?warned={live['warned']}").json
