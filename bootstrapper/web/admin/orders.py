"""An admin's orders to machines: what `boot.orders` says they do, done in the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.fields import Expected, parse_mac
from bootstrapper.web.admin.caller import Caller
from bootstrapper.web.admin.faults import Malformed, NotFound, Unfit
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean

ORDERS = ("install", "reinstall", "hold", "release", "forget", "approve")


class Orders:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def find(self, name: str) -> str:
        """First MAC of a machine of the description, or any MAC that is written as one."""
        cluster = self._parts.cluster()
        if name in cluster.by_host:
            return cluster.by_host[name].mac
        try:
            mac = parse_mac(name)
        except Expected:
            raise NotFound(f"there is no machine {clean(name, 60)!r}", "give its MAC or host name") from None
        machine = cluster.by_mac.get(mac)
        return machine.mac if machine else mac

    def give(self, mac: str, order: str, wipe: bool, reason: str, who: Caller) -> None:
        if order not in ORDERS:
            raise Malformed(f"there is no order {clean(order, 60)!r}", f"the orders are {', '.join(ORDERS)}")
        if wipe and order != "reinstall":
            raise Malformed(f"{order} does not wipe", "only `reinstall` does")
        now, why = self._parts.now(), clean(reason) or f"ordered by {who.name}"

        def change(history: History) -> History:
            match order:
                case "hold":
                    return replace(history, held=why, state=MachineState.HELD, state_at=now, reason=why)
                case "release":
                    state = MachineState.ARMED if history.open else MachineState.INSTALLED
                    return replace(history, held="", state=state, state_at=now, reason=why, opened_at=())
                case "approve":
                    return replace(history, approved=True)
                case "forget":
                    return History(state_at=now, reason=why)
                case _:
                    if history.held:
                        raise Unfit("the machine is on hold", "release it first")
                    wanted = history.wanted if history.open else history.wanted + 1
                    return replace(history, wanted=wanted, wipe=wipe, state=MachineState.ARMED, state_at=now,
                                   reason=why, opened_at=())  # fmt: skip

        self._parts.store.change_history(mac, change)

    def move(self, mac: str, to: str) -> dict[str, Any]:
        try:
            target = parse_mac(to)
        except Expected as error:
            raise Malformed(f"{clean(to, 60)!r} is not a MAC", str(error)) from None
        raise Unfit(f"{mac} cannot be moved to {target} yet")
