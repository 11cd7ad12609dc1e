"""Who gets a token."""

from __future__ import annotations

from ipaddress import IPv4Address
from uuid import UUID

import pytest
from rack import make_machine

from bootstrapper.boot.decide import Action, Decision
from bootstrapper.boot.minting import build_token, check_mint

INSTALL = Decision(Action.INSTALL, "", 1)
OWN = IPv4Address("10.10.14.11")
LEASED = IPv4Address("10.10.14.105")
UUID_TEXT = "00112233-4455-6677-8899-aabbccddeeff"


def check(decision=INSTALL, source=OWN, leased=(), told=None, **changes):
    refusal = check_mint(decision, make_machine(**changes), source, leased, UUID(told) if told else None)
    return None if refusal is None else refusal.name


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.INSTALL])
def test_only_an_open_install(action):
    assert check(Decision(action, "")) == "DECISION"


def test_only_from_the_machines_address():
    assert check() is None
    assert check(source=LEASED) == "ADDRESS"
    assert check(source=LEASED, leased=(LEASED,)) is None
    assert check(source=LEASED, leased=(LEASED,), ip=None) is None
    assert check(ip=None) == "ADDRESS"


@pytest.mark.parametrize(
    ("told", "outcome"),
    [(None, None), (UUID_TEXT, None), ("33221100-5544-7766-8899-aabbccddeeff", None),
     ("00112233-4455-6677-8899-aabbccddee00", "UUID")],
)  # fmt: skip
def test_the_uuid_in_either_byte_order(told, outcome):
    assert check(told=told, uuid=UUID_TEXT) == outcome


def test_a_token_lives_long_enough_for_a_thousand_downloads_at_once():
    token = build_token("d", make_machine(), OWN, 3, 1000.0)
    assert (token.mac, token.generation, token.minted_at, token.expires_at) == ("00:25:90:c0:f7:80", 3, 1000.0, 22600.0)
    assert 1000 * 450e6 / 125e6 * 2 < 22600.0 - 1000.0  # bytes at 1 Gb/s, with the images that are fetched meanwhile
