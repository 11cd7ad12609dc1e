"""Something done again and again against a server that may not be there: patiently, and saying so once.

A duty that cannot be done is tried again, more and more rarely; what keeps it from being done is told when it changes,
not at each try.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from bootstrapper.boot.events import Event
from bootstrapper.errors import UserError
from bootstrapper.kube.connection import ServerRefusal, Unreachable

EVERY_S = 5.0
"A kubelet that asks for its certificate should not be kept waiting."
SLOWEST_S = 30.0


@dataclass
class Duty:
    name: str
    "What is waited for: `the Kubernetes API`."
    run: Callable[[], None]
    state: str = ""
    "`up`, `waiting`, `refused`, `failed` or `faulty`; empty before the first try."
    wait_s: float = EVERY_S
    "Until the next try."
    next_at: float = 0.0
    "For whoever schedules it."

    def try_now(self, record: Callable[[Event], None], now: Callable[[], float]) -> None:
        try:
            self.run()
        except Unreachable as error:
            state, detail, level = "waiting", f"no answer yet ({error}); it is asked again", "info"
        except ServerRefusal as error:
            busy = error.status == 429 or error.status >= 500  # it is up, and cannot now: etcd has no leader, say
            state, detail, level = ("waiting", str(error), "info") if busy else ("refused", str(error), "error")
        except UserError as error:
            hint = f" ({error.hint})" if error.hint else ""
            state, detail, level = "failed", f"{error.message}{hint}", "error"
        except Exception as error:  # a fault of ours (or an answer of a form nobody expects) ends no other duty
            if self.state != "faulty":
                logging.getLogger("bootstrapper").exception("%s: this round failed", self.name)
            state, detail, level = "faulty", f"{type(error).__name__}: see the log", "error"
        else:
            state, detail, level = "up", "", "info"
        before, self.state = self.state, state
        self.wait_s = find_wait(state, before, self.wait_s)
        if state != before:
            # Down after it was up is news of another kind than not up yet.
            level = "warning" if state == "waiting" and before == "up" else level
            record(Event(now(), "", "kube", f"{self.name}: {state}", detail[:500], level))


def find_wait(state: str, before: str, wait_s: float) -> float:
    return min(SLOWEST_S, wait_s * 1.5) if state == before != "up" else EVERY_S
