"""A token's life, and who may have which."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import pytest
from pki_keys import Clock

from bootstrapper.errors import UserError
from bootstrapper.pki.bootstrap_tokens import (
    BootstrapToken,
    TokenShelf,
    TokenState,
    find_state,
    may_ask_again,
    may_hand_out,
    mint_token,
)

MAC, OTHER = "00:25:90:c0:f6:ee", "00:25:90:c0:f6:ef"
TOKEN = BootstrapToken(MAC, "abcdef", "0123456789abcdef", minted_at=1000.0)
CREATED = replace(TOKEN, expires_at=100_000.0)
USED = replace(CREATED, secret="", used_at=2000.0)


@pytest.mark.parametrize(
    ("token", "now", "state", "handed_out", "again"),
    [
        (TOKEN, 1000.0, TokenState.WAITING, True, False),
        (TOKEN, 1e9, TokenState.WAITING, True, False),  # it does not age before its Secret exists
        (CREATED, 1000.0, TokenState.CREATED, True, False),
        (CREATED, 96_399.0, TokenState.CREATED, True, False),
        (CREATED, 96_400.0, TokenState.CREATED, False, False),  # an hour left: too little to install in
        (CREATED, 99_999.0, TokenState.CREATED, False, False),
        (CREATED, 100_000.0, TokenState.EXPIRED, False, True),
        (USED, 3000.0, TokenState.USED, False, False),
        (USED, 200_000.0, TokenState.USED, False, False),
    ],
)
def test_the_rules(token, now, state, handed_out, again):
    assert (find_state(token, now), may_hand_out(token, now), may_ask_again(token, now)) == (state, handed_out, again)


def test_a_machine_without_a_token():
    assert not may_hand_out(None, 0.0)
    assert may_ask_again(None, 0.0)


def test_the_form_that_kubernetes_wants():
    picks = random.Random(7)
    for _ in range(50):
        assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", mint_token(MAC, 0.0, picks.choice).text)


def test_a_token_shows_no_secret():
    assert "0123456789abcdef" not in repr(TOKEN)


@pytest.fixture
def clock():
    return Clock(1000.0)


@pytest.fixture
def shelf(tmp_path, clock):
    return TokenShelf(tmp_path, clock, random.Random(1).choice)


def test_its_life(shelf, clock):
    token = shelf.hand_out(MAC)
    assert shelf.hand_out(MAC) == token
    assert shelf.pending_tokens() == [token]
    assert shelf.find_owner(token.id) is None, "it has no Secret yet: nobody can have come by it"
    shelf.mark_created(MAC, token.id, 90_000.0)
    assert shelf.pending_tokens() == []
    assert shelf.find_owner(token.id) == MAC
    assert shelf.hand_out(MAC).text == token.text
    shelf.mark_used(MAC, token.id)
    assert shelf.find(MAC).secret == ""
    assert shelf.find_owner(token.id) is None
    again = shelf.hand_out(MAC)
    assert again.id != token.id and shelf.pending_tokens() == [again]


def test_one_that_ran_out_is_replaced_when_asked_for(shelf, clock):
    token = shelf.hand_out(MAC)
    shelf.mark_created(MAC, token.id, 90_000.0)
    assert shelf.ask_again(MAC) is None
    clock.now = 90_000.0
    assert shelf.find_owner(token.id) is None
    assert shelf.pending_tokens() == []
    again = shelf.ask_again(MAC)
    assert again.id != token.id
    assert shelf.ask_again(MAC) is None
    assert shelf.pending_tokens() == [again]


def test_one_whose_secret_is_gone_gets_it_again(shelf):
    token = shelf.hand_out(MAC)
    shelf.mark_created(MAC, token.id, 90_000.0)
    shelf.mark_lost(MAC, token.id)
    assert shelf.pending_tokens() == [token]


def test_what_is_said_of_a_replaced_token_changes_nothing(shelf, clock):
    old = shelf.hand_out(MAC)
    shelf.mark_created(MAC, old.id, 1500.0)
    clock.now = 2000.0
    new = shelf.hand_out(MAC)
    shelf.mark_created(MAC, old.id, 90_000.0)
    shelf.mark_used(MAC, old.id)
    assert shelf.find(MAC) == new
    assert shelf.find_owner(old.id) is None


def test_two_of_one_id_own_nothing(tmp_path, clock):
    shelf = TokenShelf(tmp_path, clock, lambda alphabet: alphabet[0])
    for mac in (MAC, OTHER):
        shelf.hand_out(mac)
        shelf.mark_created(mac, "aaaaaa", 90_000.0)
    assert shelf.find_owner("aaaaaa") is None


def test_another_process_sees_it(shelf, tmp_path, clock):
    other = TokenShelf(tmp_path, clock, random.Random(2).choice)
    token = shelf.hand_out(MAC)
    assert other.pending_tokens() == [token]
    other.mark_created(MAC, token.id, 90_000.0)
    assert shelf.pending_tokens() == []
    assert shelf.find_owner(token.id) == MAC
    other.forget(MAC, token.minted_at - 1)
    assert shelf.find(MAC) == other.find(MAC) is not None
    other.forget(MAC, token.minted_at)
    assert shelf.find(MAC) is None


@pytest.mark.parametrize(
    "change",
    [{"secret": ""}, {"secret": "short"}, {"id": "ABCDEF"}, {"mac": OTHER}, {"expires_at": "soon"}, {"more": 1}],
)
def test_a_damaged_file_is_named(shelf, tmp_path, change):
    shelf.hand_out(MAC)
    path = tmp_path / "tokens/00-25-90-c0-f6-ee.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"00-25-90-c0-f6-ee\.json is damaged") as caught:
        shelf.load_all()
    assert "new token" in caught.value.hint
