"""How an etcd member that is installed begins: by what is known of the cluster and of the installs."""

from __future__ import annotations

import pytest

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.membership import (
    Begin,
    Membership,
    Wait,
    decide_member,
    find_founders,
    find_waiting,
    format_membership,
    keep_cluster,
    parse_membership,
)

NEW = History()
DONE = History(1, 1)
AGAIN = History(2, 1)
FOUNDED = Membership(founders={"a": 1, "b": 1, "c": 1})
FORMED = Membership(formed=True, founders={"a": 1, "b": 1, "c": 1})


def histories(a: History, b: History, c: History) -> dict[str, History]:
    return {"a": a, "b": b, "c": c}


@pytest.mark.parametrize(
    ("before", "now", "founders"),
    [
        (Membership(), histories(NEW, NEW, NEW), {"a": 1, "b": 1, "c": 1}),
        (FOUNDED, histories(DONE, NEW, NEW), {"a": 1, "b": 1, "c": 1}),
        (FOUNDED, histories(AGAIN, NEW, NEW), {"a": 2, "b": 1, "c": 1}),
        (FOUNDED, histories(DONE, AGAIN, NEW), {"a": 1, "b": 1, "c": 1}),
        (FOUNDED, histories(AGAIN, DONE, DONE), {"a": 1, "b": 1, "c": 1}),
        (FORMED, histories(AGAIN, DONE, DONE), {"a": 1, "b": 1, "c": 1}),
        (FORMED, histories(AGAIN, AGAIN, AGAIN), {"a": 2, "b": 2, "c": 2}),
        (Membership(), histories(AGAIN, DONE, DONE), {}),
        (Membership(), {}, {}),
        (Membership(founders={"a": 1}), {"a": AGAIN}, {"a": 2}),
    ],
    ids=[
        "first installs", "one is done", "the first one failed later", "two were done: it may have had a leader",
        "all were done", "one of a cluster", "every one again", "nothing is known", "no members", "the only one again",
    ],
)  # fmt: skip
def test_who_may_begin_a_new_cluster(before: Membership, now: dict[str, History], founders: dict[str, int]) -> None:
    assert find_founders(before, now).founders == founders


def test_a_new_cluster_forgets_the_old_one() -> None:
    old = Membership(True, {"a": 1}, {"b": 2}, ("a", "b"), {"b": "why"})
    assert find_founders(old, {"a": AGAIN, "b": History(3, 2)}) == Membership(founders={"a": 2, "b": 3})


@pytest.mark.parametrize(
    ("membership", "generation", "expected"),
    [
        (FORMED, 1, Begin(existing=False)),
        (FORMED, 2, Wait("etcd has not been asked to take it as a member yet")),
        (Membership(True, {"a": 1}, {"a": 2}, ("a", "b", "c")), 2, Begin(True, ("a", "b", "c"))),
        (Membership(True, {"a": 1}, {"a": 2}, ("a", "b", "c")), 3,
         Wait("etcd has not been asked to take it as a member yet")),
        (Membership(True, refusals={"a": "no majority"}), 2, Wait("no majority")),
        (Membership(), 1, Wait("etcd has not been asked to take it as a member yet")),
    ],
)  # fmt: skip
def test_what_a_member_is_told(membership: Membership, generation: int, expected: Begin | Wait) -> None:
    assert decide_member(membership, "a", generation) == expected


def test_who_waits_for_etcd() -> None:
    assert find_waiting(FORMED, histories(AGAIN, DONE, NEW)) == ("a",)


def test_the_note_says_it_all() -> None:
    membership = Membership(True, {"a": 1}, {"b": 2}, ("a", "b"), {"c": "why"})
    assert parse_membership(format_membership(membership)) == membership
    assert parse_membership("") == Membership()


TO_FOUND = Membership(founders={"a": 2, "b": 2, "c": 2})
RESTORED = History(1, 1, MachineState.HELD, held="restored")


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        (TO_FOUND, histories(DONE, DONE, DONE), Membership(formed=True)),
        (TO_FOUND, histories(AGAIN, DONE, DONE), Membership(formed=True)),
        (TO_FOUND, histories(History(2, 2), AGAIN, DONE), Membership(formed=True)),
        (TO_FOUND, histories(RESTORED, RESTORED, RESTORED), Membership(formed=True)),
        (Membership(founders={"a": 2}), {"a": DONE}, Membership(formed=True)),
        (TO_FOUND, histories(AGAIN, AGAIN, AGAIN), TO_FOUND),
        (TO_FOUND, histories(History(2, 2), AGAIN, AGAIN), TO_FOUND),
        (FOUNDED, histories(DONE, NEW, NEW), FOUNDED),
        (TO_FOUND, {"a": AGAIN, "b": History(2, 2)}, TO_FOUND),
        (FORMED, histories(AGAIN, DONE, DONE), FORMED),
    ],
    ids=[
        "all taken back", "all but one", "one is done already", "restored", "the only one", "none",
        "one is done, none taken back", "first installs", "one is not described any more", "formed",
    ],
)  # fmt: skip
def test_a_founder_that_keeps_its_system_ends_the_new_cluster(
    before: Membership, now: dict[str, History], after: Membership
) -> None:
    assert keep_cluster(before, now) == after
    assert find_founders(before, now) == after


def test_an_order_taken_back_and_given_again_founds_nothing_beside_the_others() -> None:
    membership = keep_cluster(TO_FOUND, histories(AGAIN, DONE, DONE))
    assert isinstance(decide_member(membership, "a", 2), Wait)
