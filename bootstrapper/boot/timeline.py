"""One machine's events, told as its boots: from the first DHCP packet to the running system, one line each.

Pure, and only for people: nothing is decided by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import NamedTuple

from bootstrapper.boot.decide import Action
from bootstrapper.boot.events import Event
from bootstrapper.boot.report import Step as Report
from bootstrapper.boot.steps import (
    IPXE,
    NO_BOOT_FILE,
    OPEN,
    Dhcp,
    Http,
    Kube,
    Pxe,
    Service,
    Tftp,
    boots_something,
    find_action,
    find_asker,
)

QUIET_S = 120.0
"""A firmware that asks again after so long without a word is another boot. Its own retries come at 4, 8, 16 and 32 s
(edk2's PxeBcDhcp4, RFC 4578's predecessors); a spanning tree that learns takes up to 50 s."""
SKEW_S = 60.0
SAME_SCRIPT_S = 10.0
"A script asked for again this soon is the same boot (`breaker.SAME_BOOT_S`)."


class Phase(IntEnum):
    """How far a boot has come."""

    NONE = 0
    FIRMWARE = 1
    "DHCP by the firmware."
    FILE = 2
    "PXE on 4011 and TFTP."
    IPXE = 3
    "DHCP by iPXE."
    SCRIPT = 4
    LOADING = 5
    "Kernel and initrd of the installer."
    INSTALLER = 6
    INSTALLED = 7
    SYSTEM = 8
    "The installed system."


class Outcome(StrEnum):
    UNDER_WAY = "under way"
    UNFINISHED = "not finished"
    "Another boot followed before this one came to anything."
    DISK = "local disk"
    "It was sent to its disk; whether that boots is not known."
    REFUSED = "refused"
    FAILED = "failed"
    INSTALLED = "installed"
    RUNNING = "running"


class BootStep(NamedTuple):
    """Made by the thousand for each look at the rack: a named tuple costs a third of what a dataclass does."""

    at: float
    "Wall clock, seconds."
    service: str
    step: str
    detail: str
    level: str
    more: str = ""
    "Lines beneath it (`Event.more`)."


@dataclass(frozen=True, slots=True)
class Boot:
    started_at: float
    firmware: str
    "`BIOS`, `UEFI x64`, `iPXE` (in the card's ROM); empty: not known, the machine booted from its disk."
    steps: tuple[BootStep, ...]
    phase: Phase
    "How far it came."
    outcome: Outcome
    ended_at: float | None
    "When it came to its outcome; None while it is under way."


def list_boots(events: Iterable[Event]) -> tuple[Boot, ...]:
    """The boots in one machine's `events`, the oldest first. Events need not be in order: services store them each in
    their own time. What the machine did not do itself (its state, its files) is left out, save what the cluster does
    about it."""
    ordered = sorted(events, key=lambda event: event.at)
    parts: list[_Part] = []
    for event in ordered:
        _add(parts, event)
    return tuple(_build(part, last=part is parts[-1]) for part in parts)


def straighten(events: Sequence[Event]) -> list[Event]:
    """One machine's events, in the order in which they were stored, from a server whose clock was set back meanwhile:
    what bears a time after that of later ones is taken for as old as these. Services store within `SKEW_S`."""
    found: list[Event] = []
    latest = math.inf
    for event in reversed(events):
        found.append(event if event.at <= latest + SKEW_S else replace(event, at=latest))
        latest = min(latest, event.at)
    return found[::-1]


class _Part:
    """The boot that is being read."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.phase = Phase.NONE
        self.firmware = ""
        self.script_at: float | None = None
        self.refused = False
        "Whether the last script was a refusal: its iPXE asks again."
        self.ipxe_from: int | None = None
        "Where iPXE's latest DHCP after the script begins: it may be the next boot's."

    def take(self, event: Event, phase: Phase) -> None:
        if phase is Phase.IPXE and self.phase >= Phase.SCRIPT:
            self.ipxe_from = len(self.events) if self.ipxe_from is None else self.ipxe_from
        self.events.append(event)
        if phase in (Phase.FIRMWARE, Phase.IPXE) and not self.firmware:
            self.firmware = find_asker(event.detail)
        if phase is Phase.SCRIPT:
            self.script_at = event.at
            self.refused = event.step == Http.SCRIPT_REFUSED
            self.ipxe_from = None
        self.phase = max(self.phase, phase)


def _add(parts: list[_Part], event: Event) -> None:
    own = event.service in OWN and event.step != Dhcp.CONFLICT
    if not own and (not parts or event.service not in BESIDES):
        return
    phase = find_phase(event)
    if not parts:
        parts.append(_Part())
    elif _begins(parts[-1], event, phase):
        old, new = parts[-1], _Part()
        parts.append(new)
        if phase is Phase.SCRIPT and old.ipxe_from is not None:
            moved = old.events[old.ipxe_from :]
            del old.events[old.ipxe_from :]
            for each in moved:
                new.take(each, find_phase(each))
    parts[-1].take(event, phase)


def _begins(part: _Part, event: Event, phase: Phase) -> bool:
    """Whether `event`, which says `phase`, is another boot's first."""
    quiet = event.at - part.events[-1].at > QUIET_S
    match phase:
        case Phase.FIRMWARE:
            asker = find_asker(event.detail)
            other = bool(asker and part.firmware and asker != part.firmware)
            return part.phase > Phase.FIRMWARE or quiet or other
        case Phase.IPXE:
            return part.phase >= Phase.INSTALLER or (quiet and part.phase < Phase.SCRIPT)
        case Phase.SCRIPT:
            if part.script_at is None or event.at - part.script_at <= SAME_SCRIPT_S:
                return False
            return not (part.refused and event.step == Http.SCRIPT_REFUSED)
        case Phase.SYSTEM:
            return part.phase is Phase.INSTALLED
    if event.service == Service.DHCP and event.step == Dhcp.OFFER:  # of a system that starts
        return part.phase is Phase.INSTALLED or (part.phase is Phase.SYSTEM and quiet)
    return False


def find_phase(event: Event) -> Phase:
    """What `event` says about how far its machine has come; NONE: nothing."""
    if event.service == Service.DHCP:
        if event.step == Dhcp.NO_OFFER:
            return Phase.FIRMWARE
        asker = find_asker(event.detail) if event.step in (Dhcp.OFFER, Dhcp.ACK) else ""
        return Phase.NONE if not asker else Phase.IPXE if asker == IPXE else Phase.FIRMWARE
    return PHASES.get((event.service, event.step), Phase.NONE)


OWN = frozenset({Service.DHCP, Service.PXE, Service.TFTP, Service.HTTP, Service.INSTALLER, Service.SYSTEM})
"What a machine does itself is told by these; only that begins a boot."
BESIDES = frozenset({Service.DHCP, Service.REGISTRY, Service.KUBE})
"Told in the boot that they come upon."

PHASES: dict[tuple[str, str], Phase] = {
    (Service.PXE, Pxe.ACK): Phase.FILE,
    (Service.PXE, Pxe.NOTHING): Phase.FILE,
    **{(Service.TFTP, step): Phase.FILE for step in Tftp},
    (Service.HTTP, Http.SCRIPT): Phase.SCRIPT,
    (Service.HTTP, Http.SCRIPT_REFUSED): Phase.SCRIPT,
    (Service.HTTP, Http.INSTALLER_CONFIG): Phase.INSTALLER,
    (Service.HTTP, Http.CONFIG_CLAIMED): Phase.INSTALLER,
    (Service.HTTP, Http.CLAIMED_AGAIN): Phase.INSTALLER,
    **{(Service.INSTALLER, step): Phase.INSTALLER for step in Report},
    (Service.INSTALLER, Report.INSTALLED): Phase.INSTALLED,
    (Service.SYSTEM, Report.INSTALLED): Phase.INSTALLED,
    (Service.SYSTEM, Report.BOOTED): Phase.SYSTEM,
    (Service.SYSTEM, Report.UNIT): Phase.SYSTEM,
    (Service.SYSTEM, Report.FAILED): Phase.SYSTEM,
    (Service.HTTP, Http.LOADING): Phase.LOADING,
    (Service.HTTP, Http.LOADED): Phase.LOADING,
    (Service.HTTP, Http.CUT_OFF): Phase.LOADING,
    (Service.HTTP, Http.NO_FILE): Phase.LOADING,
}
"(service, step) -> how far the machine is that does it. DHCP's depends on who asked."


def _build(part: _Part, *, last: bool) -> Boot:
    outcome, at = _find_outcome(part)
    if outcome is Outcome.UNDER_WAY and not last:
        outcome, at = Outcome.UNFINISHED, part.events[-1].at
    steps = tuple(
        BootStep(each.at, each.service, each.step, each.detail, each.level, each.more) for each in part.events
    )
    return Boot(part.events[0].at, part.firmware, steps, part.phase, outcome, at)


def _find_outcome(part: _Part) -> tuple[Outcome, float | None]:
    """What the latest event says that says anything."""
    for event in reversed(part.events):
        outcome = _outcome_of(event)
        if outcome is not None:
            return (outcome, None) if outcome is Outcome.UNDER_WAY else (outcome, event.at)
    return Outcome.UNDER_WAY, None


def _outcome_of(event: Event) -> Outcome | None:
    if event.step == Report.FAILED and event.service in (Service.INSTALLER, Service.SYSTEM):
        return Outcome.FAILED
    found = OUTCOMES.get((event.service, event.step))
    if found is not None:
        return found
    phase = find_phase(event)
    if (event.service, event.step) == (Service.HTTP, Http.SCRIPT):
        return Outcome.DISK if find_action(event.detail) == Action.LOCAL_DISK else Outcome.UNDER_WAY
    if event.service == Service.DHCP and phase is not Phase.NONE and not boots_something(event.detail):
        unfit = NO_BOOT_FILE in event.detail or event.detail.endswith(OPEN)
        return Outcome.REFUSED if unfit else Outcome.DISK
    return Outcome.UNDER_WAY if phase is not Phase.NONE else None


def is_sent_to_disk(event: Event) -> bool:
    """Whether `event` is of a firmware that is told to start what is on the disk."""
    return _outcome_of(event) is Outcome.DISK


OUTCOMES: dict[tuple[str, str], Outcome] = {
    (Service.DHCP, Dhcp.NO_OFFER): Outcome.DISK,
    (Service.TFTP, Tftp.LOCAL_DISK): Outcome.DISK,
    (Service.HTTP, Http.SCRIPT_REFUSED): Outcome.REFUSED,
    (Service.INSTALLER, Report.INSTALLED): Outcome.INSTALLED,
    (Service.SYSTEM, Report.INSTALLED): Outcome.INSTALLED,
    (Service.SYSTEM, Report.BOOTED): Outcome.RUNNING,
    (Service.SYSTEM, Report.UNIT): Outcome.RUNNING,
    (Service.KUBE, Kube.NODE_READY): Outcome.RUNNING,
}
