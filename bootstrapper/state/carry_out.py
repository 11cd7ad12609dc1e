"""An admin's order, carried out: `boot.orders` says what it does to the machine's history, this does it to the state.

What must be done in the cluster as well (after `forget`) is left as an errand for `kube`, which has the credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bootstrapper.boot.history import History
from bootstrapper.boot.lifecycle import Order, has_node
from bootstrapper.boot.orders import Ask, Refusal, Subject, apply_move, apply_order, find_warnings
from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.state.store import Store

FORGET = "forget"
"The kind of an errand: the machine's Node, etcd member and bootstrap tokens are to go."


@dataclass(frozen=True, slots=True)
class Done:
    history: History
    "Of the machine; after a move, of its new MAC."
    changed: bool = True
    "False: it was so already."
    warnings: tuple[str, ...] = ()
    "What the admin should know now, in words."


class _Refused(Exception):
    """Ends a transaction of the store without a change."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def carry_out(store: Store, cluster: Cluster, mac: str, ask: Ask, now: float) -> Done | Refusal:
    """`mac` is any MAC of a machine of `cluster`, or that of an unknown machine. `now` is the wall clock."""
    machine = cluster.by_mac.get(mac)
    first = machine.mac if machine else mac
    subject = Subject(machine is not None, machine is not None and has_node(machine), cluster.unknown_machines)
    warnings = find_warnings(ask.order, first, load_members(store, cluster))
    before = History()

    def change(history: History) -> History:
        nonlocal before
        before = history
        after = apply_order(history, ask, subject, now)
        if isinstance(after, Refusal):
            raise _Refused(after)
        return after

    try:
        if ask.order is not Order.FORGET:
            after = store.change_history(first, change)
            return Done(after, after != before, warnings)
        after = store.forget_machine(first, machine.macs if machine else (mac,), change)
    except _Refused as refused:
        return refused.refusal
    # Also when it was forgotten before: what was left of it in the cluster then may be there still.
    store.add_errand(FORGET, first, find_host(machine, first), now)
    return Done(after, after != before, warnings)


def carry_move(store: Store, cluster: Cluster, old: str, new: str, now: float) -> Done | Refusal:
    """The machine known by first MAC `old` has a new card or board, whose MAC is `new`.

    The description still has to name the new MAC; until it does, neither MAC installs anything.
    """
    machine, other = cluster.by_mac.get(old), cluster.by_mac.get(new)
    first = machine.mac if machine else old
    if first == new:
        return Refusal("that is the MAC that it has")
    if machine is not None and machine is other:
        return Refusal(f"{new} is a card of {machine.host} already", "write it first in `macs`, or as `mac`")
    if machine is None and store.find_history(first) == History():
        return Refusal("nothing is known of this machine")

    def change(kept: History, target: History) -> tuple[History, History]:
        moved = apply_move(kept, target, new, now)
        if isinstance(moved, Refusal):
            raise _Refused(moved)
        return moved

    try:
        store.move_machine(first, other.mac if other else new, change)
    except _Refused as refused:
        return refused.refusal
    return Done(store.find_history(other.mac if other else new), warnings=_advise_move(machine, other, new))


def load_members(store: Store, cluster: Cluster) -> Mapping[str, History]:
    """The histories of etcd's machines, by first MAC."""
    return {each.mac: store.find_history(each.mac) for each in cluster.with_role(Role.ETCD)}


def find_host(machine: Machine | None, mac: str) -> str:
    """A machine that is not in the description any more was named by its MAC, or nobody knows how."""
    return machine.host if machine else mac.replace(":", "-")


def _advise_move(machine: Machine | None, other: Machine | None, new: str) -> tuple[str, ...]:
    if machine is None:
        return ()
    found = []
    if other is None:
        found.append(f"write {new} as the MAC of {machine.host} in the description: until then it is unknown")
    if machine.host == machine.mac.replace(":", "-"):
        found.append(f"its host name came from its old MAC: give it `host: {machine.host}`, the name of its node")
    return tuple(found)
