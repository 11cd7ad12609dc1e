"""The claim: who may fetch a configuration with secrets, and who may report (design.md rule 3).

A token is minted for one boot of one machine. Only its SHA-256 is kept. The rules are pure; the store keeps the
record and applies `redeem` in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address

from bootstrapper.boot.history import History
from bootstrapper.boot.uuids import parse_uuid, same_uuid

GRACE_S = 120.0
"After the first claim: an installer that lost the answer, or that reads in pieces, may ask again this long."
GRACE_CLAIMS = 3
"How often in all within the grace, which ends when the installer reports that it has the configuration."


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a minted token."""

    digest: str
    "SHA-256 of the token, hex."
    mac: str
    "The machine's first MAC."
    address: IPv4Address
    "The address leased to (or reserved for) the machine when the token was minted."
    generation: int
    minted_at: float
    expires_at: float
    redeemed_at: float | None = None
    "First successful claim of the configuration."
    claims: int = 0
    "How often the configuration was handed out (1, or more within the grace)."
    sealed: bool = False
    "The install was reported done: the configuration is never handed out again."
    uuid: str = ""
    "SMBIOS UUID of the board that it was minted for; empty: that is not known, and the claim is not asked for it."
    failed: bool = False
    "Whoever claimed with it said that it has the configuration, and then that its install failed."
    plan: str = ""
    "What the machine was when it claimed (`cluster.installed_as`)."


class ClaimRefusal(StrEnum):
    """Why a claim fails. For the log and the admin only: the client sees one constant 404."""

    UNKNOWN = "unknown token"
    EXPIRED = "expired"
    ADDRESS = "wrong address"
    UUID = "wrong UUID"
    GENERATION = "generation closed"
    SEALED = "sealed"
    CLAIMED = "claimed before"
    SUPERSEDED = "a newer boot took its place"
    HELD = "machine on hold"
    "Of a claim in which all else is right: it is asked to come again."


def check_claim(
    token: Token | None, address: IPv4Address, history: History, now: float, newest: str, uuid: str | None = None
) -> ClaimRefusal | None:
    """Whether `token`, presented from `address`, may claim the configuration; None: it may.

    `history` is that of the token's machine, `newest` the digest of the machine's latest token, `uuid` the
    board's as the claim tells it (None: it is not asked for, for the text has no secrets). The order is that of the
    admin's interest: what became of the install first, then whether this is the right boot of the right machine.
    """
    if token is None:
        return ClaimRefusal.UNKNOWN
    if token.sealed:
        return ClaimRefusal.SEALED
    if not history.open or token.generation != history.wanted:
        return ClaimRefusal.GENERATION
    if token.address != address:
        return ClaimRefusal.ADDRESS
    if uuid is not None and token.uuid and not _is_board(token.uuid, uuid):
        return ClaimRefusal.UUID
    if token.digest != newest:
        return ClaimRefusal.SUPERSEDED
    if token.redeemed_at is not None and not _within_grace(token, token.redeemed_at, now):
        return ClaimRefusal.CLAIMED
    if now >= token.expires_at:
        return ClaimRefusal.EXPIRED
    return ClaimRefusal.HELD if history.held else None


def is_handed_out(before: Token, token: Token) -> bool:
    """Whether `before`, of another boot for the install that `token` is for, has its configuration, and did not say
    that the install failed. (A machine that lost its power in the middle did not, either.)"""
    return (
        before.digest != token.digest
        and before.generation == token.generation
        and before.redeemed_at is not None
        and not before.failed
    )


def mark_claimed(token: Token, now: float, plan: str = "") -> Token:
    """`token` after a claim that `check_claim` allowed."""
    first_at = now if token.redeemed_at is None else token.redeemed_at
    return replace(token, redeemed_at=first_at, claims=token.claims + 1, plan=plan)


def _is_board(kept: str, told: str) -> bool:
    uuid = parse_uuid(told)
    return uuid is not None and same_uuid(kept, uuid)


def _within_grace(token: Token, first_at: float, now: float) -> bool:
    return token.claims < GRACE_CLAIMS and now <= first_at + GRACE_S
