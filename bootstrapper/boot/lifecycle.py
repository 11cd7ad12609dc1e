"""The life of a machine: its states, what leads from one to the next, when each is overdue, and an admin's ways out.

One table, `TRANSITIONS`; whoever changes a machine's state does it by `enter`, so that no path forgets a rule:

- what installs (`NEEDS_OPEN`) happens only while `wanted > done`, what an installed system does only when it is not;
- a machine on hold stays on hold until an admin's order;
- nothing goes back: from an installed system to an installer there is no way but an order.

Orders, which may do what nothing else may, are in `boot.orders`. Whether a state is overdue is derived, never stored.
docs/machine-life.md tells the same to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.model import Machine, Role


class Order(StrEnum):
    """What an admin may order of one machine."""

    INSTALL = "install"
    "Install it (again after a failed or stopped install); never over an installed system."
    REINSTALL = "reinstall"
    "Install it anew, over what is on its disk."
    CANCEL = "cancel"
    "Take an install or reinstall back that has not begun: it keeps the system that it has."
    HOLD = "hold"
    RELEASE = "release"
    FORGET = "forget"
    APPROVE = "approve"
    "Take an unknown machine as a worker (unknown_machines: worker)."


class Trigger(StrEnum):
    """What happens to a machine and may move it."""

    SIGHTED = "sighted"
    "A machine that is not in the description asked for an address."
    SCRIPT_SERVED = "script served"
    "Its installer's boot script was served and a token minted: an install was opened."
    LOOPED = "looped"
    "It asked for one install too many (`boot.breaker`)."
    INSTALLER_REPORTED = "installer reported"
    "Steps clock, disk, config, image."
    INSTALL_DONE = "install done"
    "Step installed: everything is on its disk."
    FAILED = "failed"
    "Step failed, of the installer or of the installed system."
    SYSTEM_BOOTED = "system booted"
    "Step booted, of a machine that becomes a node: its node is still to come."
    IN_SERVICE = "in service"
    "Its node is Ready, or step booted of a machine that becomes none."


S, T = MachineState, Trigger

TRANSITIONS: Mapping[MachineState, Mapping[Trigger, MachineState]] = {
    S.UNKNOWN: {T.SIGHTED: S.DISCOVERED},
    S.DISCOVERED: {T.SIGHTED: S.DISCOVERED},
    S.ARMED: {
        T.SCRIPT_SERVED: S.BOOTING,
        T.LOOPED: S.HELD,
        # A machine may have its installer still running when `install` is ordered once more.
        T.INSTALLER_REPORTED: S.INSTALLING,
        T.INSTALL_DONE: S.INSTALLED,
        T.FAILED: S.FAILED,
    },
    S.BOOTING: {
        T.SCRIPT_SERVED: S.BOOTING,
        T.LOOPED: S.HELD,
        T.INSTALLER_REPORTED: S.INSTALLING,
        T.INSTALL_DONE: S.INSTALLED,
        T.FAILED: S.FAILED,
    },
    S.INSTALLING: {
        T.SCRIPT_SERVED: S.BOOTING,
        T.LOOPED: S.HELD,
        T.INSTALLER_REPORTED: S.INSTALLING,
        T.INSTALL_DONE: S.INSTALLED,
        T.FAILED: S.FAILED,
    },
    S.INSTALLED: {
        T.SYSTEM_BOOTED: S.INSTALLED,
        T.IN_SERVICE: S.JOINED,
        T.FAILED: S.FAILED,
    },
    # What a joined machine reports later (a unit that failed) is an event, not a state: it has been in service.
    S.JOINED: {T.IN_SERVICE: S.JOINED},
    S.HELD: {},
    S.FAILED: {
        T.SCRIPT_SERVED: S.BOOTING,
        T.LOOPED: S.HELD,
        T.INSTALLER_REPORTED: S.INSTALLING,
        T.INSTALL_DONE: S.INSTALLED,
        T.FAILED: S.FAILED,
        T.SYSTEM_BOOTED: S.INSTALLED,
        T.IN_SERVICE: S.JOINED,
    },
}
"State -> what happens -> next state; what is missing does not move the machine."

NEEDS_OPEN = frozenset({T.SCRIPT_SERVED, T.LOOPED, T.INSTALLER_REPORTED, T.INSTALL_DONE})
"Only while an install generation is open."
BEGINS = frozenset({T.SCRIPT_SERVED, T.INSTALLER_REPORTED, T.FAILED})
"After which what is on its disk is not sure, where an install is open."
NEEDS_DONE = frozenset({T.SYSTEM_BOOTED, T.IN_SERVICE})
"Only while none is: before, it is the old system that is heard."
KEEPS_TIME = frozenset({T.INSTALLER_REPORTED, T.SYSTEM_BOOTED, T.IN_SERVICE, T.FAILED, T.SIGHTED})
"What leaves since-when alone where the state stays the same."

OPEN_STATES = frozenset({S.ARMED, S.BOOTING, S.INSTALLING, S.FAILED, S.HELD})
DONE_STATES = frozenset({S.INSTALLED, S.JOINED, S.FAILED, S.HELD})

_AT_WORK = (Order.INSTALL, Order.HOLD, Order.FORGET)
_HAS_SYSTEM = (Order.REINSTALL, Order.HOLD, Order.FORGET)


@dataclass(frozen=True, slots=True)
class StateFacts:
    meaning: str
    exits: tuple[Order, ...] = ()
    "The admin's ways out. `move` to another MAC is open to every machine of the description."
    timeout_s: float | None = None
    "So long it may last; None: for ever."
    overdue: str = ""
    "In words, what it means that it lasted longer."


STATES: Mapping[MachineState, StateFacts] = {
    S.UNKNOWN: StateFacts("not in the description, and never seen"),
    S.DISCOVERED: StateFacts("not in the description, and has asked for an address", (Order.APPROVE,)),
    S.ARMED: StateFacts(
        "is installed when it boots over the network next", (Order.CANCEL, Order.HOLD, Order.REINSTALL, Order.FORGET)
    ),
    S.BOOTING: StateFacts(
        "was given its installer's boot script, and its installer has not been heard yet",
        _AT_WORK,
        15 * 60.0,
        "its installer has not been heard since the boot script was served: see its console",
    ),
    S.INSTALLING: StateFacts(
        "its installer is at work",
        _AT_WORK,
        45 * 60.0,
        "its installer has neither finished nor failed: it hangs, or its disk or network is very slow",
    ),
    S.INSTALLED: StateFacts(
        "its disk is written, and the system on it is not in service yet",
        _HAS_SYSTEM,
        20 * 60.0,
        "the system on its disk has not been heard: it does not boot from its disk, or has no network",
    ),
    S.JOINED: StateFacts("in service: its node is Ready, or (without a kubelet) its system is up", _HAS_SYSTEM),
    S.HELD: StateFacts(
        "on hold: boots its disk if it was installed, else nothing",
        (Order.RELEASE, Order.INSTALL, Order.CANCEL, Order.REINSTALL, Order.FORGET),
    ),
    S.FAILED: StateFacts(
        "its installer or its new system reported a failure; while an install is open, the next boot tries again",
        (Order.INSTALL, Order.REINSTALL, Order.HOLD, Order.FORGET),
    ),
}

OVERDUE_NODE = "its system is up, and its node is not Ready: the API, the network add-on or its kubelet is not"


def find_state(history: History) -> MachineState:
    """The state of a machine of the description; a kept one that contradicts the generations is corrected."""
    if history.held:
        return S.HELD
    if history.open:
        return history.state if history.state in OPEN_STATES - {S.HELD} else S.ARMED
    return history.state if history.state in DONE_STATES - {S.HELD} else S.INSTALLED


def find_exits(history: History) -> tuple[Order, ...]:
    """The orders that are not refused now, for a machine of the description."""
    exits = STATES[find_state(history)].exits
    refused = set() if can_cancel(history) else {Order.CANCEL}
    if not history.open and not history.forgotten:
        refused.add(Order.INSTALL)
    return tuple(order for order in exits if order not in refused)


def can_cancel(history: History) -> bool:
    """Whether its open order can be taken back: it has a system, which no install has touched yet."""
    return history.open and history.done > 0 and not history.begun


def find_timeout(history: History) -> float | None:
    """How long the present state may last, in seconds; None: for ever, or since-when is not known."""
    return STATES[find_state(history)].timeout_s if history.state_at else None


def find_overdue(history: History, now: float) -> str:
    """Why it is time to look at the machine; empty: it is not. Derived at each look, never stored."""
    timeout = find_timeout(history)
    since = max(history.state_at, history.booted_at) if find_state(history) is S.INSTALLED else history.state_at
    if timeout is None or now <= since + timeout:
        return ""
    if find_state(history) is S.INSTALLED and history.booted_at:
        return OVERDUE_NODE
    return STATES[find_state(history)].overdue


def has_node(machine: Machine) -> bool:
    """Whether it becomes a node of the cluster: then it has joined when its node is Ready (docs/decisions/0013)."""
    return bool(machine.roles & {Role.MASTER, Role.WORKER})


def enter(history: History, trigger: Trigger, now: float, reason: str) -> History | None:
    """`history` after `trigger`; None: it does not move this machine now."""
    if (trigger in NEEDS_OPEN and not history.open) or (trigger in NEEDS_DONE and history.open):
        return None
    if history.held:
        # The hold and its reason stay; that its disk is written stays true, or it would be written again, and that its
        # install failed is what it is released to.
        if trigger is T.FAILED and history.open:
            return replace(history, state=S.FAILED, reason=reason, begun=True)
        return _close(history) if trigger is T.INSTALL_DONE else None
    target = TRANSITIONS[find_state(history)].get(trigger)
    if target is None:
        return None
    at = history.state_at if target is history.state and trigger in KEEPS_TIME else now
    begun = history.open and (history.begun or trigger in BEGINS)
    after = replace(history, state=target, state_at=at, reason=reason, begun=begun)
    if trigger is T.INSTALL_DONE:
        return _close(after)
    if trigger in NEEDS_DONE and not after.booted_at:
        return replace(after, booted_at=now)
    return replace(after, held=reason) if target is S.HELD else after


def _close(history: History) -> History:
    return replace(history, done=history.wanted, opened_at=(), wipe=False, booted_at=0.0, forgotten=False, begun=False)


def tell_change(mac: str, before: History, after: History) -> Event | None:
    """The event that keeps a change of state: step `state`, detail `armed -> booting: why`; None: it stayed."""
    old, new = find_state(before), find_state(after)
    if old is new and before.wanted == after.wanted:
        return None
    level = "warning" if new in (S.HELD, S.FAILED) else "info"
    detail = f"{old} -> {new}" + (f": {after.held or after.reason}" if after.held or after.reason else "")
    return Event(after.state_at, mac, "state", "state", detail[:500], level)
