"""Opening an install, and the breaker that stops a machine which installs again and again (design.md rule 1)."""

from __future__ import annotations

from dataclasses import replace

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Trigger, enter

OPENINGS = 3
"So many installs may be opened ..."
WINDOW_S = 30 * 60.0
"... within this time without one being reported done; the next one puts the machine on hold."
OPENINGS_OF_ORDER = 6
"So many of one order may be opened at all: a machine whose installs end after a quarter of an hour loops, too."
SAME_BOOT_S = 10.0
"A script asked for again this soon is the same boot: firmware repeats requests, and no machine boots twice so fast."
OPENED = "installs were opened"
"In the words of a hold: the diagnosis knows it by them."


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
    number = len(history.opened_at)
    if len(recent) >= OPENINGS or number >= OPENINGS_OF_ORDER:
        how = f"{len(recent)} {OPENED} within {int(WINDOW_S / 60)} minutes"
        if len(recent) < OPENINGS:
            how = f"{number} {OPENED} for one order"
        failed = f"; the last failed: {history.reason}" if history.state is MachineState.FAILED else ""
        return enter(history, Trigger.LOOPED, now, f"{how} and none was reported done{failed}") or history
    again = f", install {number + 1} of this order" if number else ""
    opened = enter(history, Trigger.SCRIPT_SERVED, now, f"the installer's boot script was served{again}")
    return replace(opened, opened_at=(*history.opened_at, now)) if opened else history
