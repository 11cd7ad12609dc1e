"""The table of states: complete, without a way back, and walked at random with every order and report mixed in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from rack import make_machine

from bootstrapper.boot.breaker import open_install
from bootstrapper.boot.decide import Action, decide
from bootstrapper.boot.events import Event
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import (
    BEGINS,
    NEEDS_DONE,
    NEEDS_OPEN,
    STATES,
    TRANSITIONS,
    Order,
    Trigger,
    enter,
    find_exits,
    find_overdue,
    find_state,
    has_node,
    tell_change,
)
from bootstrapper.boot.orders import Ask, Refusal, Subject, apply_move, apply_order
from bootstrapper.boot.report import Step, apply_report
from bootstrapper.cluster.model import Role, UnknownPolicy

INSTALLED, JOINED, HELD = MachineState.INSTALLED, MachineState.JOINED, MachineState.HELD
MACHINE = make_machine()
BIOS = Firmware(Kind.BIOS, Stage.ROM, code=0)
ORDERS_THAT_OPEN = {Order.INSTALL, Order.REINSTALL}


def test_every_state_is_in_both_tables() -> None:
    assert set(TRANSITIONS) == set(STATES) == set(MachineState)


@pytest.mark.parametrize("state", list(MachineState))
def test_a_time_out_says_what_it_means_and_leaves_a_way_out(state: MachineState) -> None:
    facts = STATES[state]
    assert facts.meaning
    assert (facts.timeout_s is None) == (facts.overdue == "")
    assert facts.exits or state is MachineState.UNKNOWN


def test_an_installed_system_never_goes_back_to_an_installer_by_itself() -> None:
    seen, todo = set(), [INSTALLED]
    while todo:
        state = todo.pop()
        for trigger, target in TRANSITIONS[state].items():
            if trigger not in NEEDS_OPEN and target not in seen:
                seen.add(target)
                todo.append(target)
    assert seen == {INSTALLED, JOINED, MachineState.FAILED}


@pytest.mark.parametrize(
    ("history", "state"),
    [
        (History(), "armed"),
        (History(2, 1, JOINED), "armed"),
        (History(1, 1), "installed"),
        (History(1, 1, MachineState.INSTALLING), "installed"),
        (History(1, 1, MachineState.FAILED), "failed"),
        (History(1, 0, HELD), "armed"),
        (History(1, 1, JOINED, held="by the admin"), "held"),
    ],
)
def test_a_state_that_contradicts_the_generations_is_corrected(history: History, state: str) -> None:
    assert find_state(history) == state


@pytest.mark.parametrize(
    ("history", "after_s", "overdue"),
    [
        (History(1, 0, MachineState.ARMED, 100.0), 9e9, ""),
        (History(1, 0, MachineState.BOOTING, 100.0), 900.0, ""),
        (History(1, 0, MachineState.BOOTING, 100.0), 901.0,
         "its installer has not been heard since the boot script was served: see its console"),
        (History(1, 0, MachineState.BOOTING, 0.0), 9e9, ""),
        (History(1, 0, MachineState.INSTALLING, 100.0), 2701.0,
         "its installer has neither finished nor failed: it hangs, or its disk or network is very slow"),
        (History(1, 1, INSTALLED, 100.0), 1201.0,
         "the system on its disk has not been heard: it does not boot from its disk, or has no network"),
        (History(1, 1, INSTALLED, 100.0, booted_at=400.0), 1201.0, ""),
        (History(1, 1, INSTALLED, 100.0, booted_at=400.0), 1501.0,
         "its system is up, and its node is not Ready: the API, the network add-on or its kubelet is not"),
        (History(1, 1, JOINED, 100.0), 9e9, ""),
        (History(1, 0, MachineState.BOOTING, 100.0, held="x"), 9e9, ""),
    ],
)  # fmt: skip
def test_overdue(history: History, after_s: float, overdue: str) -> None:
    assert find_overdue(history, 100.0 + after_s) == overdue


@pytest.mark.parametrize(
    ("history", "exits"),
    [
        (History(), "hold reinstall forget"),
        (History(1, 0, MachineState.INSTALLING), "install hold forget"),
        (History(1, 0, MachineState.FAILED), "install reinstall hold forget"),
        (History(1, 1, MachineState.FAILED), "reinstall hold forget"),
        (History(1, 1, JOINED), "reinstall hold forget"),
        (History(1, 1, HELD, held="x"), "release reinstall forget"),
        (History(1, 0, HELD, held="x"), "release install reinstall forget"),
        (History(1, 1, HELD, held="x", forgotten=True), "release install reinstall forget"),
        (History(2, 1), "cancel hold reinstall forget"),
        (History(2, 1, begun=True), "hold reinstall forget"),
        (History(2, 1, HELD, held="x"), "release install cancel reinstall forget"),
    ],
)
def test_the_ways_out_that_are_named_are_not_refused(history: History, exits: str) -> None:
    assert find_exits(history) == tuple(map(Order, exits.split()))
    for order in find_exits(history):
        after = apply_order(history, Ask(order), Subject(known=True), 9.0)
        assert not isinstance(after, Refusal), order


def test_who_becomes_a_node() -> None:
    for roles, node in (({Role.MASTER}, True), ({Role.WORKER}, True), ({Role.ETCD}, False), ({Role.FLANNEL}, False)):
        assert has_node(make_machine(roles=frozenset(roles))) is node


@pytest.mark.parametrize(
    ("before", "after", "detail", "level"),
    [
        (History(), History(1, 0, MachineState.BOOTING, 9.0, reason="the script was served"),
         "armed -> booting: the script was served", "info"),
        (History(), History(1, 0, HELD, 9.0, held="looped", reason="looped"), "armed -> held: looped", "warning"),
        (History(1, 1, JOINED), History(2, 1, MachineState.ARMED, 9.0), "joined -> armed", "info"),
        (History(1, 0, MachineState.FAILED), History(1, 0, MachineState.FAILED, 9.0, reason="again"), None, ""),
    ],
)  # fmt: skip
def test_a_change_of_state_is_told(before: History, after: History, detail: str | None, level: str) -> None:
    expected = None if detail is None else Event(9.0, "m", "state", "state", detail, level)
    assert tell_change("m", before, after) == expected


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order: design.md rule 1 holds."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.now = 1000.0
        self.whole = False
        "Whether an installed system is on its disk, which no installer has been sent to since."
        self.subject = Subject(known=True, node=True, policy=UnknownPolicy.WORKER)

    def take(self, after: History | Refusal | None, by: Order | None = None, done: bool = False) -> None:
        before = self.history
        if after is None or isinstance(after, Refusal):
            return
        self.now += 1.0
        assert after.done >= before.done, "done fell"
        assert after.wanted >= before.wanted or by is Order.CANCEL, "wanted fell"
        assert after.done == before.done or done or by is Order.FORGET, "done rose without a report"
        if after.open and not before.open:
            assert by in ORDERS_THAT_OPEN, "a generation opened without an order for it"
        if before.held and not after.held:
            assert by in ORDERS_THAT_OPEN | {Order.RELEASE}, "a hold ended without an order"
        if find_state(before) in (INSTALLED, JOINED) and by is None:
            assert find_state(after) in (INSTALLED, JOINED, MachineState.FAILED), "an installed machine went back"
        self.history = after

    @rule(trigger=st.sampled_from(Trigger))
    def happen(self, trigger: Trigger) -> None:
        before, after = self.history, enter(self.history, trigger, self.now, "why")
        if after is not None:
            assert trigger not in NEEDS_OPEN or before.open
            assert trigger not in NEEDS_DONE or not before.open
        if after is not None and self.history.open and trigger in BEGINS:
            self.whole = False
        self.whole = self.whole or (after is not None and trigger is Trigger.INSTALL_DONE)
        self.take(after, done=trigger is Trigger.INSTALL_DONE)

    @rule(step=st.sampled_from(Step), back=st.sampled_from([0, 0, 0, 1, -1]), node=st.booleans())
    def report(self, step: Step, back: int, node: bool) -> None:
        after = apply_report(self.history, step, self.history.wanted - back, self.now, "said", node)
        assert after is None or back == 0
        if after is not None and self.history.open and step is not Step.INSTALLED:
            self.whole = False
        self.whole = self.whole or (after is not None and self.history.open and step is Step.INSTALLED)
        self.take(after, done=step is Step.INSTALLED)

    @rule()
    def boot(self) -> None:
        action = decide(MACHINE, UnknownPolicy.IGNORE, BIOS, self.history).action
        assert (action is Action.INSTALL) == (self.history.open and not self.history.held)
        if self.history.open and self.history.held:
            assert self.whole or action is Action.REFUSE, "what an installer left half written was to be booted"
        if self.history.held and self.whole:
            assert action is Action.LOCAL_DISK, "a machine on hold that was installed did not boot its disk"
        after = open_install(self.history, self.now)
        self.whole = self.whole and not (action is Action.INSTALL and not after.held)
        self.take(after)

    @rule(order=st.sampled_from(Order), wipe=st.booleans(), reason=st.sampled_from(["", "ticket 7"]))
    def order(self, order: Order, wipe: bool, reason: str) -> None:
        after = apply_order(self.history, Ask(order, wipe, reason), self.subject, self.now)
        if not isinstance(after, Refusal):
            again = apply_order(after, Ask(order, wipe, reason), self.subject, self.now)
            if order is Order.REINSTALL and isinstance(again, History):
                again = replace(again, wanted=after.wanted)  # another order, of which the first one is a part
            assert order is not Order.CANCEL or after == self.history or self.whole, "taken back after it had begun"
            if order is Order.FORGET and after != self.history:
                self.whole = False  # what is on the disk of a machine that is gone, nobody knows
            if order is Order.RELEASE and not after.open:
                self.whole = True  # the admin vouches for it
            assert order in (Order.RELEASE, Order.HOLD) or again == after, "an order given twice did more"
            assert not after.wipe or (order is Order.REINSTALL and wipe) or after == self.history or self.history.wipe
        self.take(after, by=order)

    @rule()
    def move(self) -> None:
        moved = apply_move(self.history, History(), "new", self.now)
        if not isinstance(moved, Refusal):
            stays, goes = moved
            assert goes == self.history
            assert (stays.open, bool(stays.held)) == (False, True)

    @rule(seconds=st.sampled_from([1.0, 600.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def state_fits(self) -> None:
        history, state = self.history, find_state(self.history)
        assert (state is HELD) == bool(history.held)
        assert history.open or not history.wipe, "a one-time wipe outlived its generation"
        assert not history.forgotten or history.held
        assert state is HELD or history.state is state, "what is kept contradicts the generations"
        assert not find_overdue(history, history.state_at)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_hold_does_not_make_a_written_disk_be_written_again() -> None:
    held = History(2, 1, HELD, held="by the admin", wipe=True)
    after = enter(held, Trigger.INSTALL_DONE, 9.0, "")
    assert after == replace(held, done=2, wipe=False)
