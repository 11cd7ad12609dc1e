"""The machines of the description with their lives: the rack at a glance, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from typing import Any, NamedTuple

from bootstrapper.answers.leases import LeaseState
from bootstrapper.boot.diagnosis import Diagnosis, diagnose
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import find_exits, find_overdue, find_state
from bootstrapper.boot.steps import find_percent
from bootstrapper.boot.timeline import Boot, list_boots, straighten
from bootstrapper.cluster.fields import Expected, find_nearest, parse_mac
from bootstrapper.cluster.installed_as import compare_installed
from bootstrapper.cluster.model import Machine, Role
from bootstrapper.errors import UserError
from bootstrapper.pki.listing import list_rows
from bootstrapper.web.admin.faults import NotFound
from bootstrapper.web.admin.feed import InstallSteps, show_event
from bootstrapper.web.admin.fresh import Fresh
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean

EVENTS = 1000
"As many as are kept of a machine."
ASSETS_S, CERTIFICATES_S = 15.0, 60.0
"How old what is read from many files may be."


class Certificates(NamedTuple):
    """A machine's."""

    ends: str
    "When the first of them does (ISO 8601, UTC)."
    renew: bool
    "Whether all of them may be renewed."


class RackView:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._steps = InstallSteps(parts)
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
        store = self._parts.store
        histories = store.load_histories()
        leased = {each.mac: str(each.address) for each in store.load_leases() if each.state is LeaseState.BOUND}
        last, steps = store.last_events(), self._steps.read()
        return [
            self._show(machine, histories.get(machine.mac, History()), leased, last.get(machine.mac), steps)
            for machine in self._parts.cluster().machines
        ]

    def find(self, name: str) -> dict[str, Any]:
        machine = self.machine(name)
        store, now = self._parts.store, self._parts.now()
        history = store.find_history(machine.mac)
        leases = [store.find_lease(mac) for mac in machine.macs]
        leased = {lease.mac: str(lease.address) for lease in leases if lease}
        events = store.latest_events(machine.mac, EVENTS)
        own = straighten([event for _number, event in events])
        around = [event for _number, event in store.latest_events("", EVENTS)]
        found = diagnose(machine, history, own, now, around, store.load_sightings())
        return {
            **self._show(machine, history, leased, events[-1] if events else None, self._steps.read()),
            "boots": [show_boot(boot) for boot in list_boots(own)],
            "diagnosis": show_diagnosis(found) if found else None,
        }

    def missing(self) -> Mapping[str, tuple[str, ...]]:
        """First MAC -> names below /assets that it needs and that are not here."""
        return self._missing.get()

    def first_ends(self) -> Mapping[str, str]:
        """Host -> when the first of its certificates ends (ISO 8601, UTC)."""
        return {host: each.ends for host, each in self._certificates.get().items()}

    def _show(
        self,
        machine: Machine,
        history: History,
        leased: Mapping[str, str],
        last: tuple[int, Event] | None,
        steps: Mapping[str, Event],
    ) -> dict[str, Any]:
        known = self._parts.cluster().by_mac
        certificates = self._certificates.get().get(machine.host)
        overdue = find_overdue(history, self._parts.now())
        address = str(machine.ip) if machine.ip else next((leased[mac] for mac in machine.macs if mac in leased), "")
        return {
            "mac": machine.mac,
            "macs": list(machine.macs),
            "host": machine.host,
            "address": address,
            "roles": [role.value for role in Role if role in machine.roles],
            "profile": machine.profile,
            "os": f"{machine.os.family} {machine.os.version}",
            "state": find_state(history).value,
            "state_at": history.state_at,
            "reason": clean(history.reason),
            "held": clean(history.held),
            "wanted": history.wanted,
            "done": history.done,
            "openings": len(history.opened_at),
            "wipe": history.wipe,
            "older_plan": [] if history.open else [clean(each) for each in compare_installed(history.plan, machine)],
            "overdue": overdue,
            "exits": [order.value for order in find_exits(history)],
            "last_event": show_event(*last, known) if last else None,
            "progress": show_progress(history, steps.get(machine.mac)),
            "missing_assets": list(self._missing.get().get(machine.mac, ())),
            "certificate_until": certificates.ends if certificates else None,
            "renews": certificates is None or certificates.renew,
        }

    def _read_certificates(self) -> Mapping[str, Certificates]:
        """By host."""
        found: dict[str, Certificates] = {}
        with suppress(UserError):  # the page of certificates says what is wrong; the rack is there all the same
            for row in list_rows(self._parts.state, self._parts.cluster(), self._parts.now()):
                ends = row.not_after.astimezone(UTC).isoformat()
                first = found.get(row.machine, Certificates(ends, True))
                found[row.machine] = Certificates(min(first.ends, ends), first.renew and row.renews)
        return found


def show_boot(boot: Boot) -> dict[str, Any]:
    return {
        "started_at": boot.started_at,
        "ended_at": boot.ended_at,
        "firmware": clean(boot.firmware, 60),
        "phase": boot.phase.name.lower(),
        "outcome": boot.outcome.value,
        "steps": [
            {"at": step.at, "service": clean(step.service, 30), "step": clean(step.step, 60),
             "detail": clean(step.detail), "level": step.level,
             "more": "\n".join(clean(line) for line in step.more.splitlines())}
            for step in boot.steps
        ],
    }  # fmt: skip


def show_diagnosis(found: Diagnosis) -> dict[str, Any]:
    return {
        "cause": found.cause.value,
        "title": found.title,
        "what_to_do": found.what_to_do,
        "since": found.since,
        "evidence": [clean(line) for line in found.evidence],
        "page": found.page,
    }


def show_progress(history: History, event: Event | None) -> dict[str, Any] | None:
    """Where an install that is under way has got to."""
    if find_state(history) is not MachineState.INSTALLING or event is None or event.at < history.state_at - 1:
        return None
    return {"step": clean(event.step, 60), "percent": find_percent(event.detail)}
