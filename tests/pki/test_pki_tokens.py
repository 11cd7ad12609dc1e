from __future__ import annotations

import pytest

from bootstrapper.pki.tokens import digest_token, is_token, mint_token, name_token


def test_a_token_is_256_bits_of_url_text():
    asked = []
    token = mint_token(lambda count: asked.append(count) or b"\xff\xfb" * 16)
    assert asked == [32]
    assert token == "__v_-__7__v_-__7__v_-__7__v_-__7__v_-__7__s"
    assert is_token(token)


def test_the_digest_is_sha256():
    assert digest_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert name_token(digest_token("abc")) == "ba7816bf"


@pytest.mark.parametrize("text", ["", "x" * 42, "x" * 44, "x" * 42 + "=", "x" * 42 + "\n", "é" * 43, "x" * 43 + "\n"])
def test_what_is_no_token(text):
    assert not is_token(text)
