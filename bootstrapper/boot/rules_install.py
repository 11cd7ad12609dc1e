"""Rules for what stops the installer: trust, its one claim, the disk, the image."""

from __future__ import annotations

import re

from bootstrapper.boot.causes import Cause
from bootstrapper.boot.claim import ClaimRefusal
from bootstrapper.boot.decide import Action
from bootstrapper.boot.diagnosis_facts import Facts, Finding, Rule, found, tell
from bootstrapper.boot.report import INSTALLER_STEPS
from bootstrapper.boot.report import Step as Report
from bootstrapper.boot.steps import TLS_NOT_VALID, TLS_UNKNOWN, Http, Service, find_action
from bootstrapper.boot.timeline import BootStep, Phase

DAY_S = 86_400.0
CLOCK_S = DAY_S
"A clock that is this far off fails certificates: ours are valid from a day before they were made."
NEXT_S = 120.0
"After setting the clock the next report comes within seconds."
IMAGE_S = 300.0
"How far the image is, is reported each half minute."
SILENT_S = 600.0
"Between its other steps the installer takes seconds, and half a minute to wait for a disk."
ETCD_S = 300.0

CLAIMS = (Http.CONFIG_CLAIMED, Http.CLAIM_REFUSED, Http.CONFIG_WAITS, Http.CLAIM_HELD)


# -- trust -------------------------------------------------------------------------------------------------------------


def clock_wrong(facts: Facts) -> Finding | None:
    """The machine says so itself, by the report of its clock or by the alert that ended its TLS handshake."""
    told = facts.last(Service.INSTALLER, Report.CLOCK)
    offset = find_offset(told.detail) if told is not None else None
    lines = [describe_offset(offset)] if offset is not None else []
    alert = _find_alert(facts, TLS_NOT_VALID)
    if alert is not None:
        return found(alert, *([told] if told else []), *lines)
    failed = facts.last(Service.INSTALLER, *Report)
    if failed is not None and failed.step == Report.FAILED and "cannot set the clock" in failed.detail:
        offset = find_offset(failed.detail)
        return found(failed, *([describe_offset(offset)] if offset is not None else []))
    if told is None or offset is None or abs(offset) < CLOCK_S:
        return None
    stuck = facts.steps[-1] is told and facts.is_late(told, NEXT_S)
    return found(told, *lines) if stuck else None


def tls_authority(facts: Facts) -> Finding | None:
    alert = _find_alert(facts, TLS_UNKNOWN)
    return None if alert is None else found(alert)


def _find_alert(facts: Facts, words: str) -> BootStep | None:
    """A handshake that ended in `words`, unless one succeeded after it."""
    alert = facts.last(Service.HTTP, Http.TLS_FAILED)
    if alert is None or words not in alert.detail:
        return None
    trusting = (each.service in (Service.INSTALLER, Service.SYSTEM) for each in facts.after(alert))
    return None if any(trusting) else alert


def find_offset(detail: str) -> int | None:
    """Seconds by which the machine's clock is behind ours (negative: ahead), as its installer tells it."""
    match = OFFSET.search(detail)
    return int(match[1]) if match else None


OFFSET = re.compile(r"(-?\d{1,12}) seconds off")


def describe_offset(seconds: int) -> str:
    """`its clock is 3.0 years back`."""
    amount = abs(seconds)
    for unit, length in UNITS:
        if amount >= length:
            return f"its clock is {amount / length:.1f} {unit} {'back' if seconds > 0 else 'ahead'}"
    return f"its clock is {amount} seconds {'back' if seconds > 0 else 'ahead'}"


UNITS = (("years", 365.25 * DAY_S), ("days", DAY_S), ("hours", 3600.0), ("minutes", 60.0))


# -- the claim ---------------------------------------------------------------------------------------------------------


def claimed_twice(facts: Facts) -> Finding | None:
    return _find_alarm(facts, ClaimRefusal.CLAIMED)


def claim_sealed(facts: Facts) -> Finding | None:
    return _find_alarm(facts, ClaimRefusal.SEALED)


def _find_alarm(facts: Facts, refusal: ClaimRefusal) -> Finding | None:
    """Of the last day, and whatever the machine itself did meanwhile: somebody else may be at work."""
    for event in reversed(facts.events):
        refused = event.service == Service.HTTP and event.step == Http.CLAIM_REFUSED
        if refused and find_refusal(event.detail) == refusal and 0 <= facts.now - event.at < DAY_S:
            return found(event) if event.at >= _find_order(facts) else None
    return None


def claimed_again(facts: Facts) -> Finding | None:
    """Of the last day, as `_find_alarm`."""
    for event in reversed(facts.events):
        told = event.service == Service.HTTP and event.step == Http.CLAIMED_AGAIN
        if told and 0 <= facts.now - event.at < DAY_S:
            return found(event) if event.at >= _find_order(facts) else None
    return None


def _find_order(facts: Facts) -> float:
    """When the first script of the latest install was served; 0: it is not among the events. What was before that
    install is over, for it has new secrets; another boot of the same one ends nothing."""
    first, last = 0.0, ""
    for event in reversed(facts.events):
        if event.service == Service.HTTP and event.step == Http.SCRIPT and find_action(event.detail) == Action.INSTALL:
            number = GENERATION.search(event.detail)
            last = last or (number[0] if number else "")
            if (number[0] if number else "") != last:
                break
            first = event.at
    return first


GENERATION = re.compile(r"install generation [0-9]+")
"Of `decide`'s reason for an install."


def claim_address(facts: Facts) -> Finding | None:
    return _find_refused(facts, ClaimRefusal.ADDRESS)


def claim_other_board(facts: Facts) -> Finding | None:
    return _find_refused(facts, ClaimRefusal.UUID)


def claim_expired(facts: Facts) -> Finding | None:
    return _find_refused(facts, ClaimRefusal.EXPIRED)


def claim_refused(facts: Facts) -> Finding | None:
    return _find_refused(facts, *ClaimRefusal)


def _find_refused(facts: Facts, *refusals: ClaimRefusal) -> Finding | None:
    claim = facts.last(Service.HTTP, *CLAIMS)
    if claim is None or claim.step != Http.CLAIM_REFUSED or find_refusal(claim.detail) not in refusals:
        return None
    going = (each.service == Service.INSTALLER and each.step != Report.FAILED for each in facts.after(claim))
    return None if any(going) else found(claim)


def find_refusal(detail: str) -> str:
    """`claim refused: claimed before, from 10.10.14.66, token x`."""
    return detail.partition(", ")[0]


def waits_for_etcd(facts: Facts) -> Finding | None:
    """It asks again and again meanwhile, and each is told: since the first."""
    claims = facts.list(Service.HTTP, *CLAIMS)
    if not claims or claims[-1].step != Http.CONFIG_WAITS:
        return None
    first = next(step for step in claims if step.step == Http.CONFIG_WAITS)
    return Finding(first.at, tell(claims[-1])) if facts.is_late(first, ETCD_S) else None


def config_failed(facts: Facts) -> Finding | None:
    """`cloud-config failed`, `ignition failed`, `install failed`: a template or a file of ours."""
    told = facts.last(Service.HTTP)
    if told is None or told.level != "error" or not told.step.endswith(" failed") or told.step == Http.SCRIPT_FAILED:
        return None
    return found(told)


# -- the disk and the image --------------------------------------------------------------------------------------------


def find_failure(cause: Cause) -> Rule:
    """The rule for one of the causes that the installer's own last words tell apart."""

    def rule(facts: Facts) -> Finding | None:
        told = facts.last(Service.INSTALLER)
        if told is None or told.step != Report.FAILED or classify(told.detail) is not cause:
            return None
        return found(told)

    return rule


def classify(words: str) -> Cause:
    """What the installer's last words mean."""
    lower = words.lower()
    return next((cause for pattern, cause in FAILURES if re.search(pattern, lower)), Cause.INSTALL_FAILED)


FAILURES: tuple[tuple[str, Cause], ...] = (
    (r"matches 0 disks", Cause.NO_DISK),
    (r"matches \d+ disks", Cause.SEVERAL_DISKS),
    (r"holds data that is not ours", Cause.FOREIGN_DATA),
    (r"has sectors of|bytes and the image needs|already holds install|still in use by|wipefs failed|cannot write to"
     r"|has no oem partition|cannot mount", Cause.DISK_UNSUITABLE),
    (r"cannot set the clock", Cause.CLOCK_WRONG),
    (r"flatcar-install:.*(signature|gpg|checksum|sha512|digest)", Cause.IMAGE_NOT_VERIFIED),
    (r"refused this machine's configuration", Cause.CLAIM_REFUSED),
)  # fmt: skip
"""Phrases of templates/nodes/install and of flatcar-install, in lower case; the first found counts. A test looks
for ours in the templates."""


def image_stalled(facts: Facts) -> Finding | None:
    told = facts.last(Service.INSTALLER)
    if told is None or told.step != Report.IMAGE or not facts.history.open:
        return None
    moved = facts.last(Service.HTTP, Http.LOADING, Http.PROGRESS, Http.LOADED)
    latest = max(told.at, moved.at if moved is not None else 0.0)
    return Finding(latest, tell(told)) if facts.now - latest >= IMAGE_S else None


def installer_stopped(facts: Facts) -> Finding | None:
    told = facts.last(Service.INSTALLER)
    if told is None or told.step not in INSTALLER_STEPS or not facts.history.open:
        return None
    return found(told) if facts.is_late(facts.steps[-1], SILENT_S) else None


def installer_deaf(facts: Facts) -> Finding | None:
    """It fetched its own text and never said a word over TLS."""
    fetched = facts.last(Service.HTTP, Http.INSTALLER_CONFIG)
    if fetched is None or facts.list(Service.INSTALLER) or facts.phase is not Phase.INSTALLER:
        return None
    return found(fetched) if facts.is_late(facts.steps[-1], SILENT_S) else None
