"""Which machines have joined: a machine whose Node is Ready is done, whatever it could or could not report itself.

The state keeps what was told, so that each step is told once, also over restarts of this server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Trigger, enter
from bootstrapper.cluster.model import Machine
from bootstrapper.kube.client import Object
from bootstrapper.kube.nodes import explain_readiness, is_ready, name_of

READY = "its node is Ready"
NOT_READY = "its node is not Ready"


@dataclass(frozen=True, slots=True)
class Step:
    """What is new about a machine."""

    machine: Machine
    reason: str
    "READY or NOT_READY: kept in the history."
    detail: str = ""


def find_steps(nodes: Iterable[Object], by_host: Mapping[str, Machine], histories: Mapping[str, History]) -> list[Step]:
    found = []
    for node in nodes:
        machine = by_host.get(name_of(node))
        if machine is None:
            continue
        history = histories.get(machine.mac, History())
        step = Step(machine, READY) if is_ready(node) else Step(machine, NOT_READY, explain_readiness(node))
        if apply_step(history, step, 0.0) is not None:
            found.append(step)
    return found


def apply_step(history: History, step: Step, now: float) -> History | None:
    """`history` after `step`; None when there is nothing to tell.

    While an install is open the Node is the old system's, and says nothing about the new one.
    """
    if history.open or history.held:
        return None
    ready = history.state is MachineState.JOINED and history.reason == READY
    if step.reason == READY:
        return None if ready else enter(history, Trigger.IN_SERVICE, now, READY)
    return replace(history, reason=NOT_READY) if ready else None
