"""The supervisor with real processes: falls, clean ends, reloads. Each child is a few lines that write to a pipe."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrapper.servers.children import WatchedChild
from bootstrapper.servers.supervisor import Child, Service, Supervisor


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text + "\n")


def stay(path: Path, word: str) -> Callable[[], None]:
    """A child that says who it is, then lives until SIGTERM, and says that it ended."""

    def run() -> None:
        signal.signal(signal.SIGTERM, lambda *_: (write(path, f"{word} ended"), os._exit(0)))
        write(path, f"{word} {os.getpid()}")
        while True:
            time.sleep(1)

    return run


class Running:
    """A supervisor in a forked process, as `serve` runs it (it takes over the signals of its process)."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                supervisor.run()
            finally:
                os._exit(0)
        threading.Event()

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return os.waitpid(self.pid, 0)[1]


@pytest.fixture
def start() -> Iterator[Callable[[Supervisor], Running]]:
    started: list[Running] = []

    def begin(supervisor: Supervisor) -> Running:
        started.append(Running(supervisor))
        return started[-1]

    yield begin
    for running in started:
        try:
            os.kill(running.pid, signal.SIGKILL)
            os.waitpid(running.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def supervise(services: list[Child], reload: Callable[[], list[Child] | None] = lambda: None) -> Supervisor:
    return Supervisor(services, reload, lambda: False, time.monotonic, stop_s=2.0)


def test_a_child_that_is_killed_is_started_again(tmp_path: Path, start: Callable[[Supervisor], Running]) -> None:
    log = tmp_path / "log"
    start(supervise([Service("a", stay(log, "a"))]))
    wait_until(lambda: len(lines(log)) == 1)
    os.kill(int(lines(log)[0].split()[1]), signal.SIGKILL)
    wait_until(lambda: len(lines(log)) == 2)
    assert lines(log)[0] != lines(log)[1]


def test_sigterm_ends_every_child_cleanly(tmp_path: Path, start: Callable[[Supervisor], Running]) -> None:
    log = tmp_path / "log"
    running = start(supervise([Service("a", stay(log, "a")), Service("b", stay(log, "b"))]))
    wait_until(lambda: len(lines(log)) == 2)
    assert running.stop() == 0
    assert sorted(line for line in lines(log) if "ended" in line) == ["a ended", "b ended"]


def test_a_child_that_does_not_end_is_killed(tmp_path: Path, start: Callable[[Supervisor], Running]) -> None:
    log = tmp_path / "log"

    def deaf() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        write(log, str(os.getpid()))
        while True:
            time.sleep(1)

    running = start(supervise([Service("deaf", deaf)]))
    wait_until(lambda: len(lines(log)) == 1)
    assert running.stop() == 0
    assert not Path(f"/proc/{lines(log)[0]}").exists()


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path, start: Callable[[Supervisor], Running]) -> None:
    log = tmp_path / "log"
    running = start(supervise([Service("a", stay(log, "a"))]))
    wait_until(lambda: len(lines(log)) == 1)
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: lines(log)[-1] == "a ended")


def test_a_reload_replaces_children_one_after_the_other(tmp_path: Path, start: Callable[[Supervisor], Running]) -> None:
    log = tmp_path / "log"
    running = start(supervise([Service("a", stay(log, "old"))], lambda: [Service("a", stay(log, "new"))]))
    wait_until(lambda: len(lines(log)) == 1)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: len(lines(log)) == 3)
    assert [line.split()[0] for line in lines(log)] == ["old", "old", "new"]
    assert lines(log)[1] == "old ended"


def test_a_program_that_would_be_started_the_same_way_is_left_alone(
    tmp_path: Path, start: Callable[[Supervisor], Running]
) -> None:
    """Machines that pull images do not notice an edit elsewhere in the description."""
    log = tmp_path / "log"
    script = f'echo "$0 $$" >> {log}; exec sleep 600'

    def make(name: str, settings: str) -> Child:
        return WatchedChild(name, ["sh", "-c", script, f"{name}-{settings}"], settings=settings)

    fresh: list[Child] = [make("same", "1"), make("other", "2"), make("never", "")]
    running = start(supervise([make("same", "1"), make("other", "1"), make("never", "")], lambda: fresh))
    wait_until(lambda: len(lines(log)) == 3)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: len(lines(log)) == 5)
    words = [line.split()[0] for line in lines(log)]
    assert sorted(words[3:]) == ["never-", "other-2"]
    pid = next(int(line.split()[1]) for line in lines(log) if line.startswith("same-1 "))
    os.kill(pid, 0)


def test_with_overlap_the_new_one_starts_while_the_old_one_finishes(
    tmp_path: Path, start: Callable[[Supervisor], Running]
) -> None:
    log = tmp_path / "log"

    def slow() -> None:
        def finish(*_: object) -> None:
            time.sleep(0.7)
            write(log, "old ended")
            os._exit(0)

        signal.signal(signal.SIGTERM, finish)
        write(log, f"old {os.getpid()}")
        while True:
            time.sleep(1)

    fresh = Service("a", stay(log, "new"), overlap=True)
    running = start(supervise([Service("a", slow, overlap=True)], lambda: [fresh]))
    wait_until(lambda: len(lines(log)) == 1)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: len(lines(log)) == 3)
    assert [line.split()[0] for line in lines(log)] == ["old", "new", "old"]


def test_a_refused_reload_changes_nothing(tmp_path: Path, start: Callable[[Supervisor], Running]) -> None:
    log = tmp_path / "log"
    asked = tmp_path / "asked"

    def refuse() -> None:
        write(asked, "refused")

    running = start(supervise([Service("a", stay(log, "a"))], refuse))
    wait_until(lambda: len(lines(log)) == 1)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: lines(asked) == ["refused"])
    time.sleep(0.3)
    assert len(lines(log)) == 1
