"""The machines of the description with their lives: the rack at a glance, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bootstrapper.answers.leases import LeaseState
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.fields import Expected, find_nearest, parse_mac
from bootstrapper.cluster.model import Machine, Role
from bootstrapper.pki.listing import list_rows
from bootstrapper.web.admin.faults import NotFound
from bootstrapper.web.admin.feed import Latest, show_event
from bootstrapper.web.admin.fresh import Fresh
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean, find_percent

ASSETS_S, CERTIFICATES_S = 15.0, 60.0
"How old what is read from many files may be."


class RackView:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._latest = Latest(parts)
        self._missing = Fresh(lambda: parts.missing_assets(parts.cluster()), ASSETS_S, parts.now)
        self._certificates = Fresh(self._read_certificates, CERTIFICATES_S, parts.now)

    def machine(self, name: str) -> Machine:
        """By MAC in any spelling, or by host name. Raises NotFound with the nearest name."""
        cluster = self._parts.cluster()
        if name in cluster.by_host:
            return cluster.by_host[name]
        try:
            return cluster.by_mac[parse_mac(name)]
        except (Expected, KeyError):
            hint = find_nearest(name, cluster.by_host) or "`machines` lists them"
            raise NotFound(f"there is no machine {clean(name, 60)!r} in the description", hint) from None

    def mac(self, name: str) -> str:
        """The MAC that events are kept under, of a machine that need not be in the description."""
        try:
            mac = parse_mac(name)
        except Expected:
            return self.machine(name).mac
        machine = self._parts.cluster().by_mac.get(mac)
        return machine.mac if machine else mac

    def list(self) -> list[dict[str, Any]]:
        histories = self._parts.store.load_histories()
        leased = {lease.mac: str(lease.address) for lease in self._parts.store.load_leases()
                  if lease.state is LeaseState.BOUND}  # fmt: skip
        events, installer = self._latest.read()
        return [
            self._show(machine, histories.get(machine.mac, History()), leased, events, installer)
            for machine in self._parts.cluster().machines
        ]

    def find(self, name: str) -> dict[str, Any]:
        machine = self.machine(name)
        history = self._parts.store.find_history(machine.mac)
        leases = [self._parts.store.find_lease(mac) for mac in machine.macs]
        leased = {lease.mac: str(lease.address) for lease in leases if lease}
        found = self._show(machine, history, leased, *self._latest.read())
        return found | {"boots": [], "diagnosis": None}

    def _show(
        self,
        machine: Machine,
        history: History,
        leased: Mapping[str, str],
        events: Mapping[str, tuple[int, Event]],
        installer: Mapping[str, Event],
    ) -> dict[str, Any]:
        known = self._parts.cluster().by_mac
        last = events.get(machine.mac)
        address = str(machine.ip) if machine.ip else next((leased[mac] for mac in machine.macs if mac in leased), "")
        return {
            "mac": machine.mac,
            "macs": list(machine.macs),
            "host": machine.host,
            "address": address,
            "roles": [role.value for role in Role if role in machine.roles],
            "profile": machine.profile,
            "os": f"{machine.os.family} {machine.os.version}",
            "state": history.state.value,
            "state_at": history.state_at,
            "reason": clean(history.reason),
            "held": clean(history.held),
            "wanted": history.wanted,
            "done": history.done,
            "wipe": history.wipe,
            "overdue": False,
            "exits": list(EXITS[history.state]),
            "last_event": show_event(*last, known) if last else None,
            "progress": show_progress(history, installer.get(machine.mac)),
            "missing_assets": list(self._missing.get().get(machine.mac, ())),
            "certificate_until": self._certificates.get().get(machine.host),
        }

    def _read_certificates(self) -> Mapping[str, str]:
        """Host -> when the first of its certificates ends (ISO 8601, UTC)."""
        first: dict[str, datetime] = {}
        for row in list_rows(self._parts.state, self._parts.cluster(), self._parts.now()):
            first[row.machine] = min(first.get(row.machine, row.not_after), row.not_after)
        return {host: at.astimezone(UTC).isoformat() for host, at in first.items()}


def show_progress(history: History, event: Event | None) -> dict[str, Any] | None:
    """Where an install that is under way has got to."""
    if history.state is not MachineState.INSTALLING or event is None or event.at < history.state_at - 1:
        return None
    return {"step": clean(event.step, 60), "percent": find_percent(event.detail)}


EXITS: Mapping[MachineState, tuple[str, ...]] = {
    MachineState.UNKNOWN: ("approve",),
    MachineState.DISCOVERED: ("approve",),
    MachineState.ARMED: ("hold", "forget"),
    MachineState.BOOTING: ("hold", "forget"),
    MachineState.INSTALLING: ("hold", "forget"),
    MachineState.INSTALLED: ("reinstall", "hold", "forget"),
    MachineState.JOINED: ("reinstall", "hold", "forget"),
    MachineState.HELD: ("release", "forget"),
    MachineState.FAILED: ("install", "reinstall", "hold", "forget"),
}
