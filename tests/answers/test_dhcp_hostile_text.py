"""Hostile text in DHCP options: nothing of it comes back, and what is kept of it is harmless."""

from __future__ import annotations

import pytest
from dhcp_world import FIXED, OTHER, POOLED, STRANGER, World
from hostile import HOSTILE, MARK, every, is_harmless


@every
@pytest.mark.parametrize("mac", [FIXED, POOLED, STRANGER, OTHER])
def test_dhcp_repeats_nothing_and_keeps_harmless_text(kind, mac):
    data = HOSTILE[kind].encode("utf-8", "replace")
    uuid = b"\0" + (MARK.encode() * 4)[:16]
    options = dict.fromkeys((12, 15, 43, 66, 67, 77), data[:255])
    options |= {60: b"PXEClient:Arch:00007:" + data[:200], 81: b"\0\0\0" + data[:250], 93: b"\0\7", 97: uuid}
    world = World()
    for ask in (world.discover, lambda mac, options: world.select(mac, "10.10.14.11", options=options)):
        reply = ask(mac, options=options)
        if reply is not None:
            kept = {
                code: value for code, value in reply.options.items() if code not in (61, 97)
            }  # given back as they came
            assert MARK.encode() not in b"".join(kept.values())
            assert MARK.encode() not in world.outcome.reply.payload[28:236]  # chaddr, sname and file
        if world.outcome.event is not None:
            assert is_harmless(world.outcome.event.detail)
            assert MARK not in world.outcome.event.detail
        seen = world.outcome.sighting
        if seen is not None:
            assert all(is_harmless(text) for text in (seen.vendor_class, seen.host_name, seen.uuid, seen.arch))
            assert len(seen.vendor_class) <= 255
