"""An admin's orders to machines: named as an admin names them, carried out by `state.carry_out`."""

from __future__ import annotations

from typing import Any

from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask, Refusal
from bootstrapper.cluster.fields import Expected, parse_mac
from bootstrapper.state.carry_out import Done, carry_move, carry_out
from bootstrapper.web.admin.faults import Malformed, NotFound, Unfit
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean


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

    def find_card(self, name: str) -> str:
        """As `find`, but any MAC is itself: of a machine with the cards of two, each may have a life of its own."""
        found = self.find(name)
        return found if name in self._parts.cluster().by_host else parse_mac(name)

    def give(self, mac: str, order: str, wipe: bool, reason: str) -> dict[str, Any]:
        """{mac, changed, warnings}. Raises Malformed for no order, Unfit for one that is refused."""
        if order not in list(Order):
            raise Malformed(f"there is no order {clean(order, 60)!r}", f"the orders are {', '.join(Order)}")
        ask = Ask(Order(order), wipe, clean(reason, 300))
        return self._tell(mac, carry_out(self._parts.store, self._parts.cluster(), mac, ask, self._parts.now()))

    def move(self, mac: str, to: str) -> dict[str, Any]:
        """{mac, changed, warnings} of the new MAC, which the description should name by then."""
        try:
            target = parse_mac(to)
        except Expected as error:
            raise Malformed(f"{clean(to, 60)!r} is not a MAC", str(error)) from None
        machine = self._parts.cluster().by_mac.get(target)
        done = carry_move(self._parts.store, self._parts.cluster(), mac, target, self._parts.now())
        return self._tell(machine.mac if machine else target, done)

    def _tell(self, mac: str, done: Done | Refusal) -> dict[str, Any]:
        if isinstance(done, Refusal):
            raise Unfit(done.reason, done.hint)
        return {"mac": mac, "changed": done.changed, "warnings": list(done.warnings)}
