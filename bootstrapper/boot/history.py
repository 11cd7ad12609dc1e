"""What has happened to a machine: the facts `boot.decide` needs beside who the machine is.

An install *generation* is a number. `wanted` is what the admin asked for, `done` what the installer reported; a
machine installs only while `wanted > done` (design.md rule 1). `done` never falls, and `wanted` only when an admin
takes an order back for which no script was served (`cancel`), or restores a backup.

A number alone does not name an order: a server that was restored from a backup gives the same ones again. So each
order that an admin gives has an identity as well, which no other order has, and which the disk's marker keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MachineState(StrEnum):
    """What each means, its time-out and its ways out are in `boot.lifecycle`."""

    UNKNOWN = "unknown"
    DISCOVERED = "discovered"
    ARMED = "armed"
    BOOTING = "booting"
    INSTALLING = "installing"
    INSTALLED = "installed"
    JOINED = "joined"
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class History:
    """One machine's life so far, keyed by its first MAC. The default is a machine never seen: armed for its first."""

    wanted: int = 1
    done: int = 0
    state: MachineState = MachineState.ARMED
    state_at: float = 0.0
    "When `state` was entered (wall clock, seconds); 0: never."
    held: str = ""
    "Why the machine is on hold; empty: it is not."
    approved: bool = False
    "An unknown machine that an admin accepted (policy `worker`)."
    opened_at: tuple[float, ...] = ()
    "When installs of the open order were opened (wall clock), the latest last; not more than `boot.breaker` lets be."
    reason: str = ""
    "Plain words: why it is in this state."
    wipe: bool = False
    "The one-time order of `reinstall --wipe`, for generation `wanted` only."
    booted_at: float = 0.0
    "When the system of generation `done` said that it is up, or an admin did by `release` (wall clock); 0: not yet."
    forgotten: bool = False
    "An admin had it forgotten, or moved to another MAC: no generation opens here but by the order `install`."
    begun: bool = False
    """While a generation is open: an install of it has begun, so that what is on its disk is not sure any more (or was
    not when it was ordered, of a machine that was forgotten). On hold after a restore: so it was when the order that
    the restore closed was open."""
    order_id: str = ""
    "Identity of the order that opened generation `wanted`; empty: the first install, which the description orders."

    plan: str = ""
    "What it was when it claimed the configuration that is on its disk (`cluster.installed_as`); empty: not known."

    @property
    def open(self) -> bool:
        """Whether an install generation is open."""
        return self.wanted > self.done
