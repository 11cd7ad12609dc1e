"""What each order does to a history, and which are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import FORGOTTEN, Ask, Refusal, Subject, apply_move, apply_order, find_warnings
from bootstrapper.boot.report import Step, apply_report
from bootstrapper.cluster.model import UnknownPolicy

ARMED, HELD, INSTALLED, JOINED, FAILED = (
    MachineState.ARMED, MachineState.HELD, MachineState.INSTALLED, MachineState.JOINED, MachineState.FAILED,
)  # fmt: skip
NODE, OTHER = Subject(known=True, node=True), Subject(known=True, node=False)
IN_SERVICE = History(2, 2, JOINED, 5.0, booted_at=4.0, reason="its node is Ready")
LOOPED = History(1, 0, HELD, 5.0, held="3 installs", reason="3 installs", opened_at=(1.0, 2.0, 3.0))
GONE = History(2, 2, HELD, 5.0, held=FORGOTTEN, reason=FORGOTTEN, forgotten=True)

REORDERED = History(3, 2, ARMED, 5.0, reason="an admin ordered it to be installed again", wipe=True, order_id="x")
REORDERED_HELD = replace(REORDERED, state=HELD, state_at=8.0, held="typo", reason="typo")


@pytest.mark.parametrize(
    ("history", "ask", "expected"),
    [
        (IN_SERVICE, Ask(Order.REINSTALL),
         History(3, 2, ARMED, 9.0, reason="an admin ordered it to be installed again")),
        (IN_SERVICE, Ask(Order.REINSTALL, wipe=True, reason="new\ndisk"),
         History(3, 2, ARMED, 9.0, wipe=True,
                 reason="an admin ordered it to be installed again, whatever is on its disk: new disk")),
        (History(1, 0, FAILED, 5.0, opened_at=(4.0,), reason="LVM"), Ask(Order.REINSTALL, wipe=True),
         History(2, 0, ARMED, 9.0, reason="an admin ordered it to be installed again, whatever is on its disk",
                 wipe=True)),
        (LOOPED, Ask(Order.INSTALL), History(1, 0, ARMED, 9.0, reason="an admin ordered its install")),
        (LOOPED, Ask(Order.RELEASE), History(1, 0, ARMED, 9.0, reason="an admin released it")),
        (IN_SERVICE, Ask(Order.HOLD), History(2, 2, HELD, 9.0, held="an admin put it on hold", booted_at=4.0,
                                              reason="an admin put it on hold")),
        (LOOPED, Ask(Order.HOLD, reason="ticket 7"),
         History(1, 0, HELD, 5.0, held="ticket 7", reason="ticket 7", opened_at=(1.0, 2.0, 3.0))),
        (LOOPED, Ask(Order.HOLD), LOOPED),
        (IN_SERVICE, Ask(Order.FORGET), History(2, 2, HELD, 9.0, held=FORGOTTEN, reason=FORGOTTEN, forgotten=True)),
        (LOOPED, Ask(Order.FORGET), History(1, 1, HELD, 9.0, held=FORGOTTEN, reason=FORGOTTEN, forgotten=True)),
        (GONE, Ask(Order.FORGET), GONE),
        (GONE, Ask(Order.INSTALL), History(3, 2, ARMED, 9.0, reason="an admin ordered its install", begun=True)),
        (REORDERED, Ask(Order.CANCEL), History(2, 2, INSTALLED, 9.0, booted_at=9.0,
                                               reason="an admin took the order back: its system is taken as it is")),
        (REORDERED_HELD, Ask(Order.CANCEL), History(2, 2, HELD, 8.0, held="typo", reason="typo")),
        (IN_SERVICE, Ask(Order.CANCEL), IN_SERVICE),
        (GONE, Ask(Order.RELEASE), History(2, 2, INSTALLED, 9.0, booted_at=9.0,
                                           reason="an admin released it: its system is taken as it is")),
    ],
)  # fmt: skip
def test_an_order(history: History, ask: Ask, expected: History) -> None:
    assert apply_order(history, ask, NODE, 9.0) == expected


def test_a_released_machine_without_a_node_is_in_service() -> None:
    held = History(1, 1, HELD, 5.0, held="x", booted_at=4.0)
    released = apply_order(held, Ask(Order.RELEASE), OTHER, 9.0)
    assert isinstance(released, History)
    assert (released.state, released.booted_at, released.open) == (JOINED, 4.0, False)


@pytest.mark.parametrize(
    ("history", "ask", "subject", "reason"),
    [
        (IN_SERVICE, Ask(Order.INSTALL), NODE, "generation 2 is installed on it"),
        (IN_SERVICE, Ask(Order.RELEASE), NODE, "it is not on hold"),
        (IN_SERVICE, Ask(Order.INSTALL, wipe=True), NODE, "`wipe` goes with `reinstall` only"),
        (IN_SERVICE, Ask(Order.APPROVE), NODE, "this machine is in the description already"),
        (History(), Ask(Order.CANCEL), NODE, "it has no system to keep: nothing was ever installed on it"),
        (replace(REORDERED, begun=True), Ask(Order.CANCEL), NODE,
         "its install cannot be taken back: it has begun, or was ordered for a machine that had been forgotten"),
        (History(), Ask(Order.INSTALL), Subject(known=False), "this machine is not in the description"),
        (History(), Ask(Order.FORGET), Subject(known=False), "nothing is known of this machine"),
        (History(), Ask(Order.APPROVE), Subject(known=False),
         "unknown_machines is ignore: unknown machines are not taken as workers"),
    ],
)  # fmt: skip
def test_a_refused_order_says_why_and_what_to_do(history: History, ask: Ask, subject: Subject, reason: str) -> None:
    refusal = apply_order(history, ask, subject, 9.0)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


def test_an_unknown_machine_is_approved_and_forgotten() -> None:
    stranger = Subject(known=False, policy=UnknownPolicy.WORKER)
    approved = apply_order(History(), Ask(Order.APPROVE), stranger, 9.0)
    assert approved == History(1, 0, ARMED, 9.0, approved=True, reason="an admin approved it as a worker")
    gone = apply_order(approved, Ask(Order.FORGET), NODE, 10.0)
    assert isinstance(gone, History)
    assert (gone.approved, gone.open, gone.forgotten) == (False, False, True)
    again = apply_order(gone, Ask(Order.APPROVE), stranger, 11.0)
    assert isinstance(again, History)
    assert (again.approved, again.wanted, again.done, again.held) == (True, 2, 1, "")


def test_a_move_leaves_a_machine_on_hold_behind() -> None:
    stays, goes = apply_move(IN_SERVICE, History(), "new", 9.0)  # type: ignore[misc]
    assert goes == IN_SERVICE
    assert stays == History(
        2, 2, HELD, 9.0, held="moved to new by an admin", reason="moved to new by an admin", forgotten=True
    )
    assert not isinstance(apply_move(IN_SERVICE, GONE, "new", 9.0), Refusal)


def test_a_new_card_that_only_tried_takes_the_life() -> None:
    assert apply_move(IN_SERVICE, LOOPED, "new", 9.0)[1] == IN_SERVICE  # type: ignore[index]


AT_WORK = History(1, 0, MachineState.INSTALLING, 5.0, opened_at=(1.0,))


def test_a_reinstall_has_a_number_and_an_identity_of_its_own() -> None:
    before = History(2, 1, order_id="b2")
    for history, wanted in ((IN_SERVICE, 3), (GONE, 3), (History(), 2), (before, 3), (LOOPED, 2)):
        after = apply_order(history, Ask(Order.REINSTALL, order_id="c3"), NODE, 9.0)
        assert isinstance(after, History)
        assert (after.wanted, after.order_id) == (wanted, "c3")


def test_an_install_that_goes_on_is_the_same_order() -> None:
    for history, order_id in ((replace(LOOPED, order_id="b2"), "b2"), (LOOPED, ""), (GONE, "c3")):
        after = apply_order(history, Ask(Order.INSTALL, order_id="c3"), NODE, 9.0)
        assert isinstance(after, History)
        assert after.order_id == order_id


def test_an_installer_at_work_does_not_end_an_order_that_came_later() -> None:
    """`install` while it works, then `reinstall --wipe`: what it reports is of the order before."""
    again = apply_order(AT_WORK, Ask(Order.INSTALL), NODE, 9.0)
    assert isinstance(again, History)
    wipe = apply_order(again, Ask(Order.REINSTALL, wipe=True, order_id="c3"), NODE, 10.0)
    assert isinstance(wipe, History)
    assert apply_report(wipe, Step.INSTALLED, AT_WORK.wanted, 11.0, "") is None


def test_a_reinstall_that_is_at_work_is_refused() -> None:
    assert apply_order(AT_WORK, Ask(Order.REINSTALL), NODE, 9.0) == Refusal(
        "its installer is at work", "wait until it is done or has failed, or put it on `hold` first"
    )


@pytest.mark.parametrize(("old", "new"), [(GONE, History()), (IN_SERVICE, IN_SERVICE), (IN_SERVICE, AT_WORK)])
def test_moves_that_would_lose_a_life_are_refused(old: History, new: History) -> None:
    assert isinstance(apply_move(old, new, "new", 9.0), Refusal)


DONE, AGAIN = History(1, 1), History(2, 1)
LAST = "no other member of etcd is installed: all that the cluster holds is lost with it"


@pytest.mark.parametrize(
    ("order", "members", "warning"),
    [
        (Order.HOLD, {"a": DONE}, None),
        (Order.REINSTALL, {"b": DONE}, None),
        (Order.REINSTALL, {"a": DONE}, LAST),
        (Order.REINSTALL, {"a": DONE, "b": DONE, "c": DONE}, None),
        (Order.REINSTALL, {"a": DONE, "b": AGAIN, "c": DONE},
         "etcd would lose its majority: of its other 2 members 1 is installed; its installer will wait until more are"),
        (Order.FORGET, {"a": DONE, "b": AGAIN, "c": AGAIN}, LAST),
    ],
)  # fmt: skip
def test_what_etcd_would_lose_is_said_beforehand(
    order: Order, members: dict[str, History], warning: str | None
) -> None:
    assert find_warnings(order, "a", members) == (() if warning is None else (warning,))
