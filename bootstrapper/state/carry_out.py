"""An admin's order, carried out: `boot.orders` says what it does to the machine's history, this does it to the state.

What must be done in the cluster as well (after `forget`) is left as an errand for `kube`, which has the credentials.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from bootstrapper.boot.adoption import apply_hold, find_adoptions
from bootstrapper.boot.history import History
from bootstrapper.boot.lifecycle import Order, has_node
from bootstrapper.boot.orders import WORDS_OF_FORGET, Ask, Refusal, Subject, apply_move, apply_order, find_warnings
from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.state.store import Errand, Store

FORGET_KEYS = "forget keys"
"Kinds of errands: its certificates and its bootstrap token ..."
RESTORE_KEYS = "restore keys"
"... its certificates renew again, since it was released ..."
FORGET_NODE = "forget node"
"... its Node ..."
FORGET_MEMBER = "forget etcd member"
"... and its place among etcd's members are to go."


@dataclass(frozen=True, slots=True)
class Done:
    history: History
    "Of the machine; after a move, of its new MAC."
    changed: bool = True
    "False: it was so already."
    warnings: tuple[str, ...] = ()
    "What the admin should know now, in words."


class Keys(Protocol):
    """`pki.cluster.ClusterPki`."""

    def forget(self, mac: str, at: float) -> None: ...


class _Refused(Exception):
    """Ends a transaction of the store without a change."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def new_order_id() -> str:
    return secrets.token_hex(16)


def carry_out(
    store: Store, cluster: Cluster, mac: str, ask: Ask, now: float, new_id: Callable[[], str] = new_order_id
) -> Done | Refusal:
    """`mac` is any MAC of a machine of `cluster`, or that of an unknown machine. `now` is the wall clock.

    The order gets its identity here, from `new_id`, so that none is given without one.
    """
    ask = replace(ask, order_id=new_id())
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
        if ask.order is Order.RELEASE and history.forgotten:
            for kind in (FORGET_KEYS, FORGET_NODE, FORGET_MEMBER):
                store.drop_errands(kind, first)
            store.add_errand(RESTORE_KEYS, first, find_host(machine, first), now)
        elif ask.order is Order.FORGET:
            store.drop_errands(RESTORE_KEYS, first)
        return after

    left = {errand.kind for errand in store.load_errands() if errand.mac == first}
    try:
        if ask.order is not Order.FORGET:
            after = store.change_history(first, change)
            if ask.order is Order.RELEASE and machine is not None:
                warnings += _find_losses(before, machine, left)
            return Done(after, after != before, warnings)
        # Also when it was forgotten before: what was left of it in the cluster then may be there still.
        kinds = (FORGET_KEYS, FORGET_NODE, FORGET_MEMBER)
        errands = [Errand(0, now, kind, first, find_host(machine, first)) for kind in kinds]
        after = store.forget_machine(first, machine.macs if machine else (mac,), change, errands)
    except _Refused as refused:
        return refused.refusal
    return Done(after, after != before, warnings)


def _find_losses(before: History, machine: Machine, left: Collection[str]) -> tuple[str, ...]:
    """What a forgotten machine that is released has lost in the cluster already. `left`: the errands not done then."""
    if not before.held.startswith(WORDS_OF_FORGET):
        return ()
    found = []
    if Role.ETCD in machine.roles and FORGET_MEMBER not in left:
        found.append("it is no member of etcd any more: order `reinstall` to make it one again")
    if has_node(machine) and FORGET_NODE not in left:
        found.append("its Node was taken out of the cluster: restart the machine, or its kubelet, to have it back")
    return tuple(found)


def give_new_keys(store: Store, keys: Keys, mac: str) -> bool:
    """To be called before a claim of the machine is answered: keys that it had when it was forgotten are not handed
    out again, also when the errand which retires them is not done yet. Returns whether there was one.

    It is done by that: done again later, with a clock that was set back meanwhile, it would take the new keys as well.
    """
    errands = [each for each in store.load_errands() if (each.kind, each.mac) == (FORGET_KEYS, mac)]
    for errand in errands:
        keys.forget(mac, errand.at)
        store.finish_errand(errand.id)
    return bool(errands)


def carry_move(store: Store, cluster: Cluster, mac: str, target: str, now: float) -> Done | Refusal:
    """The machine known by `mac` has a new card or board, whose MAC is `target`.

    The description still has to name the new MAC; until it does, neither MAC installs anything.
    """
    machine, other = cluster.by_mac.get(mac), cluster.by_mac.get(target)
    # The description may name the new MAC first already: the life is still the old one's then.
    kept = store.find_history(mac)
    first = mac if machine is None or (kept != History() and not kept.forgotten) else machine.mac
    heir = other.mac if other else target
    if machine is not None and machine is other and target != heir:
        return Refusal(f"{target} is a card of {machine.host} already", "name it first in `macs`")
    if first == heir:
        return Refusal("that is the MAC that it has")
    if store.find_history(first) == History():
        return Refusal("nothing has happened to this machine yet", "write the new MAC in the description")

    def change(old: History, new: History) -> tuple[History, History]:
        moved = apply_move(old, new, target, now)
        if isinstance(moved, Refusal):
            raise _Refused(moved)
        return moved

    try:
        store.move_machine(first, heir, change)
    except _Refused as refused:
        return refused.refusal
    warnings = () if machine is other and machine is not None else _advise_move(machine, other, first, target)
    return Done(store.find_history(heir), warnings=warnings)


def adopt_histories(store: Store, cluster: Cluster, before: Cluster | None, now: float) -> list[tuple[str, str]]:
    """Where the description names another of a machine's `macs` first than before, its life goes on under that one.

    Without this such a machine would count as never seen, and be installed. Where whose life it is is not plain, it is
    put on hold (`boot.adoption`), which is an event of the machine. To be called with each description that
    comes into force, before anything is served by it; `before` is the one that was in force. Returns (old, new) first
    MACs.
    """
    moved = []
    for found in list(find_adoptions(store.load_histories(), cluster, before)):
        if found.held:
            store.change_history(found.mac, partial(apply_hold, adoption=found, now=now))
        elif isinstance(carry_move(store, cluster, found.old, found.mac, now), Done):
            moved.append((found.old, found.mac))
    return moved


def load_members(store: Store, cluster: Cluster) -> Mapping[str, History]:
    """The histories of etcd's machines, by first MAC."""
    return {each.mac: store.find_history(each.mac) for each in cluster.with_role(Role.ETCD)}


def find_host(machine: Machine | None, mac: str) -> str:
    """A machine that is not in the description any more was named by its MAC, or nobody knows how."""
    return machine.host if machine else mac.replace(":", "-")


def _advise_move(machine: Machine | None, other: Machine | None, old: str, new: str) -> tuple[str, ...]:
    if machine is None and other is not None:
        return (
            f"write `macs: [{new}, {old}]` for {other.host}: its certificates name the old MAC, and renew by it until "
            "it is installed again",
        )
    if machine is None:
        return ()
    found = []
    if other is None:
        found.append(
            f"write `macs: [{new}, {machine.mac}]` for {machine.host} in the description: until then {new} is unknown; "
            "the old MAC stays second until it is installed again, for its certificates name it"
        )
    if machine.host == machine.mac.replace(":", "-"):
        found.append(f"its host name came from its old MAC: give it `host: {machine.host}`, the name of its node")
    return tuple(found)
