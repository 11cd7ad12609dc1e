"""One plain method for each thing that can be asked or ordered on the admin plane; JSON-ready values come back.

`api` puts these under URLs and `pages` shows them. Whatever a client of the network chose (a vendor's name, a detail)
comes back as text with control characters removed; escaping for HTML, YAML or a terminal is the shower's.

Every method that changes something takes `who` (a `Caller`), and is in the audit log whether it succeeds or not.
Raises the faults of `faults`, and UserError for trouble of the server's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from bootstrapper.nodeconfig.outputs import OUTPUTS
from bootstrapper.web.admin.audit import Audit
from bootstrapper.web.admin.caller import Caller
from bootstrapper.web.admin.editor import Editor
from bootstrapper.web.admin.faults import NotFound
from bootstrapper.web.admin.feed import Feed
from bootstrapper.web.admin.orders import Orders
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.rack import RackView
from bootstrapper.web.admin.server import ServerView
from bootstrapper.web.admin.stops import Stops
from bootstrapper.web.admin.strangers import Strangers
from bootstrapper.web.admin.warnings import Warnings

Json: TypeAlias = dict[str, Any]


class AdminDesk:
    def __init__(self, parts: AdminParts) -> None:
        self.parts = parts
        self.rack = RackView(parts)
        self.feed = Feed(parts)
        self.audits = Audit(parts)
        self._orders = Orders(parts)
        self._strangers = Strangers(parts)
        self._editor = Editor(parts)
        self._server = ServerView(parts)
        self._warnings = Warnings(parts, self.rack)
        self._stops = Stops(lambda mac: self.rack.find(mac)["diagnosis"])

    def bind_worker(self, go_on: Callable[[], bool]) -> None:
        """From the server below: whether this process is to go on; answers without an end look at it."""
        self.feed.go_on = go_on

    # -- machines ---------------------------------------------------------------
    def machines(self) -> list[Json]:
        """The rack at a glance, in the order of the description; `stopped`: why one stands still, where it is known."""
        found = self.rack.list()
        stops = self._stops.look(found, self.parts.now())
        return [{**each, "stopped": stops[each["mac"]]["title"] if each["mac"] in stops else ""} for each in found]

    def machine(self, name: str) -> Json:
        """One of them, by MAC in any spelling or host name, with `boots` and `diagnosis`."""
        return self.rack.find(name)

    def outputs(self) -> list[str]:
        return list(OUTPUTS)

    def config(self, name: str, output: str) -> str:
        """A text that the machine would get, with every secret left out."""
        machine = self.rack.machine(name)
        if output not in OUTPUTS:
            raise NotFound(f"there is no output {output!r}", f"the outputs are {', '.join(OUTPUTS)}")
        return self.parts.render(output, self.parts.cluster(), machine)

    def order(self, who: Caller, name: str, order: str, wipe: bool = False, reason: str = "") -> Json:
        """`install`, `reinstall`, `cancel`, `hold`, `release`, `forget` or `approve`.

        Returns {mac, changed, warnings, machine}: as it is then, or None when the description does not have it.
        """
        with self.audits.entry(who, f"order {order}{' with wipe' if wipe else ''}", name, reason):
            return self._with_machine(self._orders.give(self._orders.find(name), order, wipe, reason))

    def move(self, who: Caller, name: str, to: str) -> Json:
        """The machine's life goes on under another MAC (its card or board was replaced). Returns as `order` does."""
        with self.audits.entry(who, "move", name, f"to {to}"):
            return self._with_machine(self._orders.move(self._orders.find_card(name), to))

    def _with_machine(self, done: Json) -> Json:
        known = done["mac"] in self.parts.cluster().by_mac
        return {**done, "machine": self.rack.find(done["mac"]) if known else None}

    # -- events -----------------------------------------------------------------
    def events(self, machine: str = "", after: int = 0, limit: int = 200) -> list[Json]:
        """Oldest first, those after the id `after`; the latest `limit` when `after` is 0."""
        return self.feed.list(self.rack.mac(machine) if machine else None, after, limit)

    def follow(
        self, machine: str = "", after: int | None = None, flush: Callable[[], None] = lambda: None
    ) -> Iterator[str]:
        """The same as server-sent events, as they come, for ten minutes at most; close it when done."""
        return self.feed.follow(self.rack.mac(machine) if machine else None, after, flush)

    # -- unknown machines -------------------------------------------------------
    def unknown(self) -> list[Json]:
        return self._strangers.list()

    def forget_unknown(self, who: Caller, mac: str) -> Json:
        with self.audits.entry(who, "forget unknown", mac):
            return self._strangers.forget(mac)

    def adopt(
        self, who: Caller, mac: str, host: str = "", roles: Sequence[str] = (), ip: str = "", save: bool = False
    ) -> Json:
        """The description with the machine in it: {text, lines, ok, problems, advice, saved, revision}.

        `ip` may be `auto`; a machine whose roles need a fixed address gets a free one anyway. Unfit, with the problems,
        where `save` is wanted and they forbid it.
        """
        lines = self._strangers.write(mac, host, roles, ip)
        if not save:
            text = self._strangers.insert(self._editor.read(), lines)
            return {"text": text, "lines": lines, **self._editor.check(text), "saved": False, "revision": None}
        with self.audits.entry(who, "adopt", mac, f"as {host}" if host else ""):
            note = f"{mac} adopted by {who.name}"
            saved = self._editor.edit(lambda text: self._strangers.insert(text, lines), note)
        text = self._editor.read()
        return {"text": text, "lines": lines, "ok": True, "problems": [], "advice": [], "saved": True, **saved}

    # -- the description --------------------------------------------------------
    def description(self) -> Json:
        """{revision, text, file, writable, obstacle, digest, in_force}."""
        return self._editor.show()

    def description_in_force(self) -> Json:
        """The same of the description in force, where the file cannot be read."""
        return self._editor.show_kept()

    def check(self, text: str) -> Json:
        """{ok, problems: [{line, path, message, hint}], advice: [...]}."""
        return self._editor.check(text)

    def plan(self, text: str) -> Json:
        """{machines: [{mac, host, effect, changes}], server: [...]}; Unfit with the problems of a bad text."""
        return self._editor.plan(text)

    def save_description(self, who: Caller, text: str, base_revision: int | None, base_digest: str | None) -> Json:
        """{revision, in_force, restart, replaced}. Conflict: somebody else was faster; Unfit: it has problems."""
        with self.audits.entry(who, "save description", "", f"made from revision {base_revision}"):
            return self._editor.save(text, base_revision, base_digest, f"saved by {who.name}")

    def revisions(self) -> list[Json]:
        """[{revision, at, note}], the latest first."""
        return self._editor.revisions()

    def revision(self, number: int) -> Json:
        """{revision, at, note, text}."""
        return self._editor.revision(number)

    def restore_revision(self, who: Caller, number: int) -> Json:
        with self.audits.entry(who, "restore description", "", f"revision {number}"):
            return self._editor.restore(number, f"revision {number} restored by {who.name}")

    # -- the server -------------------------------------------------------------
    def status(self) -> Json:
        return {**self._server.status(), "warnings": self.warnings()}

    def warnings(self) -> list[Json]:
        """[{text, hint, page}]: what is wrong and not with one machine."""
        return self._warnings.list()

    def certificates(self) -> list[Json]:
        return self._server.certificates()

    def audit(self, after: int = 0, limit: int = 200) -> list[Json]:
        """[{id, at, who, what, target, detail, outcome}], oldest first; the latest `limit` when `after` is 0."""
        return self.audits.list(after, limit)
