"""Tells of images that a machine asked our registry for and did not get. Part of the wiring.

The registry's log knows it (`servers.registry_log`), and an address whose it is; the machines' events are to have it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from bootstrapper.boot.events import Event
from bootstrapper.boot.steps import UNMIRRORED, Registry, Service, describe_refused
from bootstrapper.boot.tail import plain
from bootstrapper.servers.logs import LOGGER
from bootstrapper.servers.registry_log import Refusal, RefusalFile
from bootstrapper.web.limiter import Allowance, Limiter
from bootstrapper.web.senders import Senders

AGAIN_S = 60.0
AT_ONCE, PER_S = 20, 0.002
"Of one machine. A kubelet tries for ever, every five minutes at last: its history is to have room for other things."
KEYS = 20_000


class RefusedPulls:
    def __init__(self, file: RefusalFile, senders: Senders, record: Callable[[Event], None]) -> None:
        self._file, self._senders, self._record = file, senders, record
        self._again = Limiter(AGAIN_S, KEYS)
        self._most = Allowance(AT_ONCE, PER_S)

    def tell(self) -> None:
        """Events of what came since the last time."""
        try:
            refusals = self._file.take()
        except OSError as error:
            logging.getLogger(LOGGER).warning("the registry's refusals cannot be read: %s", error)
            return
        for refusal in refusals:
            self._tell(refusal)

    def _tell(self, refusal: Refusal) -> None:
        machine = self._senders.find(refusal.address)
        if machine is None or not self._again.allows(f"{machine.mac} {refusal.image}", refusal.at):
            return
        if not self._most.takes(machine.mac, refusal.at):  # names without end tell no more than the first
            return
        gone = refusal.status == 404
        image = plain(refusal.image.removeprefix(UNMIRRORED))
        why = "its registry is not in registry.mirror" if refusal.image.startswith(UNMIRRORED) else plain(refusal.error)
        step, level = (Registry.NOT_MIRRORED, "warning") if gone else (Registry.FAILED, "error")
        self._record(Event(refusal.at, machine.mac, Service.REGISTRY, step, describe_refused(image, why), level))
