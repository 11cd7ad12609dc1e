"""Rounds with a pretended etcd: when a member is put out, what the note says, and what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import MemoryStore
from rack import make_cluster, make_machine

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.membership import (
    NOTE,
    Begin,
    Membership,
    Wait,
    decide_member,
    format_membership,
    parse_membership,
)
from bootstrapper.cluster.model import Role
from bootstrapper.errors import UserError
from bootstrapper.kube.connection import ServerRefusal, Unreachable
from bootstrapper.kube.etcd_plan import Member
from bootstrapper.kube.etcd_work import EtcdWork

MACS = [f"00:00:00:00:00:0{number}" for number in (1, 2, 3)]
CLUSTER = make_cluster(
    *(make_machine(mac, f"node{n}", f"10.10.14.1{n}", roles=frozenset({Role.ETCD})) for n, mac in enumerate(MACS, 1))
)
FORMED = Membership(True, dict.fromkeys(MACS, 1))
DONE = History(1, 1, MachineState.JOINED)
AGAIN = History(2, 1, MachineState.BOOTING)


class FakeEtcd:
    def __init__(self) -> None:
        self.members = [
            Member(n, f"node{n}", (f"https://10.10.14.1{n}:2380",), (f"https://10.10.14.1{n}:2379",)) for n in (1, 2, 3)
        ]
        self.alive = {1, 2, 3}
        self.down = False
        self.settling = 0
        self.behind = False

    def list_members(self) -> tuple[Member, ...]:
        if self.down:
            raise Unreachable("10.10.14.11:2379: no answer")
        return tuple(self.members)

    def find_alive(self) -> frozenset[int]:
        return frozenset(self.alive)

    def remove(self, member_id: int) -> None:
        self.members = [member for member in self.members if member.id != member_id]

    def add_learner(self, peer_url: str) -> Member:
        if self.settling:
            self.settling -= 1
            raise ServerRefusal(503, "etcdserver: unhealthy cluster")
        self.members.append(Member(9, "", (peer_url,), (), True))
        return self.members[-1]

    def promote(self, member_id: int) -> bool:
        if self.behind:
            return False
        self.members = [replace(each, learner=False) if each.id == member_id else each for each in self.members]
        return True


class Rig:
    def __init__(self, *histories: History, membership: Membership = FORMED) -> None:
        self.store = MemoryStore()
        self.etcd = FakeEtcd()
        self.events: list[Event] = []
        if membership != Membership():
            self.store.save_note(NOTE, format_membership(membership))
        for mac, history in zip(MACS, histories, strict=True):
            self.store.save_history(mac, history)

    def round(self) -> None:
        client: Any = self.etcd
        EtcdWork(CLUSTER, self.store, client, self.events.append, lambda: 1.0).run()

    def note(self) -> Membership:
        return parse_membership(self.store.load_note(NOTE))

    def said(self) -> list[str]:
        return [event.step for event in self.events]


def test_a_machine_whose_installer_runs_is_replaced_in_one_round() -> None:
    rig = Rig(AGAIN, DONE, DONE)
    rig.round()
    assert rig.said() == ["etcd member removed", "etcd member added"]
    assert decide_member(rig.note(), MACS[0], 2) == Begin(True, ("node1", "node2", "node3"))
    rig.round()
    assert rig.said() == ["etcd member removed", "etcd member added"]


@pytest.mark.parametrize(
    "history",
    [
        History(2, 1, MachineState.ARMED), History(2, 1, MachineState.JOINED), DONE,
        replace(AGAIN, held="by the admin"), replace(AGAIN, state=MachineState.HELD, held="too many installs"),
    ],
    ids=["ordered only", "ordered while it runs", "no order", "held", "held by the breaker"],
)  # fmt: skip
def test_a_member_that_still_serves_stays(history: History) -> None:
    rig = Rig(history, DONE, DONE)
    rig.round()
    assert [member.id for member in rig.etcd.members] == [1, 2, 3]
    assert rig.said() == []


def test_a_second_order_while_the_first_was_carried_out() -> None:
    rig = Rig(AGAIN, DONE, DONE)
    rig.round()
    rig.store.save_history(MACS[0], replace(AGAIN, wanted=3, done=2))
    rig.round()
    assert decide_member(rig.note(), MACS[0], 3) == Begin(True, ("node1", "node2", "node3"))
    assert len(rig.etcd.members) == 3


def test_etcd_takes_a_moment_between_the_two_changes() -> None:
    rig = Rig(AGAIN, DONE, DONE)
    rig.etcd.settling = 2
    for _ in range(2):
        rig.round()
        assert isinstance(decide_member(rig.note(), MACS[0], 2), Wait)
    rig.round()
    assert rig.said() == ["etcd member removed", "etcd member added"]


def test_a_refusal_is_told_once_and_forgotten_when_it_is_over() -> None:
    rig = Rig(AGAIN, DONE, DONE)
    rig.etcd.alive = {1, 2}
    for _ in range(3):
        rig.round()
    assert rig.said() == ["etcd member refused"]
    assert rig.events[0].level == "error"
    assert "node3 does not answer" in rig.note().refusals[MACS[0]]
    rig.etcd.alive = {1, 2, 3}
    rig.round()
    assert rig.note().refusals == {}


def test_an_etcd_that_does_not_answer_refuses_as_well() -> None:
    rig = Rig(AGAIN, DONE, DONE)
    rig.etcd.down = True
    for _ in range(2):
        with pytest.raises(Unreachable):
            rig.round()
    assert rig.said() == ["etcd member refused"]
    assert decide_member(rig.note(), MACS[0], 2) == Wait("etcd does not answer, so nothing can be agreed on")


def test_a_member_that_nobody_described() -> None:
    rig = Rig(AGAIN, DONE, DONE)
    rig.etcd.members.append(Member(7, "byhand", ("https://10.10.14.77:2380",), ("https://10.10.14.77:2379",)))
    rig.etcd.alive.add(7)
    rig.round()
    assert rig.note().refusals[MACS[0]] == "etcd has a member that the description has not: https://10.10.14.77:2380"


def test_first_installs_found_a_cluster_and_it_is_seen_to_form() -> None:
    rig = Rig(History(), History(), History(), membership=Membership())
    rig.etcd.down = True
    with pytest.raises(Unreachable):
        rig.round()
    assert [decide_member(rig.note(), mac, 1) for mac in MACS] == [Begin(existing=False)] * 3
    rig.etcd.down = False
    rig.round()
    rig.round()
    assert rig.said() == ["etcd formed"]
    assert rig.note().formed is True


def test_when_all_are_installed_again_what_is_lost_is_told() -> None:
    rig = Rig(AGAIN, AGAIN, AGAIN)
    rig.etcd.down = True
    with pytest.raises(Unreachable):
        rig.round()
    assert [(event.step, event.level) for event in rig.events] == [("etcd begins anew", "warning")]
    assert rig.note().founders == dict.fromkeys(MACS, 2)


def test_the_old_cluster_is_not_taken_for_the_new_one() -> None:
    """All three are to be installed again, and two still run: what answers is what will be gone."""
    rig = Rig(AGAIN, AGAIN, AGAIN)
    rig.round()
    rig.store.save_history(MACS[0], History(2, 2, MachineState.INSTALLED))
    rig.round()
    assert rig.note().formed is False
    assert [member.id for member in rig.etcd.members] == [1, 2, 3]
    rig.store.save_history(MACS[1], History(2, 2, MachineState.INSTALLED))
    rig.round()
    assert rig.note().formed is True
    assert rig.said() == ["etcd begins anew", "etcd formed"]


@pytest.mark.parametrize("kept", [MACS, MACS[1:]], ids=["every order", "all but one"])
def test_orders_that_were_taken_back_leave_the_cluster_that_runs(kept: list[str]) -> None:
    rig = Rig(AGAIN, AGAIN, AGAIN)
    rig.round()
    for mac in kept:
        rig.store.save_history(mac, DONE)
    rig.round()
    assert rig.note().formed is True
    rig.store.save_history(MACS[0], AGAIN)  # ordered again: the number is the same
    rig.round()
    assert decide_member(rig.note(), MACS[0], 2) == Begin(True, ("node1", "node2", "node3"))
    assert [event.step for event in rig.events][:2] == ["etcd begins anew", "etcd goes on"]


def test_a_learner_gets_its_vote_when_it_has_caught_up() -> None:
    rig = Rig(DONE, DONE, DONE)
    rig.etcd.members[2] = replace(rig.etcd.members[2], learner=True)
    rig.etcd.behind = True
    rig.round()
    assert rig.said() == []
    rig.etcd.behind = False
    rig.round()
    assert [(event.step, event.mac) for event in rig.events] == [("etcd member votes", MACS[2])]


def test_a_note_that_is_damaged_stops_it() -> None:
    rig = Rig(AGAIN, DONE, DONE)
    rig.store.save_note(NOTE, "{}")
    with pytest.raises(UserError):
        rig.round()
    assert len(rig.etcd.members) == 3
