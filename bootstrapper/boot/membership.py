"""How an etcd member that is installed begins: with a new cluster, or as one more member of the one that runs.

A member that comes back with its data gone and says `new`, or its old name, is refused by the others ("has already been
bootstrapped"). So this server keeps what it knows of the cluster in one note of the state: `kube.etcd_work` writes it,
after it has put the old member out and let the new one in; a claim of a configuration reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bootstrapper.boot.history import History

NOTE = "etcd"
"The note of the state that `Membership` is kept in."


@dataclass(frozen=True, slots=True)
class Membership:
    """The default is a cluster that nobody knows anything of yet."""

    formed: bool = False
    "It has been seen with a leader."
    founders: Mapping[str, int] = field(default_factory=dict)
    "First MAC -> install generation in which it begins a new cluster, together with the others here."
    admitted: Mapping[str, int] = field(default_factory=dict)
    "First MAC -> install generation for which it was made a member of the cluster that runs."
    members: tuple[str, ...] = ()
    "Host names of the members, when one was last admitted."
    refusals: Mapping[str, str] = field(default_factory=dict)
    "First MAC -> why it cannot be admitted now."


@dataclass(frozen=True, slots=True)
class Begin:
    """`existing` is False for a founder of a new cluster; `members` are then the description's."""

    existing: bool
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """The configuration must not be handed out yet."""

    reason: str


def decide_member(membership: Membership, mac: str, generation: int) -> Begin | Wait:
    """What the member `mac` is told when it claims its configuration for `generation`."""
    if membership.founders.get(mac) == generation:
        return Begin(existing=False)
    if membership.admitted.get(mac) == generation:
        return Begin(existing=True, members=membership.members)
    return Wait(membership.refusals.get(mac, "etcd has not been asked to take it as a member yet"))


def find_founders(membership: Membership, histories: Mapping[str, History]) -> Membership:
    """`membership` with those that may begin a new cluster without asking etcd. `histories` has every member's.

    When every one of them is to be installed, none keeps its data: a new cluster begins. Until a majority of the
    founders has been installed, there cannot have been a leader, so one that failed may found again.
    When the order of one of them was taken back, none founds: see `keep_cluster`.
    """
    if histories and all(history.open for history in histories.values()):
        founders = {mac: history.wanted for mac, history in histories.items()}
        return membership if membership.founders == founders else Membership(founders=founders)
    membership = keep_cluster(membership, histories)
    if membership.formed or not membership.founders:
        return membership
    if _has_majority(membership, histories):
        return membership
    again = {
        mac: histories[mac].wanted
        for mac in membership.founders
        if mac in histories and histories[mac].open and membership.founders[mac] != histories[mac].wanted
    }
    return replace(membership, founders={**membership.founders, **again}) if again else membership


def keep_cluster(membership: Membership, histories: Mapping[str, History]) -> Membership:
    """`membership`, or that of a cluster which runs, where a founder keeps its system after all: `cancel` or a restore
    closed its order, so the cluster that was to go lives on, and whoever is installed needs its consent.

    Also to be asked at a claim: the note is as old as the last round with etcd.
    """
    if membership.formed:
        return membership
    taken_back = any(
        not histories[mac].open and histories[mac].done < generation
        for mac, generation in membership.founders.items()
        if mac in histories
    )
    return Membership(formed=True) if taken_back else membership


def can_have_formed(membership: Membership, histories: Mapping[str, History]) -> bool:
    """Whether an etcd that answers can be the founders', and not still the one they had before."""
    first = all(generation == 1 for generation in membership.founders.values())
    return first or _has_majority(membership, histories)


def _has_majority(membership: Membership, histories: Mapping[str, History]) -> bool:
    """Whether so many founders have been installed that there may be a leader."""
    done = [mac for mac, each in membership.founders.items() if histories.get(mac, History()).done >= each]
    return len(done) > len(membership.founders) // 2


def drop_member(membership: Membership, mac: str) -> Membership:
    """`membership` without a machine that an admin had forgotten: nothing said of it before counts any more."""

    return replace(
        membership,
        founders={each: generation for each, generation in membership.founders.items() if each != mac},
        admitted={each: generation for each, generation in membership.admitted.items() if each != mac},
        refusals={each: reason for each, reason in membership.refusals.items() if each != mac},
    )


def find_waiting(membership: Membership, histories: Mapping[str, History]) -> tuple[str, ...]:
    """The members whose open install needs etcd's consent first."""
    return tuple(
        mac
        for mac, history in histories.items()
        if history.open and isinstance(decide_member(membership, mac, history.wanted), Wait)
    )


def parse_membership(note: str) -> Membership:
    """Raises ValueError for a note of another version."""
    if not note:
        return Membership()
    document = json.loads(note)
    return Membership(
        formed=bool(document["formed"]),
        founders={str(mac): int(generation) for mac, generation in document["founders"].items()},
        admitted={str(mac): int(generation) for mac, generation in document["admitted"].items()},
        members=tuple(str(host) for host in document["members"]),
        refusals={str(mac): str(reason) for mac, reason in document["refusals"].items()},
    )


def format_membership(membership: Membership) -> str:
    return json.dumps(
        {
            "formed": membership.formed,
            "founders": dict(membership.founders),
            "admitted": dict(membership.admitted),
            "members": list(membership.members),
            "refusals": dict(membership.refusals),
        },
        sort_keys=True,
    )
