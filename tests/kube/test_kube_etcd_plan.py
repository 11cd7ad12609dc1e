"""The next step for a member that is installed again: a table, with the majority counted by hand."""

from __future__ import annotations

import pytest

from bootstrapper.kube.etcd_plan import (
    Add,
    Existing,
    Member,
    Plan,
    Refuse,
    Remove,
    find_promotable,
    plan_replacement,
    quorum,
)


def url(number: int) -> str:
    return f"https://10.10.14.1{number}:2380"


def up(number: int, learner: bool = False) -> Member:
    return Member(number, f"node{number}", (url(number),), (f"https://10.10.14.1{number}:2379",), learner)


def expected(number: int, learner: bool = True) -> Member:
    """Added, and not up yet."""
    return Member(number, "", (url(number),), (), learner)


THREE = [up(1), up(2), up(3)]
FIVE = [*THREE, up(4), up(5)]


@pytest.mark.parametrize(
    ("members", "alive", "plan"),
    [
        (THREE, {1, 2, 3}, Remove(1)),
        (THREE, {2, 3}, Remove(1)),
        (THREE, {1, 2}, Refuse("etcd would lose its majority: without it 2 are left, and node3 does not answer")),
        (THREE, {2}, Refuse("only 1 of etcd's 3 members answer: no change can be agreed on")),
        (THREE, set(), Refuse("only 0 of etcd's 3 members answer: no change can be agreed on")),
        (FIVE, {2, 3, 4}, Remove(1)),
        (FIVE, {1, 2, 3},
         Refuse("etcd would lose its majority: without it 4 are left, and node4, node5 does not answer")),
        (FIVE, {2, 3}, Refuse("only 2 of etcd's 5 members answer: no change can be agreed on")),
        ([up(1), up(2)], {1, 2}, Remove(1)),
        ([up(1), up(2)], {2}, Refuse("only 1 of etcd's 2 members answer: no change can be agreed on")),
        ([up(1)], {1}, Refuse("it is etcd's only member: to lose all data, install every etcd machine again at once")),
        ([up(2), up(3)], {2, 3}, Add()),
        ([up(2), up(3)], {2}, Refuse("only 1 of etcd's 2 members answer: no change can be agreed on")),
        ([up(2)], {2}, Add()),
        ([expected(1), up(2), up(3)], {2, 3}, Existing()),
        ([expected(1, learner=False), up(2), up(3)], {2, 3}, Existing()),
        ([up(1, learner=True), up(2), up(3)], {1, 2, 3}, Remove(1)),
        ([expected(4), up(2), up(3)], {2, 3},
         Refuse("https://10.10.14.14:2380 is being made a member: one at a time")),
        ([Member(1, "old", (url(1),), ("https://x:2379",)), up(2), up(3)], {1, 2, 3}, Remove(1)),
        ([Member(9, "node1", ("https://10.10.14.99:2380",), ("https://x:2379",)), up(2), up(3)], {2, 3, 9}, Remove(9)),
        ([Member(9, "node1", ("https://10.10.14.99:2380",), ("https://x:2379",)), expected(1), up(2), up(3)], {2, 3},
         Refuse("etcd has 2 members with its name or address: remove the wrong one with etcdctl")),
    ],
)  # fmt: skip
def test_the_next_step_for_node1(members: list[Member], alive: set[int], plan: Plan) -> None:
    assert plan_replacement(members, frozenset(alive), "node1", url(1)) == plan


@pytest.mark.parametrize(("voters", "expected"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_quorum(voters: int, expected: int) -> None:
    assert quorum(voters) == expected


def test_who_may_be_given_a_vote() -> None:
    assert find_promotable([up(1), up(2, learner=True), expected(3)], frozenset({1, 2})) == (2,)
