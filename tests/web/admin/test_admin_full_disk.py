"""An admin who is logged in sees on the pages that the state cannot be written, and orders say it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from adminplane import TOKEN, AdminPlane
from pages_site import Visitor

from bootstrapper.state.schema import Unwritable

FULL = Unwritable("state.db: the disk is full: nothing was written", "make room")


@contextmanager
def fail() -> Iterator[None]:
    raise FULL
    yield


def test_the_pages_and_the_orders(admin: AdminPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(admin.browser())
    visitor.log_in(TOKEN)
    tried: list[float] = []

    def refuse(*_: object) -> None:
        tried.append(admin.clock)
        raise FULL

    monkeypatch.setattr(admin.store, "_write", fail)
    monkeypatch.setattr(admin.store, "save_note", refuse)
    for _ in range(10):
        admin.clock += 30
        for path in ("/", "/status", "/machines/node1", "/events", "/unknown"):
            visitor.get(path)
    assert len(tried) == 5, "once a minute that the session was used"
    for path in ("/", "/status"):
        assert "the state cannot be written: state.db: the disk is full" in visitor.get(path)
    for order in ("hold", "reinstall"):
        reply = admin.ask("POST", "/api/v1/machines/node1/orders", {"order": order})
        assert reply.status_code == 503
        assert reply.json["error"] == "state.db: the disk is full: nothing was written"
