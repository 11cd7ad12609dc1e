"""What pages show, before it is HTML: rows, words for times, filters, orders as forms, differences, what is new."""

from __future__ import annotations

from typing import Any

import pytest

from bootstrapper.boot.lifecycle import STATES, Order
from bootstrapper.web.admin.diff import DiffLine, compare
from bootstrapper.web.admin.pages_description import find_before, find_first_new
from bootstrapper.web.admin.rack_state import KEPT, RackState
from bootstrapper.web.admin.stops import Stops, stands_still
from bootstrapper.web.admin.views import (
    ORDER_OF_STATES,
    WIPE,
    Filter,
    Row,
    build_boots,
    build_row,
    count_states,
    find_form,
    list_forms,
    list_planned,
    make_pattern,
    share_out,
    tell_ago,
    tell_counts,
    tell_hosts,
    tell_report,
)

MACHINE: dict[str, Any] = {
    "mac": "00:25:90:c0:f7:80", "host": "node1", "address": "10.10.14.11", "roles": ["etcd", "master"],
    "state": "armed", "state_at": 5.0, "reason": "", "held": "", "overdue": "", "progress": None, "missing_assets": [],
}  # fmt: skip


def row(**changes: Any) -> Row:
    return build_row({**MACHINE, **changes})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (4, "just now"), (5, "5 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7199, "119 min ago"),
     (7200, "2 h ago"), (172799, "47 h ago"), (172800, "2 days ago"), (-3, "just now"), (-90, "in 90 s"),
     (-86400 * 200, "in 200 days")],
)  # fmt: skip
def test_times_in_words(seconds: float, text: str) -> None:
    assert tell_ago(1000.0, 1000.0 + seconds) == text


@pytest.mark.parametrize(
    ("changes", "why", "tone", "alarm"),
    [
        ({}, "not heard from yet: switch it on, network first in its boot order", "idle", False),
        ({"last_event": {"at": 1.0}}, "", "idle", False),
        ({"state": "joined", "reason": "its node is Ready"}, "its node is Ready", "good", False),
        ({"state": "held", "held": "a loop", "reason": "x"}, "a loop", "warn", True),
        ({"state": "failed", "reason": "no disk"}, "no disk", "bad", True),
        (
            {"state": "joined", "reason": "its node is Ready", "older_plan": ["host: a -> b"]},
            "its disk has an older plan: it needs a reinstall",
            "good",
            False,
        ),
        ({"state": "booting", "overdue": "not heard", "reason": "x"}, "not heard", "warn", True),
        ({"diagnosis": {"title": "no file asked for"}, "reason": "x"}, "no file asked for", "warn", True),
        ({"state": "failed", "diagnosis": {"title": "t"}, "reason": "/dev/sda"}, "/dev/sda", "bad", True),
        ({"state": "booting", "overdue": "not heard", "diagnosis": {"title": "t"}}, "t", "warn", True),
        ({"missing_assets": ["/assets/a"]}, "1 file it needs is missing here", "idle", False),
        ({"missing_assets": ["/assets/a", "/assets/b"]}, "2 files it needs are missing here", "idle", False),
        ({"state": "joined", "missing_assets": ["/assets/a"], "reason": "up"}, "up", "good", False),
    ],
)
def test_why_a_machine_is_where_it_is(changes: dict[str, Any], why: str, tone: str, alarm: bool) -> None:
    made = row(**changes)
    assert (made.why, made.tone, made.alarm) == (why, tone, alarm)


@pytest.mark.parametrize(
    ("progress", "doing"),
    [
        ({"step": "image", "percent": 43}, "writing the image 43 %"),
        ({"step": "image", "percent": None}, "writing the image"),
        ({"step": "clock", "percent": None}, "choosing the disk"),
        ({"step": "disk", "percent": None}, "getting its configuration"),
        ({"step": "of tomorrow", "percent": 0}, "of tomorrow 0 %"),
    ],
)
def test_what_is_under_way(progress: dict[str, Any], doing: str) -> None:
    made = row(state="installing", progress=progress, reason="image")
    assert (made.doing, made.percent, made.why) == (doing, progress["percent"], "")


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (Filter(), True),
        (Filter(state="armed"), True),
        (Filter(state="held"), False),
        (Filter(role="master"), True),
        (Filter(role="mast"), False),
        (Filter(text="NODE1 10.10"), True),
        (Filter(text="node1 10.11"), False),
        (Filter(text="c0:f7"), True),
        (Filter(state="armed", role="etcd", text="armed"), True),
    ],
)
def test_filters(wanted: Filter, kept: bool) -> None:
    assert wanted.keeps(row()) is kept


def test_every_state_has_its_place() -> None:
    assert sorted(ORDER_OF_STATES) == sorted(STATES)


def test_counts_and_their_bar() -> None:
    counts = count_states([row(), row(), row(state="joined"), row(state="failed")])
    assert [(each.state, each.count) for each in counts] == [
        ("failed", 1), ("held", 0), ("installing", 0), ("joined", 1), ("armed", 2),
    ]  # fmt: skip
    assert tell_counts(counts) == "1 failed, 1 joined, 2 armed"
    assert [(each.tone, each.x, each.width) for each in share_out(counts)] == [
        ("bad", 0, 247), ("good", 250, 247), ("idle", 500, 500),
    ]  # fmt: skip
    assert tell_counts(count_states([])) == "no machines"
    assert share_out(count_states([])) == []


def test_the_ways_out_as_forms() -> None:
    forms = list_forms(["install", "reinstall", "hold", "forget"])
    assert [form.id for form in forms] == ["install", "hold", "move", "reinstall", "wipe", "forget"]
    assert [form.confirms for form in forms] == ["", "", "", "{host}", "erase {host}", "{host}"]
    assert [form.id for form in list_forms([])] == ["move"]
    assert find_form("reinstall", True) is WIPE
    assert find_form("install", True) is None
    assert find_form("format", False) is None


def test_every_order_has_a_form() -> None:
    assert all(find_form(order, False) for order in Order)


def test_a_pattern_matches_the_name_alone() -> None:
    assert make_pattern("erase node-1.rack") == "erase node-1[.]rack"


def test_boots_latest_first() -> None:
    steps = [
        {"at": 100.0, "service": "dhcp", "step": "offer", "detail": "", "level": "info"},
        {"at": 101.25, "service": "dhcp", "step": "ack", "detail": "", "level": "info"},
        {"at": 140.0, "service": "installer", "step": "failed", "detail": "no disk", "level": "error"},
    ]
    first = {"started_at": 100.0, "ended_at": 140.0, "firmware": "BIOS", "outcome": "failed", "steps": steps}
    second = {"started_at": 500.0, "ended_at": None, "firmware": "", "outcome": "under way", "steps": steps[:1]}
    latest, earlier = build_boots({"boots": [first, second]})
    assert (latest["at"], latest["tone"]) == (500.0, "busy")
    assert (earlier["phases"], earlier["lasted"], earlier["tone"]) == (["dhcp", "installer"], "40 s", "bad")
    assert [(step["after"], step["tone"]) for step in earlier["steps"]] == [
        ("+0.0 s", ""), ("+1.2 s", ""), ("+40.0 s", "bad"),
    ]  # fmt: skip
    assert build_boots({}) == []


def test_a_plan_shows_what_loses_most_first() -> None:
    machines = [{"host": effect, "effect": effect} for effect in ("nothing", "live", "new", "reinstall", "gone")]
    assert [each["host"] for each in list_planned({"machines": machines})] == ["gone", "reinstall", "new", "live"]


def test_many_hosts_are_cut_short() -> None:
    assert tell_hosts(["a", "b"]) == "a, b"
    assert tell_hosts([f"n{number}" for number in range(9)]) == "n0, n1, n2, n3, n4, n5 and 3 more"


def test_differences_with_a_little_around() -> None:
    before = "".join(f"{number}\n" for number in range(1, 11))
    assert compare(before, before) == []
    assert compare(before, before.replace("5\n", "five\n", 1)) == [
        DiffLine("gap", "1 line alike"),
        DiffLine("same", "2", 2, 2),
        DiffLine("same", "3", 3, 3),
        DiffLine("same", "4", 4, 4),
        DiffLine("removed", "5", old=5),
        DiffLine("added", "five", new=5),
        DiffLine("same", "6", 6, 6),
        DiffLine("same", "7", 7, 7),
        DiffLine("same", "8", 8, 8),
        DiffLine("gap", "2 lines alike"),
    ]
    assert compare("", "a\n") == [DiffLine("added", "a", new=1)]


def test_where_the_new_lines_are() -> None:
    assert find_first_new("a\nb\n", "a\nx\nb\n") == 2
    assert find_first_new("a\n", "a\nb\n") == 2
    assert find_first_new("a\n", "a\n") == 0


def test_the_revision_before() -> None:
    assert find_before([7, 5, 4], 7) == 5
    assert find_before([7, 5, 4], 4) == 0


class Rack:
    """A rack that a test changes, and a clock that it moves."""

    def __init__(self) -> None:
        self.rows = [row(mac=f"00:00:00:00:00:0{number}") for number in range(3)]
        self.clock = 0.0
        self.read = 0
        self.state = RackState(self._read, lambda: self.clock)

    def _read(self) -> list[Row]:
        self.read += 1
        return list(self.rows)

    def change(self, number: int, **changes: Any) -> None:
        self.rows[number] = row(mac=self.rows[number].mac, **changes)
        self.clock += 1


def test_a_browser_gets_the_rows_that_changed() -> None:
    rack = Rack()
    first = rack.state.see().version
    assert rack.state.find_change(first).rows == ()
    rack.change(1, state="booting")
    change = rack.state.find_change(first)
    assert (change.rows, change.anew) == ((rack.rows[1],), False)
    rack.change(2, state="failed")
    assert rack.state.find_change(first).rows == (rack.rows[1], rack.rows[2])
    assert rack.state.find_change(change.version).rows == (rack.rows[2],)


def test_many_browsers_cost_one_reading() -> None:
    rack = Rack()
    for _ in range(10):
        rack.state.find_change("")
    assert rack.read == 1


def test_a_forgotten_version_or_another_machine_wants_the_whole_page() -> None:
    rack = Rack()
    first = rack.state.see().version
    assert rack.state.find_change("nonsense").anew
    rack.rows.append(row(mac="00:00:00:00:00:09"))
    rack.clock += 1
    assert rack.state.find_change(first).anew
    second = rack.state.see().version
    for number in range(KEPT):
        rack.change(0, reason=str(number))
        rack.state.see()
    assert rack.state.find_change(second).anew


def say(at: float, number: int = 1, service: str = "dhcp", step: str = "ack", detail: str = "") -> dict[str, Any]:
    return {"id": number, "at": at, "service": service, "step": step, "detail": detail}


def heard(mac: str, at: float, number: int = 1, **changes: Any) -> dict[str, Any]:
    return {**MACHINE, "mac": mac, "last_event": say(at, number), **changes}


def test_a_few_that_stand_still_are_diagnosed_at_each_look() -> None:
    asked: list[str] = []

    def diagnose(mac: str) -> dict[str, Any]:
        asked.append(mac)
        return {"title": mac}

    stops = Stops(diagnose)
    machines = [heard(str(number), 100.0 + number) for number in range(6)]
    assert list(stops.look(machines, 200.0)) == ["5", "4", "3", "2"]
    assert sorted(stops.look(machines, 201.0)) == ["0", "1", "2", "3", "4", "5"]
    assert asked == ["5", "4", "3", "2", "1", "0"]
    assert len(stops.look(machines, 202.0)) == 6
    assert len(asked) == 6
    stops.look(machines, 261.0)  # a minute later: once more, and what is not asked again yet is not forgotten
    assert (len(asked), len(stops.look(machines, 262.0))) == (10, 6)
    machines[0] = heard("0", 300.0, 2)
    assert "0" not in stops.look(machines, 301.0)


@pytest.mark.parametrize(
    ("changes", "still"),
    [
        ({}, True),
        ({"state": "joined"}, False),
        ({"state": "held"}, False),
        ({"last_event": None}, False),
        ({"last_event": say(100.0, service="files")}, False),
        ({"last_event": say(141.0, service="tftp")}, False),
        ({"state": "booting", "last_event": say(200.0 - 3600, service="tftp")}, False),
        # armed, and it never came: nothing else would say why
        ({"state": "armed", "last_event": say(200.0 - 36000)}, True),
        # in service, and its firmware was sent to its disk: it may go round and round
        ({"state": "joined", "last_event": say(199.0, service="tftp", step="local disk")}, True),
        ({"state": "joined", "last_event": say(200.0 - 3600, service="tftp", step="local disk")}, False),
    ],
)
def test_which_machines_stand_still(changes: dict[str, Any], still: bool) -> None:
    assert stands_still(heard("0", 100.0, **changes), 200.0) is still


def test_a_report_for_somebody_who_does_not_see_the_page() -> None:
    machine = {
        "host": "node3", "mac": "52:54:00:00:00:03", "roles": ["worker"], "done": 0, "wanted": 1, "state": "failed",
        "state_at": 1_800_000_000.0, "reason": "no disk", "os": "flatcar 1", "address": "10.10.14.13",
        "diagnosis": {"title": "no disk matches", "cause": "no-disk", "what_to_do": "look", "evidence": ["sda: usb"]},
        "boots": [
            {"started_at": 1.0, "outcome": "running", "steps": []},
            {"started_at": 1_799_999_990.0, "outcome": "failed", "steps": [
                {"at": 1_799_999_990.0, "service": "dhcp", "step": "ack", "detail": "", "more": ""},
                {"at": 1_800_000_000.0, "service": "installer", "step": "failed", "detail": "no disk", "more": "a\nb"},
            ]},
        ],
    }  # fmt: skip
    assert tell_report(machine) == (
        "node3  52:54:00:00:00:03  10.10.14.13\n"
        "worker; flatcar 1; install 0 of 1\n"
        "failed since 2027-01-15 08:00:00 UTC: no disk\n"
        "\n"
        "no disk matches (no-disk)\n"
        "look\n"
        "seen: sda: usb\n"
        "\n"
        "boot of 2027-01-15 07:59:50 UTC: failed\n"
        "2027-01-15 07:59:50 UTC  dhcp  ack\n"
        "2027-01-15 08:00:00 UTC  installer  failed  no disk\n"
        "  | a\n"
        "  | b"
    )
