"""Progress reports of the installer and of the installed system: the steps there are, and what each does to the state.

`POST https:/m/<token>/report` with `{"step": "disk", "detail": "...", "generation": 1}`; the answer to a known token
is 200 `{"ok": true}`. A report moves only its own machine and only forward (design.md section 2).
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from bootstrapper.boot.history import History, MachineState


class Step(StrEnum):
    CLOCK = "clock"
    "Installer: the clock was set; detail says by how much."
    DISK = "disk"
    "Installer: the disk was chosen; detail says which and why."
    CONFIG = "config"
    "Installer: the configuration was claimed and is kept in memory."
    IMAGE = "image"
    "Installer: the image is being written; detail says how far."
    INSTALLED = "installed"
    "Installer: everything is on disk; `done` rises to the token's generation before the answer is sent."
    FAILED = "failed"
    "Installer or system: it stopped; detail says why."
    BOOTED = "booted"
    "Installed system: first boot reached multi-user."
    UNIT = "unit"
    "Installed system: a unit's result."


STATES: dict[Step, MachineState | None] = {
    Step.CLOCK: MachineState.INSTALLING,
    Step.DISK: MachineState.INSTALLING,
    Step.CONFIG: MachineState.INSTALLING,
    Step.IMAGE: MachineState.INSTALLING,
    Step.INSTALLED: MachineState.INSTALLED,
    Step.FAILED: MachineState.FAILED,
    Step.BOOTED: MachineState.JOINED,
    Step.UNIT: None,
}
"Step -> the state it puts the machine in; None: the state stays."

INSTALLER_STEPS = frozenset({Step.CLOCK, Step.DISK, Step.CONFIG, Step.IMAGE})


def apply_report(history: History, step: Step, generation: int, now: float, reason: str) -> History | None:
    """`history` after a report of `step` for `generation`; None: it would not move the machine forward.

    A repeated report changes nothing and is not refused: an installer that lost our answer sends it again.
    """
    if generation != history.wanted:
        return None
    if history.open:
        return _apply_open(history, step, generation, now, reason)
    return _apply_done(history, step, now, reason)


def _apply_open(history: History, step: Step, generation: int, now: float, reason: str) -> History | None:
    """While the generation installs: the installed system cannot be heard yet."""
    if step in (Step.BOOTED, Step.UNIT):
        return None
    entered = _enter(history, STATES[step], now, reason)
    if step is Step.INSTALLED:
        return replace(entered, done=generation, opened_at=(), wipe=False)
    return entered


def _apply_done(history: History, step: Step, now: float, reason: str) -> History | None:
    """Once the generation is done: nothing goes back to installing."""
    if step in INSTALLER_STEPS:
        return None
    if step is Step.INSTALLED or history.state is MachineState.JOINED:
        return history
    return _enter(history, STATES[step], now, reason)


def _enter(history: History, state: MachineState | None, now: float, reason: str) -> History:
    """A machine on hold stays on hold, whatever it tells; what it did is kept as the reason."""
    if state is None or history.held:
        return history
    at = history.state_at if state is history.state else now
    return replace(history, state=state, state_at=at, reason=reason)
