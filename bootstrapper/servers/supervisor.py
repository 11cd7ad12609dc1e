"""The process that starts the others, starts them again when they fall, and replaces them on a reload.

It has one thread and no event loop, so that forking is safe; it holds every listening socket, so that a child that
dies or is replaced loses no datagram: the kernel keeps them for the next. Each service is one child, which makes one
service's load or fault its own.

A reload does not change a running child: a new one is forked with the new description, and the old one is told to
finish what it has in hand. No process ever sees half of an edit.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bootstrapper.servers.logs import LOGGER
from bootstrapper.servers.privileges import end_with_parent

SIGNALS = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
TICK_S = 0.5
SETTLED_S = 30.0
"A child that lived this long is well; its next fall is restarted at once."


class Child(Protocol):
    """Something the supervisor keeps alive."""

    name: str

    def start(self, now: float) -> None: ...
    def poll(self, now: float) -> None:
        """Notice an end and start again when its time has come."""

    def terminate(self) -> None:
        """Ask for a clean end; `poll` starts it no more."""

    def kill(self) -> None: ...
    @property
    def running(self) -> bool: ...


@dataclass
class Service:
    """A child made by fork: `run` is its whole life. It returns or raises SystemExit on SIGTERM."""

    name: str
    run: Callable[[], None]
    overlap: bool = False
    "On a reload the new one starts while the old one finishes (downloads); otherwise one after the other (leases)."
    pid: int = 0
    wanted: bool = True
    started_at: float = 0.0
    start_at: float = 0.0
    falls: int = 0

    @property
    def running(self) -> bool:
        return self.pid != 0

    def start(self, now: float) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.started_at = now
        parent = os.getpid()
        # The child's collections would write to every page that it shares with us, 10,000 machines, and so copy it.
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            _live(self.run, self.name, parent)
        gc.unfreeze()

    def poll(self, now: float) -> None:
        if self.pid and self._ended():
            self.pid = 0
            if self.wanted:
                self.falls = 0 if now - self.started_at > SETTLED_S else self.falls + 1
                wait_s = min(10.0, 0.1 * 2 ** min(self.falls, 10)) if self.falls else 0.0
                self.start_at = now + wait_s
        if not self.pid and self.wanted and now >= self.start_at:
            self.start(now)

    def terminate(self) -> None:
        self.wanted = False
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid:
            os.kill(self.pid, number)

    def _ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid and self.wanted:
            code = os.waitstatus_to_exitcode(status)
            logging.getLogger(LOGGER).error("%s ended unexpectedly (%s): starting it again", self.name, _words(code))
        return bool(pid)


def _same(old: Child, new: Child | None) -> bool:
    """Whether the running `old` does already what `new` would: pulling a large image survives an edit elsewhere."""
    settings = getattr(old, "settings", "")
    return bool(settings) and settings == getattr(new, "settings", "")


def _words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _live(run: Callable[[], None], name: str, parent: int) -> None:
    """The forked child: ordinary signals, one function, no way back into the supervisor's code."""
    code = 1
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        end_with_parent(parent)
        run()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        logging.getLogger(LOGGER).exception("%s failed", name)
    finally:
        sys.stderr.flush()
        os._exit(code)


@dataclass
class Supervisor:
    """`reload` is called on SIGHUP or when `changed()` says so; it returns the services to run from now on, or None
    when the new description was refused (it has said why)."""

    services: list[Child]
    reload: Callable[[], list[Child] | None]
    changed: Callable[[], bool]
    monotonic: Callable[[], float]
    stop_s: float = 10.0
    leaving: list[Child] = field(default_factory=list)

    def run(self) -> None:
        """Until SIGTERM or SIGINT; every child has ended when it returns."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for service in self.services:
            service.start(self.monotonic())
        while True:
            found = signal.sigtimedwait(SIGNALS, TICK_S)
            number = found.si_signo if found else 0
            if number in (signal.SIGTERM, signal.SIGINT):
                break
            for child in (*self.services, *self.leaving):
                child.poll(self.monotonic())
            self.leaving = [child for child in self.leaving if child.running]
            if number == signal.SIGHUP or self.changed():
                self._reload()
        self._stop((*self.services, *self.leaving))

    def _reload(self) -> None:
        services = self.reload()
        if services is None:
            return
        by_name = {service.name: service for service in services}
        kept = {child.name: child for child in self.services if _same(child, by_name.get(child.name))}
        old = [child for child in self.services if child.name not in kept]
        fresh = [service for service in services if service.name not in kept]
        self.services = [kept.get(service.name, service) for service in services]
        for child in old:
            child.terminate()
        for child in old:
            if not getattr(by_name.get(child.name), "overlap", False):
                self._wait((child,))
        self.leaving += [child for child in old if child.running]
        for service in fresh:
            service.start(self.monotonic())

    def _stop(self, children: tuple[Child, ...]) -> None:
        for child in children:
            child.terminate()
        self._wait(children)

    def _wait(self, children: tuple[Child, ...]) -> None:
        """Wait for `children` to end, and end them after `stop_s` seconds."""
        until = self.monotonic() + self.stop_s
        while any(child.running for child in children):
            if self.monotonic() > until:
                for child in children:
                    if child.running:
                        logging.getLogger(LOGGER).warning("%s did not end in %d s: killed", child.name, self.stop_s)
                        child.kill()
                until = self.monotonic() + self.stop_s
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)
            for child in children:
                child.poll(self.monotonic())
