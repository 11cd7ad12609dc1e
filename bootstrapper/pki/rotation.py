"""Rotation of an authority, with overlap: at no moment does a machine meet a signature that it does not trust.

    stable      one authority, which signs and is trusted
      | begin   a new key is made
    announced   both are trusted, the old one signs; machines learn of the new one when they next ask (every 6 hours)
      | switch  not before ANNOUNCE_S: every machine that was on has asked by then
    switched    both are trusted, the new one signs; the old key is gone; machines renew what the old one signed when
      | finish  they next ask. Not while a certificate of the old one is in use
    stable      the new one alone

Masters have the cluster's signing key (the controller manager signs the kubelets' certificates with it), and it is sent
through a claim only (design.md rule 3): between `switch` and `finish` of `cluster` each master is installed again, one
by one. Kubelets' certificates are not known here; they live a year, and so long `finish` waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from bootstrapper.errors import UserError
from bootstrapper.pki.certificates import at_time, make_authority, parse_certificate
from bootstrapper.pki.files import locked
from bootstrapper.pki.issued import SERVER, Serial, list_owners, load_issued
from bootstrapper.pki.keys import ClusterKeys, Trust, load_keys, save_keys
from bootstrapper.pki.leaves import AUTHORITY_NAMES, LIFE, Signer

ANNOUNCE_S = 2 * 86400.0
KUBELETS_S = LIFE.total_seconds()


class Step(StrEnum):
    STABLE = "stable"
    ANNOUNCED = "announced"
    SWITCHED = "switched"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where it stands."""

    step: Step
    changed_at: float | None
    blockers: tuple[str, ...]
    "Why the next step is not taken yet."
    advice: str
    "What happens next, or what the admin does."


def find_step(trust: Trust) -> Step:
    if trust.next is not None:
        return Step.ANNOUNCED
    return Step.SWITCHED if trust.previous else Step.STABLE


def find_rotation(directory: Path, signer: Signer, now: float) -> Rotation:
    """`directory` is `pki/cluster` of the state. Raises UserError when it cannot be read."""
    trust = load_keys(directory, now).authorities[signer]
    step = find_step(trust)
    return Rotation(step, trust.changed_at, tuple(BLOCKERS[step](directory, trust, signer, now)), ADVICE[step])


def rotate(directory: Path, signer: Signer, now: float, force: bool = False) -> Rotation:
    """Take the next step. Raises UserError, with every reason, when it is too early; `force`: all the same."""
    with locked(directory):
        keys = load_keys(directory, now)
        trust = keys.authorities[signer]
        step = find_step(trust)
        blockers = list(BLOCKERS[step](directory, trust, signer, now))
        if blockers and not force:
            raise UserError(f"the {signer} authority is {step}: " + "; ".join(blockers), "wait, or use --force")
        after = replace(STEPS[step](trust, signer, now), changed_at=None if step is Step.SWITCHED else now)
        save_keys(directory, ClusterKeys(
            authorities={**keys.authorities, signer: after},
            service_account=keys.service_account,
            service_account_public=keys.service_account_public,
            encryption_key=keys.encryption_key,
        ))  # fmt: skip
    return find_rotation(directory, signer, now)


def _begin(trust: Trust, signer: Signer, now: float) -> Trust:
    return replace(trust, next=make_authority(AUTHORITY_NAMES[signer], at_time(now)))


def _switch(trust: Trust, _signer: Signer, _now: float) -> Trust:
    assert trust.next is not None, "this step comes after the first"
    return Trust(signing=trust.next, previous=trust.signing.pem)


def _finish(trust: Trust, _signer: Signer, _now: float) -> Trust:
    return replace(trust, previous="")


def _none(_directory: Path, _trust: Trust, _signer: Signer, _now: float) -> Iterator[str]:
    return iter(())


def _too_early_to_switch(_directory: Path, trust: Trust, _signer: Signer, now: float) -> Iterator[str]:
    until = (trust.changed_at or 0.0) + ANNOUNCE_S
    if now < until:
        yield f"machines have until {at_time(until):%Y-%m-%d %H:%M} UTC to learn of the new one"


def _too_early_to_finish(directory: Path, trust: Trust, signer: Signer, now: float) -> Iterator[str]:
    old = parse_certificate(trust.previous).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for owner in list_owners(directory):
        left = sorted(_in_use(directory, owner, old.digest.hex(), now))
        if left and owner != SERVER:
            yield f"{owner} may use {', '.join(left)} by the old one"
    until = (trust.changed_at or 0.0) + KUBELETS_S
    if signer is Signer.CLUSTER and now < until:
        yield f"kubelets may have certificates by the old one until {at_time(until):%Y-%m-%d}"


def _in_use(directory: Path, owner: str, authority: str, now: float) -> Iterator[str]:
    """Leaves of which a certificate by `authority` is out that nothing has taken the place of."""
    for name, issued in load_issued(directory, owner).items():
        serials = issued.serials.values()
        if any(_is_held(each, authority, now) for each in serials):
            yield name


def _is_held(serial: Serial, authority: str, now: float) -> bool:
    return serial.authority == authority and serial.retired_at is None and not serial.forgotten and serial.until > now


STEPS: Mapping[Step, Callable[[Trust, Signer, float], Trust]] = {
    Step.STABLE: _begin,
    Step.ANNOUNCED: _switch,
    Step.SWITCHED: _finish,
}
BLOCKERS: Mapping[Step, Callable[[Path, Trust, Signer, float], Iterator[str]]] = {
    Step.STABLE: _none,
    Step.ANNOUNCED: _too_early_to_switch,
    Step.SWITCHED: _too_early_to_finish,
}
ADVICE: Mapping[Step, str] = {
    Step.STABLE: "nothing is to be done",
    Step.ANNOUNCED: "machines learn of the new authority; switch to it in two days",
    Step.SWITCHED: "machines renew their certificates; install each master again, one by one, if it is `cluster`'s",
}
