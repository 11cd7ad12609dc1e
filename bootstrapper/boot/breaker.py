"""Opening an install, and the breaker that stops a machine which installs again and again (design.md rule 1)."""

from __future__ import annotations

from dataclasses import replace

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Trigger, enter

OPENINGS = 3
"So many installs may be opened ..."
WINDOW_S = 30 * 60.0
"... within this time without one being reported done; the next one puts the machine on hold."
SAME_BOOT_S = 10.0
"A script asked for again this soon is the same boot: firmware repeats requests, and no machine boots twice so fast."
KEPT = 10


def open_install(history: History, now: float) -> History:
    """`history` after the installer's script was asked for at `now`: an install is opened, or the machine is held.

    Nothing changes for a machine that has no open generation or is on hold already.
    """
    if not history.open or history.held:
        return history
    last = history.opened_at[-1] if history.opened_at else None
    if last is not None and 0 <= now - last < SAME_BOOT_S:
        return history
    recent = [at for at in history.opened_at if 0 <= now - at < WINDOW_S]
    if len(recent) >= OPENINGS:
        reason = (
            f"{len(recent)} installs were opened within {int(WINDOW_S / 60)} minutes and none was reported done"
            + (f"; the last failed: {history.reason}" if history.state is MachineState.FAILED else "")
        )
        return enter(history, Trigger.LOOPED, now, reason) or history
    opened = enter(history, Trigger.SCRIPT_SERVED, now, "the installer's boot script was served")
    return replace(opened, opened_at=(*history.opened_at, now)[-KEPT:]) if opened else history
