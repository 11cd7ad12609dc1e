"""A watched child, with a shell for a program and a clock by hand."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from rack import make_cluster

from bootstrapper.errors import UserError
from bootstrapper.servers.children import WatchedChild
from bootstrapper.servers.chrony import check_time_port, find_chronyd, make_chrony


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    logger = logging.getLogger("bootstrapper")
    kept = logger.propagate, logger.level
    logger.propagate = True
    caplog.set_level(logging.INFO, "bootstrapper")
    yield
    logger.propagate, logger.level = kept


def until(true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 4 s")


def shell(script: str, **more: object) -> WatchedChild:
    return WatchedChild("thing", ["/bin/sh", "-c", script], **more)  # type: ignore[arg-type]


def polled(child: WatchedChild, now: float) -> bool:
    child.poll(now)
    return not child.running


def test_what_it_says_is_in_our_log(caplog: pytest.LogCaptureFixture) -> None:
    child = shell("echo '2026-01-02T03:04:05Z hello'; printf 'a\\033b\\nno newline, an error' >&2; sleep 60")
    child.start(0.0)
    until(lambda: child.poll(1.0) or len(caplog.messages) >= 2)  # type: ignore[func-returns-value]
    child.stop(5)
    assert caplog.messages[:2] == ["thing: hello", "thing: a?b"]
    assert not child.running


def test_an_end_is_noticed_and_it_starts_again_later_and_later(caplog: pytest.LogCaptureFixture) -> None:
    child = shell("exit 3")
    starts = []
    now = 0.0
    child.start(now)
    while len(starts) < 4:
        until(partial(polled, child, now))
        begun = now
        while not child.running:
            now += 0.25
            child.poll(now)
        starts.append(now - begun)
    child.stop(5)
    assert starts == [0.5, 1.0, 2.0, 4.0]
    assert caplog.messages == ["thing ended unexpectedly (exit status 3): starting it again"]


def test_one_that_ran_for_long_starts_again_at_once() -> None:
    child = shell("sleep 60")
    child.start(0.0)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: child.poll(100.0) or child.pid not in (0, first))  # type: ignore[func-returns-value]
    child.stop(5)


def test_terminate_is_final() -> None:
    child = shell("exec sleep 60")
    child.start(0.0)
    child.terminate()
    until(lambda: polled(child, 1.0))
    child.poll(1000.0)
    assert not child.running


def test_one_that_will_not_end_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    child = shell("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    child.start(0.0)
    until(lambda: child.poll(0.0) or "thing: ready" in caplog.messages)  # type: ignore[func-returns-value]
    child.stop(0.2)
    assert not child.running
    assert caplog.messages[-1] == "thing did not end in 0 s: killed"


def test_a_program_that_is_missing_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    child = WatchedChild("thing", ["/nonexistent/thing"], hint="install it")
    child.start(0.0)
    for now in range(1, 300):
        child.poll(float(now))
    assert len(caplog.messages) == 1
    assert "No such file" in caplog.messages[0]
    assert "install it" in caplog.messages[0]


def test_signals_that_the_supervisor_blocks_reach_the_child() -> None:
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        child = WatchedChild("thing", [sys.executable, "-c", "import time; time.sleep(60)"])
        child.start(0.0)
        child.terminate()
        until(lambda: polled(child, 0.0))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def test_a_torrent_of_lines_is_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    child = shell("seq 1 2000; sleep 60")
    child.start(0.0)
    until(lambda: child.poll(0.0) or any("more lines" in line for line in caplog.messages))  # type: ignore[func-returns-value]
    child.stop(5)
    assert len(caplog.messages) < 300


def test_prepare_runs_before_each_start(tmp_path: Path) -> None:
    child = shell("sleep 60", prepare=lambda: (tmp_path / "here").touch())
    child.start(0.0)
    child.stop(5)
    assert (tmp_path / "here").exists()


def test_chrony_is_made_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "chronyd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "state" / "chrony"
    child = make_chrony(make_cluster(), folder)
    assert child.command == [str(program), "-d", "-U", "-u", "root", "-x", "-f", str(folder / "chrony.conf")]
    assert (folder / "chrony.conf").read_text().startswith("port 123\nbindaddress 10.10.14.253\n")
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "chronyd.pid").write_text("1")
    child.prepare()
    assert not (folder / "chronyd.pid").exists()


def test_without_chrony_the_admin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("bootstrapper.servers.chrony._SEARCH", "/nonexistent")
    with pytest.raises(UserError, match="there is no chronyd") as caught:
        find_chronyd()
    assert "network.ntp.serve: false" in caught.value.hint


@pytest.mark.loopback
def test_a_taken_time_port_is_told() -> None:
    cluster = make_cluster()
    network = replace(cluster.network, bootstrapper=IPv4Address("127.0.0.1"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"UDP port \d+ \(NTP\) on 127.0.0.1 is taken"):
            check_time_port(network, taken.getsockname()[1])
