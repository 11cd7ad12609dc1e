"""How each cause is recognised. A rule looks at the facts and says since when, and by what; None: not this one.

The table at the end is in order of precedence: what must be put right first comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from bootstrapper.boot.causes import Cause
from bootstrapper.boot.diagnosis_facts import Facts, Finding, found
from bootstrapper.boot.steps import Dhcp, Service, boots_something, find_asker
from bootstrapper.boot.timeline import Phase

Rule = Callable[[Facts], Finding | None]

ANSWER_S = 60.0
"A machine's next packet is late. Firmware repeats for 62 s at most (4 + 8 + 16 + 32 s and a little)."


def _other_server(facts: Facts) -> Finding | None:
    step = facts.last(Service.DHCP)
    if step is None or step.step != Dhcp.OTHER_SERVER:
        return None
    return found(step)


def _offer_not_taken(facts: Facts) -> Finding | None:
    offer = facts.last(Service.DHCP, Dhcp.OFFER)
    if offer is None or facts.last(Service.DHCP) is not offer or not facts.is_due(offer.at, ANSWER_S):
        return None
    return found(offer)


def _no_tftp(facts: Facts) -> Finding | None:
    ack = facts.last(Service.DHCP, Dhcp.ACK)
    if ack is None or facts.phase is not Phase.FIRMWARE or not find_asker(ack.detail):
        return None
    if not boots_something(ack.detail) or not facts.is_due(ack.at, ANSWER_S):
        return None
    return found(ack)


RULES: tuple[tuple[Cause, Rule], ...] = (
    (Cause.OTHER_DHCP_SERVER, _other_server),
    (Cause.OFFER_NOT_TAKEN, _offer_not_taken),
    (Cause.NO_TFTP_REQUEST, _no_tftp),
)
