"""What must happen in etcd before a machine that is installed can be a member: pure, one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Member:
    id: int
    name: str
    "Empty until it has been up."
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    "Empty until it has been up."
    learner: bool = False

    @property
    def started(self) -> bool:
        return bool(self.client_urls)


@dataclass(frozen=True, slots=True)
class Refuse:
    reason: str


@dataclass(frozen=True, slots=True)
class Remove:
    """The member that the machine was: its data is about to be gone."""

    id: int


@dataclass(frozen=True, slots=True)
class Add:
    """A learner, with the machine's peer URL."""


@dataclass(frozen=True, slots=True)
class Existing:
    """The machine is expected: it may start with `existing` and the members as they are."""


Plan = Refuse | Remove | Add | Existing


def plan_replacement(members: Sequence[Member], alive: frozenset[int], host: str, peer_url: str) -> Plan:
    """The next step for the machine `host`, whose install is open; `alive` are the members that know a leader."""
    mine = [member for member in members if member.name == host or peer_url in member.peer_urls]
    voters = [member for member in members if not member.learner]
    answering = [member for member in voters if member.id in alive]
    if len(mine) > 1:
        return Refuse(f"etcd has {len(mine)} members with its name or address: remove the wrong one with etcdctl")
    if len(answering) < quorum(len(voters)):
        return Refuse(f"only {len(answering)} of etcd's {len(voters)} members answer: no change can be agreed on")
    if mine and not mine[0].started and peer_url in mine[0].peer_urls:
        return Existing()
    if mine:
        return _plan_removal(mine[0], voters, alive)
    others = [member for member in members if member.learner]
    if others:
        # etcd takes one learner at a time unless told otherwise (--max-learners).
        return Refuse(f"{_name(others[0])} is being made a member: one at a time")
    return Add()


@dataclass(frozen=True, slots=True)
class Keep:
    """It must stay, whatever becomes of the others."""

    reason: str


def plan_forgetting(
    members: Sequence[Member], alive: frozenset[int], host: str, peer_url: str
) -> int | Refuse | Keep | None:
    """The id of the member to remove, since its machine `host` was forgotten; None: it is no member.

    `peer_url` is empty when the machine's address is not known any more. Refuse: not now, ask again.
    """
    mine = [member for member in members if member.name == host or (peer_url and peer_url in member.peer_urls)]
    if not mine:
        return None
    if len(members) == 1:
        return Keep("it is etcd's only member")
    if len(mine) > 1:
        return Refuse(f"etcd has {len(mine)} members with its name or address: remove the wrong one with etcdctl")
    plan = _plan_removal(mine[0], [member for member in members if not member.learner], alive)
    return plan.id if isinstance(plan, Remove) else plan


def _plan_removal(mine: Member, voters: Sequence[Member], alive: frozenset[int]) -> Refuse | Remove:
    rest = [member for member in voters if member.id != mine.id]
    answering = [member for member in rest if member.id in alive]
    if mine.learner:
        return Remove(mine.id)
    if not rest:
        return Refuse("it is etcd's only member: to lose all data, install every etcd machine again at once")
    if len(answering) < quorum(len(rest)):
        names = ", ".join(sorted(_name(member) for member in rest if member.id not in alive))
        return Refuse(f"etcd would lose its majority: without it {len(rest)} are left, and {names} does not answer")
    return Remove(mine.id)


def find_promotable(members: Sequence[Member], alive: frozenset[int]) -> tuple[int, ...]:
    """Learners that are up; whether they have caught up, etcd says when asked."""
    return tuple(member.id for member in members if member.learner and member.id in alive)


def quorum(voters: int) -> int:
    return voters // 2 + 1


def _name(member: Member) -> str:
    return member.name or ", ".join(member.peer_urls)
