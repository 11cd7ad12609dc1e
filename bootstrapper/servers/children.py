"""A program of somebody else's, kept running: started, watched, started again after a while, stopped.

For a process with one thread and no event loop (`supervisor`, whose `Child` this is): nothing here blocks, `poll` does
what is due. What the program says goes to our log, line by line.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bootstrapper.servers.logs import LOGGER
from bootstrapper.servers.privileges import end_with_parent

SETTLED_S = 30.0
"A program that lived this long is well: its next fall is restarted at once."
LONGEST_WAIT_S = 30.0
LINES_AT_ONCE = 50
"Log lines passed on in one `poll`; a program that says more is cut short."
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


@dataclass
class WatchedChild:
    """`start`, then `poll` about twice a second; `terminate` and `poll` until not `running`, or `stop`.

    All times are seconds of one monotonic clock.
    """

    name: str
    command: Sequence[str]
    prepare: Callable[[], None] = lambda: None
    "Called before each start; an OSError counts as a failed start."
    hint: str = ""
    "What to do when the program cannot be started."
    overlap: bool = False
    hear: Callable[[str], str | None] = lambda line: line
    "Given each line that it says, returns what goes to our log; None: nothing."
    settings: str = ""
    "All that it was started with. A reload that changes none of it leaves the running program alone; empty: never."
    _process: subprocess.Popen[bytes] | None = None
    _wanted: bool = True
    _started_at: float = 0.0
    _start_at: float = 0.0
    _falls: int = 0
    _rest: bytes = b""
    _said: str = ""
    _log: logging.Logger = field(default_factory=lambda: logging.getLogger(LOGGER))

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process else 0

    def start(self, now: float) -> None:
        """A start that fails is logged once, and tried again by `poll`."""
        self._wanted = True
        self._started_at = now
        parent = os.getpid()

        def before_exec() -> None:
            # The supervisor blocks signals, and a blocked SIGTERM is inherited: it would never end
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            end_with_parent(parent)

        try:
            self.prepare()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                preexec_fn=before_exec,
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._fell(now, f"cannot be started: {error}" + (f" ({self.hint})" if self.hint else ""))
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def poll(self, now: float) -> None:
        """Pass on what it said; notice its end; start it again when its time has come."""
        if self._process is not None:
            self._pass_on()
            code = self._process.poll()
            if code is not None:
                self._pass_on()
                self._close()
                if self._wanted:
                    self._fell(now, f"ended unexpectedly ({_words(code)})")
        if self._process is None and self._wanted and now >= self._start_at:
            self.start(now)

    def terminate(self) -> None:
        self._wanted = False
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def stop(self, timeout_s: float) -> None:
        """End it and wait; after `timeout_s` seconds by force. For callers that have nothing else to do."""
        self.terminate()
        if self._process is None:
            return
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._log.warning("%s did not end in %.0f s: killed", self.name, timeout_s)
            self._process.kill()
            self._process.wait()
        self._pass_on()
        self._close()

    def _fell(self, now: float, what: str) -> None:
        self._falls = 0 if now - self._started_at > SETTLED_S else self._falls + 1
        wait_s = min(LONGEST_WAIT_S, 0.5 * 2 ** min(self._falls - 1, 10)) if self._falls else 0.0
        self._start_at = now + wait_s
        if what != self._said or self._falls <= 1:  # the same again, every half minute, helps nobody
            self._log.error("%s %s: starting it again", self.name, what)
        self._said = what

    def _pass_on(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines.append(self._rest)
            self._rest = b""
        self._rest = self._rest[-4096:]
        for line in lines[:LINES_AT_ONCE]:
            text = self.hear(_TIMESTAMP.sub("", line.decode("utf-8", "backslashreplace")))
            if text is None:
                continue
            shown = "".join(char if char.isprintable() else "?" for char in text)
            self._log.log(_level(shown), "%s: %s", self.name, shown)
        if len(lines) > LINES_AT_ONCE:
            self._log.warning("%s: (%d more lines)", self.name, len(lines) - LINES_AT_ONCE)

    def _close(self) -> None:
        assert self._process is not None
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        self._rest = b""


def _level(line: str) -> int:
    lower = line.lower()
    if "fatal" in lower or "error" in lower:
        return logging.ERROR
    return logging.WARNING if "could not" in lower or "warning" in lower else logging.INFO


def _words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
