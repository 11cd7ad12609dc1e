"""What is wrong with the server or its network and not with one machine: what a rack that looks quiet would hide."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bootstrapper.boot.steps import Dhcp, Service
from bootstrapper.errors import UserError
from bootstrapper.state.carry_out import FORGET_MEMBER, FORGET_NODE
from bootstrapper.state.refused import load_refused
from bootstrapper.web.admin.faults import Unfit
from bootstrapper.web.admin.fresh import Fresh
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.rack import RackView
from bootstrapper.web.admin.whole import read_description
from bootstrapper.web.admin.words import clean

FRESH_S = 5.0
SETTLED_S = 15.0
"A file that was just saved is taken up within seconds; until then it is no cause for worry."
RIVAL_S = 2 * 3600.0
"The server looks for another DHCP server every hour."
EVENTS = 200
PATIENCE_S = 60.0
ERRANDS = {FORGET_NODE: "its Node", FORGET_MEMBER: "its etcd member"}
"What `forget` leaves to be done in the cluster, and how it is called."
SOON_S = 14 * 86400.0
"Machines renew at two thirds of a certificate's life: one that ends so soon was not renewed."
LEAST_BYTES = 256 << 20
"Below, a lease or a report may soon find no room."


def measure_free(folder: Path) -> int:
    """Bytes that are free where `folder` is; raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Warnings:
    """Each is {text, hint, page}: what is the matter, what to do, and the page that says more."""

    def __init__(self, parts: AdminParts, rack: RackView, measure: Callable[[Path], int] = measure_free) -> None:
        self._parts = parts
        self._rack = rack
        self._measure = measure
        self._fresh = Fresh(lambda: list(self._look()), FRESH_S, parts.now)

    def list(self) -> list[dict[str, Any]]:
        return self._fresh.get()

    def _look(self) -> Iterator[dict[str, Any]]:
        yield from self._look_at_disk()
        yield from self._look_at_description()
        yield from self._look_for_rivals()
        yield from self._look_at_certificates(self._rack.first_ends())
        yield from self._look_at_errands()
        missing = {name for names in self._rack.missing().values() for name in names}
        if missing:
            files = "1 file machines need is" if len(missing) == 1 else f"{len(missing)} files machines need are"
            yield warn(f"{files} not here", "`bootstrapper fetch` gets what it can, and says what it cannot", "status")

    def _look_at_disk(self) -> Iterator[dict[str, Any]]:
        try:
            free = self._measure(self._parts.state)
        except OSError as error:
            yield warn(f"the state directory cannot be looked at: {error.strerror}", "see the server's log", "status")
            return
        if free < LEAST_BYTES:
            yield warn(f"only {free >> 20} MiB are free where {self._parts.state} is",
                       "make room: without it no lease, no report and no key can be kept", "status")  # fmt: skip
        try:
            self._parts.store.probe()
        except UserError as error:
            yield warn(f"the state cannot be written: {error.message}", error.hint, "status")

    def _look_at_description(self) -> Iterator[dict[str, Any]]:
        refused = load_refused(self._parts.store)
        if refused is not None:
            yield warn(f"{refused.file} was refused: {refused.words}; the last good description stays in force",
                       refused.hint or "the page Description lists its problems, the server's log says the rest",
                       "description")  # fmt: skip
            return
        path, kept = self._parts.description, self._parts.store.load_description()
        try:
            text, changed = read_description(path), path.stat().st_mtime
        except Unfit as error:
            yield warn(f"{error.message}; the last good description stays in force", error.hint, "description")
            return
        except OSError:  # replaced between the two looks
            return
        if kept is not None and text != kept[1] and not 0 <= self._parts.now() - changed < SETTLED_S:
            yield warn(f"{path} was changed and is not in force: it was refused, or needs a restart",
                       "the page Description lists its problems, the server's log says the rest",
                       "description")  # fmt: skip

    def _look_for_rivals(self) -> Iterator[dict[str, Any]]:
        now = self._parts.now()
        for detail in dict.fromkeys(
            event.detail
            for _id, event in self._parts.store.latest_events("", EVENTS)
            if (event.service, event.step) == (Service.DHCP, Dhcp.RIVAL) and 0 <= now - event.at < RIVAL_S
        ):
            text, _, hint = clean(detail).partition("; ")
            yield warn(text, hint, "events")

    def _look_at_errands(self) -> Iterator[dict[str, Any]]:
        now = self._parts.now()
        waiting: dict[str, list[str]] = {}
        for errand in self._parts.store.load_errands():
            if errand.kind in ERRANDS and now - errand.at >= PATIENCE_S:
                waiting.setdefault(errand.host, []).append(ERRANDS[errand.kind])
        for host, what in waiting.items():
            yield warn(f"{clean(host, 80)} was forgotten, and {' and '.join(what)} {'is' if len(what) == 1 else 'are'} "
                       "still in the cluster", "gone as soon as the cluster's API and etcd answer and can do without; "
                       "events tell what is waited for", "events")  # fmt: skip

    def _look_at_certificates(self, ends: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        now = self._parts.now()
        soon = {host: datetime.fromisoformat(end).timestamp() - now for host, end in ends.items()}
        soon = {host: left for host, left in soon.items() if left < SOON_S}
        if soon:
            first = min(soon, key=lambda host: soon[host])
            days = int(soon[first] // 86400)
            when = "has ended" if soon[first] < 0 else f"ends in {days} day{'' if days == 1 else 's'}"
            more = f", and of {len(soon) - 1} more" if len(soon) > 1 else ""
            yield warn(f"a certificate of {clean(first, 80)} {when}{more}",
                       "a machine that is on renews its own by itself: is it on, and does it reach this server?",
                       "certificates")  # fmt: skip


def warn(text: str, hint: str, page: str) -> dict[str, Any]:
    return {"text": text, "hint": hint, "page": page}
