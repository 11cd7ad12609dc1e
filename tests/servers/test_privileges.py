"""Dropping privileges, each in a forked process (it cannot be undone)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootstrapper.errors import UserError
from bootstrapper.servers.privileges import Account, drop_privileges, find_account, hand_over

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


@needs_root
def test_what_is_given_to_the_account_is_below_the_state_whatever_it_does_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was broken into has a program left that waits for root to start it again."""
    state, outside = tmp_path / "state", tmp_path / "etc"
    for folder in (state / "pki/cluster", outside / "cluster"):
        folder.mkdir(parents=True)
        (folder / "shadow").touch()
    (state / "link").symlink_to(outside / "cluster/shadow")
    (state / "pki/folder").symlink_to(outside)
    real, given = os.chown, []

    def chown(path: Any, *args: Any, **more: Any) -> None:
        given.append(path)
        if len(given) == 3:  # in the midst of it
            (state / "pki/cluster").rename(state / "pki/gone")
            (state / "pki/cluster").symlink_to(outside / "cluster")
        real(path, *args, **more)

    monkeypatch.setattr(os, "chown", chown)
    hand_over(state, Account(4000, 4001, "somebody"))
    assert len(given) >= 3
    assert {path.stat().st_uid for path in (outside, *outside.rglob("*"))} == {0}
    monkeypatch.undo()
    (state / "pki/cluster").unlink()
    (state / "pki/gone").rename(state / "pki/cluster")
    hand_over(state, Account(4000, 4001, "somebody"))
    ours = [state, *state.rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in ours} == {(4000, 4001)}
    assert len(ours) == 6
    assert {path.stat().st_uid for path in (outside, *outside.rglob("*"))} == {0}
