"""Progress reports of the installer and of the installed system: the steps there are, and what each does to the state.

`POST https:/m/<token>/report` with `{"step": "disk", "detail": "...", "generation": 1}`; the answer to a known token
is 200 `{"ok": true}`. A report moves only its own machine and only forward (design.md section 2).
"""

from __future__ import annotations

from enum import StrEnum

from bootstrapper.boot.claim import Token
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Trigger, enter


class Step(StrEnum):
    CLOCK = "clock"
    "Installer: the clock was set; detail says by how much."
    DISK = "disk"
    "Installer: the disk was chosen; detail says which and why."
    WAITS = "waits"
    "Installer: the server has no configuration for it yet, and it asks again; detail says what it was answered."
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


INSTALLER_STEPS = frozenset({Step.CLOCK, Step.DISK, Step.WAITS, Step.CONFIG, Step.IMAGE})


def find_trigger(step: Step, node: bool) -> Trigger | None:
    """What a report of `step` is in the machine's life; None: no more than an event. `node`: see `has_node`."""
    if step is Step.BOOTED:
        return Trigger.SYSTEM_BOOTED if node else Trigger.IN_SERVICE
    return TRIGGERS[step]


def may_move(history: History, token: Token, newest: bool) -> bool:
    """Whether what `token`'s boot reports moves its machine; if not, it is no more than an event.

    While an install is open only the newest boot's does, and one that has reported its failure is over: only a later
    boot's report leads on from there. After it any claimed token counts, for the system on the disk has that of the
    boot that wrote it, which need not be the newest.
    """
    if not history.open:
        return token.redeemed_at is not None
    return newest and (history.state is not MachineState.FAILED or token.minted_at > history.state_at)


def apply_report(
    history: History, step: Step, generation: int, now: float, reason: str, node: bool = False, *, moves: bool = True
) -> History | None:
    """`history` after a report of `step` for `generation`; None: it is refused, for it would move the machine back.

    A repeated report changes nothing and is not refused: an installer that lost our answer sends it again. A machine
    that becomes a `node` of the cluster has not joined by its first boot: `kube.joined` says when. `moves`: `may_move`.
    """
    if generation != history.wanted or step in (HEARD_LATER if history.open else INSTALLER_STEPS):
        return None
    trigger = find_trigger(step, node)
    if trigger is None or not moves:
        return history
    return enter(history, trigger, now, UP if trigger is Trigger.SYSTEM_BOOTED else reason) or history


UP = "its system is up; it has joined when its node is Ready"
HEARD_LATER = frozenset({Step.BOOTED, Step.UNIT})
"Of the installed system, which cannot be heard while its generation is not installed yet."

TRIGGERS: dict[Step, Trigger | None] = {
    Step.CLOCK: Trigger.INSTALLER_REPORTED,
    Step.DISK: Trigger.INSTALLER_REPORTED,
    Step.WAITS: Trigger.INSTALLER_REPORTED,
    Step.CONFIG: Trigger.INSTALLER_REPORTED,
    Step.IMAGE: Trigger.INSTALLER_REPORTED,
    Step.INSTALLED: Trigger.INSTALL_DONE,
    Step.FAILED: Trigger.FAILED,
    Step.BOOTED: Trigger.IN_SERVICE,
    Step.UNIT: None,
}
