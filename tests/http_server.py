"""A real HTTP or HTTPS server on loopback, for tests that speak to it over a socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rack import LINKS, make_cluster, make_environment, make_machine

from bootstrapper.nodeconfig.context import Output
from bootstrapper.pki.tokens import mint_token
from bootstrapper.servers.http import serve_http
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.web.app import create_app
from bootstrapper.web.parts import Parts


def make_app(directory: Path):
    cluster = make_cluster(make_machine(ip="127.0.0.1"))
    return create_app(
        Parts(
            cluster=lambda: cluster,
            store=SqliteStore(directory / "state.db"),
            environment=make_environment(),
            links=LINKS,
            authority_pem="",
            assets=directory / "assets",
            now=time.time,
            new_token=lambda: mint_token(os.urandom),
            render=lambda name, context, machine: Output(f"{name} of {machine.host}\n", "text/plain"),
            record=lambda event: None,
        )
    )


def listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def start(
    directory: Path,
    listener: socket.socket,
    tls: tuple[Path, Path] | None = None,
    request_s: float = 15.0,
    threads: int = 8,
    make: Callable[[], Any] | None = None,
) -> int:
    """As the supervisor does: a forked child on a socket that the parent keeps. `make` makes another application."""
    pid = os.fork()
    if pid == 0:
        try:
            bounds = {"threads": threads, "per_client": 6, "request_s": request_s}
            serve_http(make or (lambda: make_app(directory)), listener, tls=tls, workers=1, **bounds)
        finally:
            os._exit(0)
    wait_until(lambda: connects(listener.getsockname()[1]))
    return pid


def start_alone(directory: Path, listener: socket.socket) -> subprocess.Popen[bytes]:
    """In an interpreter of its own, for whoever measures its memory: a fork's pages are the test run's, and what the
    child writes to them would count as growth."""
    os.set_inheritable(listener.fileno(), True)
    command = [sys.executable, __file__, str(directory), str(listener.fileno())]
    child = subprocess.Popen(command, pass_fds=[listener.fileno()])
    wait_until(lambda: connects(listener.getsockname()[1]))
    return child


@contextmanager
def serving(directory: Path, tls: tuple[Path, Path] | None = None, request_s: float = 15.0) -> Iterator[int]:
    """The port of a server that ends with the block."""
    with listen() as listener:
        pid = start(directory, listener, tls, request_s)
        try:
            yield listener.getsockname()[1]
        finally:
            stop(pid)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    started = time.monotonic()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() - started > 8:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail("the server did not end within 8 s of SIGTERM")
        time.sleep(0.02)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    served = socket.socket(fileno=int(sys.argv[2]))
    serve_http(lambda: make_app(Path(sys.argv[1])), served, workers=1, threads=8, per_client=6)
