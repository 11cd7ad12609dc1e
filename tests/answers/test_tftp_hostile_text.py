"""Hostile text in TFTP requests: what is answered, and what a log would show of it."""

from __future__ import annotations

import pytest
from hostile import HOSTILE, MARK, every, is_harmless

from bootstrapper.answers.tftp import Refusal, Settings, answer_request
from bootstrapper.answers.transfer import content_of
from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.tftp import Request, build_packet, clean_text, parse_packet

FILES = {"undionly.kpxe": content_of(bytes(1000))}


@every
@pytest.mark.parametrize("opcode", [1, 2])
@pytest.mark.parametrize("field", ["name", "mode", "option", "value"])
def test_a_request_is_refused_in_our_own_words(kind: str, field: str, opcode: int) -> None:
    fields = {"name": b"undionly.kpxe", "mode": b"octet", "option": b"blksize", "value": b"1400"}
    fields[field] = HOSTILE[kind].encode("utf-8", "replace")
    datagram = bytes([0, opcode]) + b"".join(value + b"\0" for value in fields.values())
    try:
        request = parse_packet(datagram)
    except MalformedPacket:
        return
    assert isinstance(request, Request)
    assert is_harmless(clean_text(request.name))
    answer = answer_request(request, FILES, Settings())
    if isinstance(answer, Refusal):
        assert MARK.encode() not in build_packet(answer.error)
        assert is_harmless(answer.detail)
        assert MARK not in answer.detail
    else:
        assert MARK not in repr(answer.terms)
