"""What the rules of the diagnosis look at: one machine's last boot, and the few questions that all of them ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from bootstrapper.boot.decide import Action
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import has_node
from bootstrapper.boot.steps import Http, Kube, Service, find_action
from bootstrapper.boot.timeline import Boot, BootStep, Outcome, Phase, find_phase, list_boots
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
        around: Sequence[Event] = (),
        strangers: Sequence[Stranger] = (),
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

    @cached_property
    def install_at(self) -> float:
        """When the latest install's script was served; 0: it is not among the events. What was before is over."""
        for event in reversed(self.events):
            script = event.service == Service.HTTP and event.step == Http.SCRIPT
            if script and find_action(event.detail) == Action.INSTALL:
                return event.at
        return 0.0

    @cached_property
    def in_service(self) -> bool:
        """Whether it has joined as a node, and is Ready: what is asked from its address then is some pod's, or a
        person's. A machine that becomes no node runs nothing but its own."""
        if self.history.state is not MachineState.JOINED or not has_node(self.machine):
            return False
        for event in reversed(self.events):
            if event.service == Service.KUBE and event.step in (Kube.NODE_READY, Kube.NODE_NOT_READY):
                return event.step == Kube.NODE_READY
        return True

    @property
    def phase(self) -> Phase:
        return self.boot.phase if self.boot else Phase.NONE

    @property
    def outcome(self) -> Outcome | None:
        return self.boot.outcome if self.boot else None

    @property
    def on_its_way(self) -> bool:
        """Whether it is to be installed and has not been yet: what stops it now is of interest."""
        return self.history.open and self.outcome in (Outcome.UNDER_WAY, Outcome.REFUSED, Outcome.FAILED)

    @cached_property
    def _by_service(self) -> Mapping[str, Sequence[BootStep]]:
        """Sixty rules ask, most of them for services that a boot has little or nothing of."""
        found = defaultdict(list)
        for step in self.steps:
            found[step.service].append(step)
        return found

    def list(self, service: Service, *steps: str) -> list[BootStep]:
        """The last boot's steps that are one of `steps` (any of the service's when none is named)."""
        own = self._by_service.get(service, ())
        return [step for step in own if step.step in steps] if steps else [*own]

    def last(self, service: Service, *steps: str) -> BootStep | None:
        """The latest of `list`."""
        own = reversed(self._by_service.get(service, ()))
        return next((step for step in own if not steps or step.step in steps), None)

    def after(self, step: BootStep) -> tuple[BootStep, ...]:
        """What the last boot did after `step`."""
        return self.steps[self.steps.index(step) + 1 :]

    def came_to(self, phase: Phase, step: BootStep) -> bool:
        """Whether the machine did anything of `phase`, or a later one, after `step`."""
        return any(phase_of(each) >= phase for each in self.after(step))

    def is_late(self, step: BootStep, after_s: float) -> bool:
        """Whether what should have followed `step` by now did not."""
        return self.now - step.at >= after_s


def phase_of(step: BootStep) -> Phase:
    return find_phase(Event(step.at, "", step.service, step.step, step.detail))


def tell(*lines: BootStep | Event | str) -> tuple[str, ...]:
    """Evidence, a line each."""
    return tuple(
        each if isinstance(each, str) else f"{each.service} {each.step}" + (f": {each.detail}" if each.detail else "")
        for each in lines
    )


def found(step: BootStep | Event, *more: BootStep | Event | str) -> Finding:
    """A finding that begins with `step`."""
    return Finding(step.at, tell(step, *more))


Rule = Callable[[Facts], Finding | None]
"What says whether one cause is there; None: it is not, or not yet."
