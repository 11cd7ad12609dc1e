"""What the rules of the diagnosis look at: one machine's last boot, and the few questions that all of them ask."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.boot.steps import Service
from bootstrapper.boot.timeline import Boot, BootStep, Phase, find_phase, list_boots
from bootstrapper.cluster.model import Machine


class Stranger(Protocol):
    """A machine that is not in the description, as last seen (`state.store.Sighting`)."""

    @property
    def mac(self) -> str: ...
    @property
    def uuid(self) -> str: ...
    @property
    def last_at(self) -> float: ...


class Finding(NamedTuple):
    since: float
    evidence: tuple[str, ...]


class Facts:
    def __init__(
        self,
        machine: Machine,
        history: History,
        events: Sequence[Event],
        now: float,
        around: Sequence[Event],
        strangers: Sequence[Stranger],
    ) -> None:
        self.machine = machine
        self.history = history
        self.now = now
        self.events = sorted(events, key=lambda event: event.at)
        self.around = sorted(around, key=lambda event: event.at)
        self.strangers = strangers
        self.boots = list_boots(self.events)
        self.boot: Boot | None = self.boots[-1] if self.boots else None
        self.steps: tuple[BootStep, ...] = self.boot.steps if self.boot else ()
        "The last boot's."

    @property
    def phase(self) -> Phase:
        return self.boot.phase if self.boot else Phase.NONE

    def last(self, service: Service, *steps: str) -> BootStep | None:
        """The last boot's latest step that is one of `steps` (any of the service's when none is named)."""
        for step in reversed(self.steps):
            if step.service == service and (not steps or step.step in steps):
                return step
        return None

    def moved_after(self, step: BootStep, phase: Phase) -> bool:
        """Whether the machine did anything of `phase`, or a later one, after `step`."""
        return any(each.at >= step.at and each is not step and phase_of(each) >= phase for each in self.steps)

    def is_due(self, at: float, after_s: float) -> bool:
        """Whether what should have followed `at` is late."""
        return self.now - at >= after_s


def phase_of(step: BootStep) -> Phase:
    return find_phase(Event(step.at, "", step.service, step.step, step.detail))


def tell(*steps: BootStep | Event | str) -> tuple[str, ...]:
    """Evidence, a line each."""
    return tuple(
        each if isinstance(each, str) else f"{each.service} {each.step}" + (f": {each.detail}" if each.detail else "")
        for each in steps
    )


def found(step: BootStep | Event, *more: BootStep | Event | str) -> Finding:
    """A finding that begins with `step`."""
    return Finding(step.at, tell(step, *more))


def names(detail: str, words: Collection[str]) -> bool:
    """Whether a detail has one of these phrases."""
    lower = detail.lower()
    return any(word in lower for word in words)
