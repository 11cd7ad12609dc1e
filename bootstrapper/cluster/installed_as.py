"""What a machine was when it was installed, kept to be compared with what the description makes of it now. Pure.

A few words for each of its keys that reach a disk by an install only (`plan.MACHINE_KEYS`). What the rest of the file
changes (versions, other machines' names) is not in it: `plan` tells that before a description is taken.
"""

from __future__ import annotations

import json

from bootstrapper.cluster.model import DiskSelector, Machine
from bootstrapper.cluster.plan import MACHINE_KEYS, Effect, put_in_words
from bootstrapper.cluster.show import describe_disk


def describe_installed(machine: Machine) -> str:
    """For the store: JSON, key -> words."""
    return json.dumps(_list_words(machine), ensure_ascii=False)


def compare_installed(kept: str, machine: Machine) -> tuple[str, ...]:
    """What differs between `kept` and `machine`, `roles: worker -> master, worker`; nothing where `kept` is empty or of
    another version's making."""
    try:
        before = json.loads(kept) if kept else {}
    except ValueError:
        return ()
    if not isinstance(before, dict):
        return ()
    now = _list_words(machine)
    return tuple(f"{key}: {before[key]} -> {now[key]}" for key in now if key in before and before[key] != now[key])


def _list_words(machine: Machine) -> dict[str, str]:
    keys = (key for key, effect in MACHINE_KEYS.items() if effect is Effect.REINSTALL)
    values = ((key, getattr(machine, key)) for key in keys)
    return {
        key: describe_disk(value) if isinstance(value, DiskSelector) else put_in_words(value) for key, value in values
    }
