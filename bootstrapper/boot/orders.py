"""What an admin may order of one machine, and what it does to its history (design.md rule 1).

Nothing is ever installed again by accident: only `install`, `reinstall` and `approve` open a generation. `release` and
`cancel` never do, and what `forget` and `move` leave behind is a machine on hold, which boots its disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order, can_cancel, find_state
from bootstrapper.cluster.model import UnknownPolicy

REASON_CHARACTERS = 300
BY_ADMIN = "an admin put it on hold"
WORDS_OF_FORGET = "forgotten by an admin: order"
MOVED = "moved to {} by an admin"
"How the life of a first MAC says where it went."
FORGOTTEN = f"{WORDS_OF_FORGET} `install` to install it, or `release` if its system is to be kept"
FORGOTTEN_APPROVED = (
    f"{WORDS_OF_FORGET} `approve` to take it as a worker again; `install` or `release` once it is described"
)
"The approval that made it known is gone as well."


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """An order as given."""

    order: Order
    wipe: bool = False
    "With `reinstall`: also over another's data on its disk, this once."
    reason: str = ""
    "Why, in the admin's words."
    order_id: str = ""
    "What names it if it opens a generation: nobody could guess it, and no other order has it (`History.order_id`)."


@dataclass(frozen=True, slots=True)
class Subject:
    """What the order is about, beside its history."""

    known: bool
    "It is in the description (or approved)."
    node: bool = False
    "`lifecycle.has_node`."
    policy: UnknownPolicy = UnknownPolicy.IGNORE


def apply_order(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    """`history` after the order; the same history when nothing is to be changed. Repeating an order is no fault.

    `forget` and its like do more than change the history: the Store and `kube` do that.
    """
    if ask.wipe and ask.order is not Order.REINSTALL:
        return Refusal("`wipe` goes with `reinstall` only", "order `reinstall` with `wipe`")
    if not subject.known and ask.order not in (Order.APPROVE, Order.FORGET):
        return Refusal("this machine is not in the description", "add it there, or order `approve`")
    return APPLY[ask.order](history, ask, subject, now)


def _install(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    if not history.open and not history.forgotten:
        return Refusal(f"generation {history.done} is installed on it", "order `reinstall` to write its disk once more")
    return _open(history, ask, now, "an admin ordered its install")


def _reinstall(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    if find_state(history) in (MachineState.BOOTING, MachineState.INSTALLING):
        # It would go on with what it was given before, and wait for ever for its report to be taken.
        return Refusal("its installer is at work", "wait until it is done or has failed, or put it on `hold` first")
    words = "an admin ordered it to be installed again" + (", whatever is on its disk" if ask.wipe else "")
    # A number of its own: what an installer reports that is still at work for another one does not end this order.
    wanted = max(history.wanted, history.done) + 1
    return replace(_open(history, ask, now, words), wanted=wanted, wipe=ask.wipe, order_id=ask.order_id)


def _open(history: History, ask: Ask, now: float, words: str) -> History:
    return replace(
        history,
        wanted=history.done + 1 if not history.open else history.wanted,
        # An install that goes on is the same order: what it has done already is not done again.
        order_id=ask.order_id if not history.open else history.order_id,
        state=MachineState.ARMED,
        state_at=now,
        held="",
        opened_at=(),
        reason=_explain(words, ask),
        booted_at=0.0,
        forgotten=False,
        # What is on the disk of a machine that was forgotten, nobody knows; nor where a restore closed an order.
        begun=history.begun or history.forgotten,
    )


def _cancel(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    if not history.open:
        return history
    if not history.done:
        return Refusal("it has no system to keep: nothing was ever installed on it", "order `hold` to keep it from it")
    if not can_cancel(history):
        return Refusal(
            "its install cannot be taken back: it has begun, or was ordered for a machine that had been forgotten",
            "order `hold` to stop it; `forget`, then `release`, takes whatever is on its disk for its system",
        )
    kept = replace(history, wanted=history.done, wipe=False, opened_at=(), order_id="")
    return kept if history.held else _take_system(kept, ask, subject, now, "an admin took the order back")


def _hold(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    held = _clean(ask.reason) or BY_ADMIN
    if history.held and not ask.reason:
        return history
    at = history.state_at if history.held else now
    return replace(history, state=MachineState.HELD, state_at=at, held=held, reason=held)


def _release(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    if not history.held:
        return Refusal("it is not on hold", f"it is {find_state(history)}")
    released = replace(history, state_at=now, held="", opened_at=(), forgotten=False)
    if history.open and history.state is MachineState.FAILED:
        return released  # while it was on hold: its installer is over, and the next boot tries again
    if history.open:
        return replace(released, state=MachineState.ARMED, reason=_explain("an admin released it", ask))
    return _take_system(released, ask, subject, now, "an admin released it")


def _take_system(history: History, ask: Ask, subject: Subject, now: float, words: str) -> History:
    """The admin vouches for the system on its disk: it is not asked whether it ever reported."""
    state = MachineState.INSTALLED if subject.node else MachineState.JOINED
    reason = _explain(f"{words}: its system is taken as it is", ask)
    return replace(history, state=state, state_at=now, booted_at=history.booted_at or now, reason=reason, begun=False)


def _forget(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    if history.forgotten and history.held:
        return history
    if not subject.known and history == History():
        return Refusal("nothing is known of this machine")
    return build_forgotten(history, now, FORGOTTEN_APPROVED if history.approved else FORGOTTEN)


def _approve(history: History, ask: Ask, subject: Subject, now: float) -> History | Refusal:
    if history.approved and subject.known:
        return history
    if subject.known:
        return Refusal("this machine is in the description already", "order `install` or `release`")
    if subject.policy is not UnknownPolicy.WORKER:
        return Refusal(
            f"unknown_machines is {subject.policy}: unknown machines are not taken as workers",
            "add its line to the description, or set `unknown_machines: worker`",
        )
    if history.forgotten:
        return replace(_open(history, ask, now, "an admin approved it as a worker"), approved=True)
    return replace(
        history,
        approved=True,
        state=find_state(history),
        state_at=now,
        reason=_explain("an admin approved it as a worker", ask),
    )


def build_forgotten(history: History, now: float, held: str) -> History:
    """What is left of a machine that was forgotten or moved: on hold, with no generation open.

    The numbers stay, so that no generation's number is used twice: etcd's note and old tokens name them.
    """
    last = max(history.wanted, history.done)
    return History(
        wanted=last, done=last, state=MachineState.HELD, state_at=now, held=held, reason=held, forgotten=True
    )


def apply_move(old: History, new: History, new_mac: str, now: float) -> tuple[History, History] | Refusal:
    """(what stays at the old MAC, what the new MAC gets): the machine's card or board was replaced.

    `new` is what is known of the new MAC by now; one that has a life of its own is not overwritten.
    """
    if old.forgotten:
        return Refusal("the machine was forgotten or moved already: there is nothing to move")
    at_work = find_state(new) in (MachineState.BOOTING, MachineState.INSTALLING)
    if not new.forgotten and (new.done > 0 or at_work):
        return Refusal(
            f"{new_mac} has been installed as a machine of its own", "order `forget` for it first, if that is wrong"
        )
    return build_forgotten(old, now, MOVED.format(new_mac)), old


def find_warnings(order: Order, mac: str, members: Mapping[str, History]) -> tuple[str, ...]:
    """What an admin should know before an order is given. `members` are the histories of etcd's machines, by first MAC.

    A warning and not a refusal: who wants a new cluster orders every member to be installed again. What would break
    the one that runs is refused when the machine has booted its installer (`kube.etcd_plan`), which then waits.
    """
    if order not in (Order.REINSTALL, Order.FORGET) or mac not in members:
        return ()
    rest = {each: history for each, history in members.items() if each != mac}
    up = [each for each, history in rest.items() if not history.open and not history.forgotten]
    if not up:
        return ("no other member of etcd is installed: all that the cluster holds is lost with it",)
    if len(up) < len(rest) // 2 + 1:
        return (
            f"etcd would lose its majority: of its other {len(rest)} members {len(up)} "
            f"{'is' if len(up) == 1 else 'are'} installed; its installer will wait until more are",
        )
    return ()


def _explain(words: str, ask: Ask) -> str:
    reason = _clean(ask.reason)
    return f"{words}: {reason}" if reason else words


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:REASON_CHARACTERS]).strip()


APPLY = {
    Order.INSTALL: _install,
    Order.REINSTALL: _reinstall,
    Order.CANCEL: _cancel,
    Order.HOLD: _hold,
    Order.RELEASE: _release,
    Order.FORGET: _forget,
    Order.APPROVE: _approve,
}
