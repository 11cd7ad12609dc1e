"""Why a machine does not get on: a named cause from its events, or None while all is well or time is still due.

Pure. The rules are in `diagnosis_rules`, in their order; the words in `causes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrapper.boot.causes import WORDS, Cause
from bootstrapper.boot.diagnosis_facts import Facts, Finding, Stranger
from bootstrapper.boot.diagnosis_rules import RULES
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.boot.rules_system import Lookalikes
from bootstrapper.cluster.model import Machine, UnknownPolicy


@dataclass(frozen=True, slots=True)
class Diagnosis:
    cause: Cause
    title: str
    what_to_do: str
    since: float
    "Wall clock, seconds: when it stopped."
    evidence: tuple[str, ...]
    "What was seen, a line each: `dhcp offer: 10.0.0.7 to UEFI x64, boots snponly.efi`."

    @property
    def page(self) -> str:
        """Where the documentation says more."""
        return f"docs/diagnosis.md#{self.cause}"


def diagnose(
    machine: Machine,
    history: History,
    events: Sequence[Event],
    now: float,
    around: Sequence[Event] = (),
    strangers: Sequence[Stranger] = (),
) -> Diagnosis | None:
    """The cause that explains best why `machine` has stopped, as of `now` (wall clock, seconds).

    `events` are the machine's own, `around` those of no machine (`Event.mac` empty: other DHCP servers, the Kubernetes
    API), `strangers` the machines that are not in the description. The latest few hundred of each are enough.
    """
    facts = Facts(machine, history, events, now, around, strangers)
    for cause, rule in RULES:
        found = rule(facts)
        if found is not None:
            return _build(cause, found)
    return None


def diagnose_stranger(stranger: Stranger, lookalikes: Lookalikes, policy: UnknownPolicy) -> Diagnosis | None:
    """Of a machine that is not in the description: whether it is a card of one that is, or is ignored."""
    why = lookalikes.explain(stranger)
    if why:
        return _build(Cause.OTHER_CARD, Finding(stranger.last_at, (f"{stranger.mac} asked, and {why}",)))
    if policy is UnknownPolicy.IGNORE:
        return _build(Cause.UNKNOWN_IGNORED, Finding(stranger.last_at, (f"{stranger.mac} asked",)))
    return None


def _build(cause: Cause, finding: Finding) -> Diagnosis:
    words = WORDS[cause]
    return Diagnosis(cause, words.title, words.what_to_do, finding.since, finding.evidence)
