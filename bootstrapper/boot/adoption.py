"""What becomes of machines' lives when another description names their cards otherwise than the one in force (pure).

A life (`History`) is kept under a machine's first MAC. One that is found under another of its `macs` goes on under the
first; where it is not plain whose life it is, and an installed system may be on the disk, the machine is put on hold
with words, since as one never seen it would be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.orders import MOVED, build_forgotten
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.cluster.plan import Changes, Effect


@dataclass(frozen=True, slots=True)
class Adoption:
    """Of one machine: exactly one of `old` and `held` is not empty."""

    mac: str
    "Its first MAC."
    old: str = ""
    "The MAC whose life goes on under `mac`."
    held: str = ""
    "Why it is put on hold, naming the ways out."
    last: int = 0
    "With `held`: the highest generation of those it may be, so that none of its numbers is used twice."


def find_adoptions(histories: Mapping[str, History], cluster: Cluster, before: Cluster | None) -> Iterator[Adoption]:
    """Of the machines of `cluster`, which comes into force; `before` is the description that was until now."""
    for machine in cluster.machines:
        own = histories.get(machine.mac)
        if own is not None and not own.forgotten and not own.open:
            continue
        known = _find_known(machine, histories, cluster, before)
        installed = [mac for mac in known if histories[mac].done]
        if installed and own is not None and not own.forgotten and _knew(before, machine):
            # Ordered to install as the machine that it is, or on hold for that life: a reload changes neither.
            continue
        if own is not None and own.forgotten and own.held:
            # On hold already: only a single life may still come to it.
            installed = []
        if installed and len(known) > 1:
            names = " and ".join(_name(mac, before) for mac in installed)
            yield _hold(machine, f"it has cards of {names}, known as installed", installed, histories)
        elif installed and own is not None and own.open and not own.forgotten:
            # A card that came from a machine which was to be installed: that order is not this machine's.
            words = f"its card has an open install of another machine, and {known[0]} is installed"
            yield _hold(machine, words, installed, histories)
        elif len(known) == 1 and not (own is not None and own.forgotten and _knew(before, machine)):
            yield Adoption(machine.mac, known[0])
        elif own is None or (own.open and not own.done and not own.held and not _knew(before, machine)):
            yield from _find_replaced(machine, histories, cluster, before)


def find_life(machine: Machine, find_history: Callable[[str], History]) -> tuple[str, History]:
    """Where the life of `machine` is kept, and what it is: under its first MAC. While a description that names another
    of its cards first comes into force, whoever still has the one before finds it under that card already."""
    history = find_history(machine.mac)
    if history.forgotten:
        for mac in machine.macs[1:]:
            if history.held == MOVED.format(mac):
                return mac, find_history(mac)
    return machine.mac, history


def apply_hold(history: History, adoption: Adoption, now: float) -> History:
    """What `adoption.mac` has from now on: on hold, and with no generation open, so that it boots its disk."""
    if history.opened_at:
        # Its installer may be at work; what it reports must still be taken.
        return replace(history, state=MachineState.HELD, state_at=now, held=adoption.held, reason=adoption.held)
    last = max(adoption.last, history.wanted)
    return build_forgotten(History(last, last), now, adoption.held)


def add_holds(changes: Changes, adoptions: Iterable[Adoption], words: str = "is put on hold") -> Changes:
    """A plan, with what the server would put on hold."""
    held = {each.mac: each.held for each in adoptions if each.held}
    machines = (
        replace(each, changes=(*each.changes, f"{words}: {held[each.mac]}"))
        if each.mac in held and each.effect is not Effect.GONE
        else each
        for each in changes.machines
    )
    return replace(changes, machines=tuple(machines))


def suppose_holds(old: Cluster, new: Cluster, changes: Changes) -> Changes:
    """The same where no state is at hand: as if every machine of `old` were installed."""
    installed = {machine.mac: History(1, 1, MachineState.INSTALLED) for machine in old.machines}
    return add_holds(changes, find_adoptions(installed, new, old), "is put on hold, if the other was installed")


def _find_known(
    machine: Machine, histories: Mapping[str, History], cluster: Cluster, before: Cluster | None
) -> list[str]:
    """The first MACs, beside its own, under which a life is kept that may be this machine's."""
    olds = {before.by_mac[mac].mac for mac in machine.macs if mac in before.by_mac} if before else set()
    return [
        mac
        for mac in sorted({*machine.macs[1:], *olds} - {machine.mac})
        if mac in histories and not histories[mac].forgotten and cluster.by_mac.get(mac) in (None, machine)
    ]


def _find_replaced(
    machine: Machine, histories: Mapping[str, History], cluster: Cluster, before: Cluster | None
) -> Iterator[Adoption]:
    """An installed machine that is gone, and this one has its host name or address: its MAC may just have been
    replaced in the file."""
    for was in before.machines if before else ():
        kept = histories.get(was.mac)
        gone = (
            kept is not None and kept.done and not kept.forgotten and not any(mac in cluster.by_mac for mac in was.macs)
        )
        same = "host name" if was.host == machine.host else "address" if was.ip and was.ip == machine.ip else ""
        if gone and same:
            words = f"it has the {same} of {was.host} ({was.mac}), which is installed and no longer described"
            yield _hold(machine, words, [was.mac], histories)
            return


def _hold(machine: Machine, words: str, installed: Sequence[str], histories: Mapping[str, History]) -> Adoption:
    moves = " or ".join(f"`move {mac} {machine.mac}`" for mac in installed)
    what = "that machine" if len(installed) == 1 else "one of them"
    held = f"{words}: order {moves} if it is {what}, or `install` if its disk is to be written"
    return Adoption(machine.mac, held=held, last=max(histories[mac].wanted for mac in installed))


def _knew(before: Cluster | None, machine: Machine) -> bool:
    """Whether the machine was the same one before, with all its cards."""
    was = before.by_mac.get(machine.mac) if before else None
    return was is not None and was.mac == machine.mac and set(machine.macs) <= set(was.macs)


def _name(mac: str, before: Cluster | None) -> str:
    was = before.by_mac.get(mac) if before else None
    return f"{was.host} ({mac})" if was else mac
