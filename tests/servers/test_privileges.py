"""Dropping privileges, each in a forked process (it cannot be undone)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrapper.errors import UserError
from bootstrapper.servers.privileges import Account, drop_privileges, find_account

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to have something to drop")


def in_a_child(work: Callable[[], str]) -> str:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = work()
        except BaseException as error:
            text = repr(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def status(*names: str) -> str:
    lines = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return " ".join(lines[name].strip().split("\t")[0] for name in names)


@needs_root
@pytest.mark.parametrize("uid", [65534, 0])
def test_only_low_ports_are_left(uid: int) -> None:
    def work() -> str:
        drop_privileges(Account(uid, uid, "somebody"))
        return status("Uid", "Gid", "CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs")

    bind = "0000000000000400"
    assert in_a_child(work) == f"{uid} {uid} {bind} {bind} {bind} {bind} 1"


@needs_root
def test_there_is_no_way_back() -> None:
    def work() -> str:
        drop_privileges(Account(65534, 65534, "nobody"))
        os.setresuid(0, 0, 0)
        return "root again"

    assert in_a_child(work) == "PermissionError(1, 'Operation not permitted')"


def test_a_user_that_is_not_there_is_named_with_the_remedy() -> None:
    with pytest.raises(UserError) as caught:
        find_account("no-such-user")
    assert "no-such-user" in caught.value.message
    assert caught.value.hint == (
        "create it (useradd --system --home-dir /nonexistent no-such-user), or name another with --user"
    )
