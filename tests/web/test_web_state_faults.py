"""The state's disk is full, or another program keeps its database locked: who gets what all the same.

A valid claim hears 503, for a 404 ends an installer for good; what writes nothing is answered as ever.
"""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rack import NODE1_MAC

from bootstrapper.boot.history import History, MachineState
from bootstrapper.state.schema import Unwritable

INSTALLED = History(wanted=1, done=1, state=MachineState.INSTALLED)


@pytest.fixture
def full(plane, monkeypatch):
    """Ends where it is called: every write fails from then on."""

    def begin() -> None:
        monkeypatch.setattr(plane.store, "_write", fail)

    @contextmanager
    def fail() -> Iterator[None]:
        raise Unwritable("state.db: the disk is full: nothing was written", "make room")
        yield

    return begin


def read(reply):
    return reply.status_code, reply.data, reply.headers.get("Retry-After")


NOT_READY = (503, b"not ready, ask again\n", "10")
MISSING = (404, b"not found\n", None)


def test_a_valid_claim_on_a_full_disk_is_asked_to_come_again(plane, full):
    plane.boot()
    url = f"https:/m/{plane.tokens[-1]}/config"
    full()
    for _ in range(3):
        assert read(plane.get(url)) == NOT_READY
        plane.clock += 5


def test_reports_that_move_a_machine_on_a_full_disk_come_again(plane, full):
    plane.boot()
    token = plane.tokens[-1]
    assert plane.get(f"https:/m/{token}/config").status_code == 200
    full()
    assert read(plane.report(token, "installed")) == NOT_READY


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_keys_that_cannot_be_written_come_again(plane, monkeypatch, fault):
    """They are files beside the database."""

    def fail(*_: object) -> None:
        raise OSError(fault, "said the kernel")

    plane.boot()
    monkeypatch.setattr(plane.store, "redeem", fail)
    assert read(plane.get(f"https:/m/{plane.tokens[-1]}/config")) == NOT_READY


def test_another_fault_of_the_system_is_ours(plane, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    plane.boot()
    monkeypatch.setattr(plane.store, "redeem", fail)
    assert plane.get(f"https:/m/{plane.tokens[-1]}/config").status_code == 500


def test_a_fault_in_the_answer_to_a_fault_is_no_404(plane, monkeypatch):
    plane.boot()
    monkeypatch.setattr(plane.store, "redeem", lambda *_: 1 / 0)
    monkeypatch.setattr("bootstrapper.web.app._answer_fault", lambda *_: 1 / 0)
    assert read(plane.get(f"https:/m/{plane.tokens[-1]}/config")) == (500, b"internal error\n", None)


def test_an_unknown_token_gets_the_constant_404_all_the_same(plane, full):
    full()
    for url in ("/m/{}/install", "https:/m/{}/config"):
        assert read(plane.get(url.format("x" * 43))) == MISSING


def test_an_installed_machine_boots_its_disk_all_the_same(plane, full):
    plane.store.save_history(NODE1_MAC, INSTALLED)
    before = plane.boot()
    full()
    assert plane.boot() == before
    assert "exit" in before


def test_an_unknown_machine_gets_the_same_answer(plane, full):
    url = "/boot.ipxe?mac=52:54:00:aa:aa:aa&arch=7"
    before = read(plane.get(url, "10.10.14.77"))
    plane.clock += 60
    full()
    assert read(plane.get(url, "10.10.14.77")) == before


def test_files_are_sent_all_the_same(plane, full):
    (plane.assets / "image").write_bytes(b"x" * 100)
    full()
    assert read(plane.get("/assets/image")) == (200, b"x" * 100, None)
    assert read(plane.get("/assets/none")) == MISSING


def test_figures_are_told_all_the_same(plane, full):
    full()
    assert plane.get("/metrics").status_code == 200
    assert plane.get("/healthz").get_json()["ok"] is True


def test_a_locked_database_keeps_nobody_waiting_who_writes_nothing(plane):
    """`sqlite3 state.db`, `BEGIN IMMEDIATE`, and the admin goes home."""
    plane.store._wait_s = 60.0
    plane.store._connection.execute("PRAGMA busy_timeout = 60000")
    (plane.assets / "image").write_bytes(b"x" * 100)
    plane.store.save_history(NODE1_MAC, INSTALLED)
    other = sqlite3.connect(plane.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    for _ in range(3):
        assert plane.get("/assets/image").status_code == 200
        assert read(plane.get(f"https:/m/{'x' * 43}/config")) == MISSING
        assert "exit" in plane.boot()
        assert plane.get("/metrics").status_code == 200
    took = time.monotonic() - began
    other.execute("ROLLBACK")
    other.close()
    assert took < 30.0, "half of what one write would wait"
