"""Why machines stand still, for the rack page: a few are diagnosed at each look, so that a look stays cheap.

`RackView.find` reads a machine's whole life; a thousand of them would take seconds. What was found is kept until
the machine is heard again, or a minute has passed (some causes show only by what does not come).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import MachineState
from bootstrapper.boot.steps import Service
from bootstrapper.boot.timeline import is_sent_to_disk

Json: TypeAlias = Mapping[str, Any]

AT_ONCE = 4
"Machines diagnosed at one look."
QUIET_S, GONE_S = 60.0, 3600.0
"""A machine on its way that was heard so long ago stands still; after the second it was switched off, save one that is
armed: nothing else would ever say why it did not come."""
AGAIN_S, SELDOM_S = 60.0, 3600.0
"How often one is looked at again that is not heard: the second when it has been silent for `GONE_S`."
ON_THE_WAY = frozenset({MachineState.ARMED, MachineState.BOOTING, MachineState.INSTALLING, MachineState.INSTALLED})
TO_DISK = frozenset({MachineState.INSTALLED, MachineState.JOINED})
"States of machines whose firmware is sent to their disk."
SERVICES = frozenset(Service)
"An event of another service (`files`, `state`) is not of the machine's own doing."

Key: TypeAlias = tuple[object, ...]


class Stops:
    def __init__(self, diagnose: Callable[[str], Json | None]) -> None:
        """`diagnose`: MAC -> {cause, title, ...} or None."""
        self._diagnose = diagnose
        self._kept: dict[str, tuple[Key, Json | None]] = {}

    def look(self, machines: Sequence[Json], now: float) -> dict[str, Json]:
        """MAC -> why it stands still, of those of which it is known by now; the last heard come first."""
        still = sorted(
            (each for each in machines if stands_still(each, now)), key=lambda each: -each["last_event"]["at"]
        )
        kept: dict[str, tuple[Key, Json | None]] = {}
        left = AT_ONCE
        for machine in still:
            mac = machine["mac"]
            again = AGAIN_S if now - machine["last_event"]["at"] < GONE_S else SELDOM_S
            key = (machine["last_event"]["id"], machine["state"], now // again)
            known = self._kept.get(mac)
            if known is not None and (known[0] == key or (left == 0 and known[0][:2] == key[:2])):
                kept[mac] = known
            elif left > 0:
                left -= 1
                kept[mac] = (key, self._diagnose(mac))
        self._kept = kept
        return {mac: found for mac, (_key, found) in kept.items() if found is not None}


def stands_still(machine: Json, now: float) -> bool:
    last = machine["last_event"]
    if last is None or last["service"] not in SERVICES:
        return False
    quiet: float = now - last["at"]
    if machine["state"] in TO_DISK and _is_sent_to_disk(last):
        return 0 <= quiet < GONE_S  # it may be going round and round, with a word each minute
    return machine["state"] in ON_THE_WAY and quiet >= QUIET_S and (quiet < GONE_S or machine["state"] == "armed")


def _is_sent_to_disk(last: Json) -> bool:
    return is_sent_to_disk(Event(last["at"], "", last["service"], last["step"], last["detail"]))
