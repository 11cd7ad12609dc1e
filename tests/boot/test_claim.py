"""The rules of the claim, as a table: one fault at a time, and which one is named when there are several."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from bootstrapper.boot.claim import ClaimRefusal, Token, check_claim, mark_claimed
from bootstrapper.boot.history import History

ADDRESS = IPv4Address("10.20.0.11")
TOKEN = Token("d1", "52:54:00:00:00:01", ADDRESS, generation=2, minted_at=1000.0, expires_at=1900.0)
OPEN = History(wanted=2, done=1)


def check(
    token: dict[str, Any] | None = None, address: str = "10.20.0.11", history: History = OPEN, now: float = 1100.0,
    newest: str = "d1",
) -> ClaimRefusal | None:  # fmt: skip
    return check_claim(replace(TOKEN, **(token or {})), IPv4Address(address), history, now, newest)


def test_the_right_token_at_the_right_time_claims() -> None:
    assert check() is None


def test_unknown() -> None:
    assert check_claim(None, ADDRESS, OPEN, 1100.0, "") is ClaimRefusal.UNKNOWN


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"token": {"sealed": True}}, "sealed"),
        ({"history": History(wanted=2, done=1, held="five installs in an hour")}, "machine on hold"),
        ({"history": History(wanted=2, done=2)}, "generation closed"),
        ({"history": History(wanted=3, done=2)}, "generation closed"),
        ({"history": History(wanted=3, done=1)}, "generation closed"),
        ({"token": {"generation": 1}}, "generation closed"),
        ({"address": "10.20.0.12"}, "wrong address"),
        ({"token": {"uuid": "4c4c4544-0042-3510-8048-b4c04f4e4232"}}, None),  # not asked for it
        ({"newest": "d2"}, "a newer boot took its place"),
        ({"newest": ""}, "a newer boot took its place"),
        ({"now": 1899.9}, None),
        ({"now": 1900.0}, "expired"),
        ({"now": 9999.0}, "expired"),
        ({"now": 900.0}, None),  # the clock was set back since: the token is not older for that
        # the grace: three claims in all, within 120 s of the first, before the token's end
        ({"token": {"redeemed_at": 1100.0, "claims": 1}, "now": 1220.0}, None),
        ({"token": {"redeemed_at": 1100.0, "claims": 2}, "now": 1220.0}, None),
        ({"token": {"redeemed_at": 1100.0, "claims": 3}, "now": 1101.0}, "claimed before"),
        ({"token": {"redeemed_at": 1100.0, "claims": 1}, "now": 1220.1}, "claimed before"),
        ({"token": {"redeemed_at": 1890.0, "claims": 1}, "now": 1901.0}, "expired"),
        ({"token": {"redeemed_at": 1100.0, "claims": 1}, "now": 1101.0, "address": "10.20.0.99"}, "wrong address"),
        ({"token": {"redeemed_at": 1100.0, "claims": 1}, "now": 1101.0, "newest": "d2"}, "a newer boot took its place"),
        # several faults: what became of the install comes first
        ({"token": {"sealed": True, "generation": 1}, "now": 9999.0, "address": "10.20.0.99"}, "sealed"),
        ({"history": History(wanted=2, done=2, held="by the admin")}, "generation closed"),
        # of a claim that is right in all else: whoever is told to come again learns that
        ({"history": replace(OPEN, held="by the admin"), "address": "10.20.0.12"}, "wrong address"),
        ({"history": replace(OPEN, held="by the admin"), "newest": "d2"}, "a newer boot took its place"),
        ({"history": replace(OPEN, held="by the admin"), "now": 1900.0}, "expired"),
        ({"now": 9999.0, "address": "10.20.0.99"}, "wrong address"),
    ],
)
def test_each_rule(change: dict[str, Any], refusal: str | None) -> None:
    assert check(**change) == refusal


def test_claims_are_counted_and_the_first_time_is_kept() -> None:
    once = mark_claimed(TOKEN, 1100.0)
    assert (once.redeemed_at, once.claims) == (1100.0, 1)
    twice = mark_claimed(once, 1150.0)
    assert (twice.redeemed_at, twice.claims) == (1100.0, 2)


@pytest.mark.parametrize(
    ("kept", "told", "refusal"),
    [
        ("4c4c4544-0042-3510-8048-b4c04f4e4232", "4C4C4544-0042-3510-8048-B4C04F4E4232", None),
        ("4c4c4544-0042-3510-8048-b4c04f4e4232", "44454c4c-4200-1035-8048-b4c04f4e4232", None),
        ("4c4c4544-0042-3510-8048-b4c04f4e4232", "4c4c4544-0042-3510-8048-b4c04f4e4233", "wrong UUID"),
        ("4c4c4544-0042-3510-8048-b4c04f4e4232", "", "wrong UUID"),
        ("4c4c4544-0042-3510-8048-b4c04f4e4232", "not one", "wrong UUID"),
        ("", "4c4c4544-0042-3510-8048-b4c04f4e4232", None),
        ("", "", None),
    ],
)
def test_the_board(kept: str, told: str, refusal: str | None) -> None:
    assert check_claim(replace(TOKEN, uuid=kept), ADDRESS, OPEN, 1100.0, "d1", told) == refusal
    assert check_claim(replace(TOKEN, uuid=kept), ADDRESS, OPEN, 1100.0, "d1", None) is None
