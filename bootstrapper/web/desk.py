"""What all views of the machine plane share: the parts, the counters, and how a step is recorded."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import AddressValueError, IPv4Address

from flask import request

from bootstrapper.boot.claim import Token
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.nodeconfig.context import Context
from bootstrapper.web.counts import Counts
from bootstrapper.web.limiter import Allowance, Limiter
from bootstrapper.web.parts import Parts

DETAIL_CHARACTERS = 500
ASKED_AT_ONCE, ASKED_PER_S = 20, 0.02
"Of one machine and one step: more than one a minute, all day, is no boot."
STRANGER_EVERY_S = 10.0
"An event of one stranger (an unknown machine, a guessed token's source) is kept this often at most."


class Desk:
    def __init__(self, parts: Parts, counts: Counts) -> None:
        self.parts = parts
        self.counts = counts
        self._strangers: defaultdict[str, Limiter] = defaultdict(lambda: Limiter(STRANGER_EVERY_S))
        self._refusals = Allowance(burst=10, per_s=0.05)
        self._asked: defaultdict[str, Allowance] = defaultdict(lambda: Allowance(ASKED_AT_ONCE, ASKED_PER_S))
        self._room = Allowance(burst=50, per_s=0.02)

    def record(
        self, mac: str, step: str, detail: str, level: str = "info", service: str = "http", more: str = ""
    ) -> None:
        """`more` is clean already (`boot.tail.clean_tail`)."""
        self.parts.record(Event(self.parts.now(), mac, service, step, clean(detail), level, more))

    def listens_to(self, kind: str, who: object) -> bool:
        """Whether what a stranger caused is worth a record now.

        Each kind has room of its own: of some a stranger makes up as many as it likes (MACs), and would hide with them
        that a claim or a renewal was refused.
        """
        return self._strangers[kind].allows(str(who), self.parts.now())

    def has_room(self, mac: str = "") -> bool:
        """Whether one more event that anybody can cause goes into the history of `mac`, or (none) of all that are in no
        description. Whoever has many addresses, or invents MACs, would push out what matters otherwise."""
        return self._room.takes(mac, self.parts.now())

    def listens_to_token(self, digest: str) -> bool:
        """Whether one more refusal of this token is worth a record: the first ones are, a replay without end is not."""
        return self._refusals.takes(digest, self.parts.now())

    def listens_to_machine(self, step: str, mac: str) -> bool:
        """Whether one more `step` that machine `mac` caused by asking is worth a record: whoever asks without end from
        its address must not push its history out."""
        return self._asked[step].takes(mac, self.parts.now())

    def build_context(self, history: History, kept: Token | None = None, token: str | None = None) -> Context:
        """For the claim of `kept`, or (None) for the text that anyone may read."""
        return Context(
            cluster=self.parts.cluster(),
            links=self.parts.links,
            environment=self.parts.environment,
            authority_pem=self.parts.authority_pem,
            token=token,
            generation=kept.generation if kept else history.wanted,
            order_id=history.order_id if kept else "",
            wipe=history.wipe and kept is not None,
            address=kept.address if kept else None,
            lock=self.parts.lock(),
            require_hashes=self.parts.require_hashes and kept is not None,
        )


def find_source() -> IPv4Address:
    """The connection's own peer address; no header can change it."""
    try:
        return IPv4Address(request.environ.get("REMOTE_ADDR", ""))
    except AddressValueError:
        return IPv4Address(0)


def clean(text: str) -> str:
    """Text of a client's that may stand in a log."""
    return "".join(char if char.isprintable() else " " for char in text[:DETAIL_CHARACTERS])
