"""What the disk's marker and the server's orders do to each other: whatever happens to the server's memory meanwhile,
no order is carried out twice, and none is passed over (design.md section 5, rules 1 and 5)."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bootstrapper.boot.breaker import open_install
from bootstrapper.boot.history import History
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask, Subject, apply_order
from bootstrapper.boot.report import Step, apply_report
from bootstrapper.state.backup import make_safe

LIBRARY = Path(__file__).parent.parent.parent / "templates" / "nodes" / "install" / "lib-disk.sh"
MAC = "00:25:90:c0:f7:80"
NODE = Subject(known=True, node=True)


def run(commands: str, history: History, marker: str = "", authority: str = "ours") -> str:
    """`commands` with lib-disk.sh as the installer of `history` has it."""
    script = f"""
set -u -o pipefail
CLUSTER_NAME=prod MACHINE_HOST=node1 MACHINE_MAC={MAC} MACHINE_MACS={MAC} GENERATION={history.wanted}
ORDER_ID={shlex.quote(history.order_id)} IMAGE_VERSION=1.2.3 marker={shlex.quote(marker)}
. {shlex.quote(str(LIBRARY))}
authority_digest() {{ echo {authority}; }}
{commands}
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def weigh(history: History, marker: str, authority: str = "ours") -> str:
    return run('weigh_marker "$marker"', history, marker, authority)


def write(history: History, marker: str) -> str:
    return run('earlier="$(list_orders "$marker")"; build_marker | jq -c .', history, marker)


FIRST = History()
OLD_MARKER = json.dumps({"cluster": "prod", "mac": MAC, "host": "node1", "generation": 2, "authority": "ours"})
"As it was before orders had an identity."
MARKER = json.dumps({**json.loads(OLD_MARKER), "order": "c3", "earlier": ["a1", "b2"]})


@pytest.mark.parametrize(
    ("history", "marker", "verdict"),
    [
        (FIRST, "", "none"),
        (FIRST, MARKER, "done"),
        (FIRST, OLD_MARKER, "done"),
        (History(2, 1), OLD_MARKER, "done"),
        (History(3, 2), OLD_MARKER, "ours"),
        (History(3, 2), MARKER, "done"),
        (History(3, 2, order_id="d4"), OLD_MARKER, "ours"),
        (History(2, 1, order_id="d4"), OLD_MARKER, "ours"),
        (History(1, 0, order_id="d4"), OLD_MARKER, "ours"),
        (History(1, 0, order_id="c3"), MARKER, "done"),
        (History(9, 8, order_id="a1"), MARKER, "done"),
        (History(2, 1, order_id="d4"), MARKER, "ours"),
        (History(2, 1, order_id="d4"), MARKER.replace(MAC, "00:25:90:c0:f7:81"), "none"),
        (History(2, 1, order_id="d4"), MARKER.replace("prod", "other"), "none"),
        (History(2, 1, order_id="d4"), MARKER.replace(": 2,", ': "2",'), "none"),
        (History(2, 1, order_id="d4"), MARKER.replace("[", '["d4", 7, {}, ').replace('"a1"', '["d4"]'), "done"),
        (History(2, 1, order_id="d4"), MARKER.replace('["a1", "b2"]', '"d4"'), "ours"),
        (History(2, 1, order_id=".*"), MARKER, "ours"),
        (FIRST, "[1]", "none"),
        (FIRST, '{"mac": {"a": 1}}', "none"),
    ],
)
def test_what_a_marker_says_of_an_order(history: History, marker: str, verdict: str) -> None:
    assert weigh(history, marker) == verdict


@pytest.mark.parametrize(
    ("history", "marker", "verdict"),
    [(FIRST, OLD_MARKER, "lost"), (FIRST, MARKER, "lost"), (History(3, 2), OLD_MARKER, "ours"),
     (History(1, 0, order_id="d4"), MARKER, "ours"), (History(1, 0, order_id="c3"), MARKER, "done")],
)  # fmt: skip
def test_a_server_whose_state_was_lost_installs_by_order_only(history: History, marker: str, verdict: str) -> None:
    assert weigh(history, marker, authority="another") == verdict


def test_the_orders_before_are_kept_and_not_without_end() -> None:
    marker = ""
    for number in range(25):
        marker = write(History(number + 1, number, order_id=f"order{number}"), marker)
    kept = json.loads(marker)
    assert (kept["order"], kept["earlier"]) == ("order24", [f"order{number}" for number in range(4, 24)])
    assert len(marker) < 4096


@dataclass(frozen=True)
class Memory:
    """What the server knows."""

    history: History = FIRST
    order: str = "first"
    "Which order is open, or was last; the history of the old version does not tell."


class Rack(RuleBasedStateMachine):
    """One machine, its disk, its server, and whatever an admin keeps of the server's memory. `old`: server and
    installer are of the version before orders had an identity."""

    cuts = ("", "", "before its report")

    def __init__(self) -> None:
        super().__init__()
        self.names = (f"id{number}" for number in itertools.count())
        self.now = 1000.0
        self.old = True
        self.server = Memory()
        self.kept: list[Memory] = []
        self.marker = ""
        self.carried_out: list[str] = []
        "What the disk has had since something whole is on it, the latest last."

    @initialize(old=st.sampled_from([True, False, False]))
    def begin(self, old: bool) -> None:
        self.old = old

    @precondition(lambda self: self.old)
    @rule()
    def upgrade(self) -> None:
        self.old = False

    @rule()
    def keep(self) -> None:
        self.kept = [*self.kept[-2:], self.server]

    @rule(
        order=st.sampled_from([*[Order.REINSTALL] * 6, Order.INSTALL, Order.HOLD, Order.RELEASE]), keeps=st.booleans()
    )
    def give(self, order: Order, keeps: bool) -> None:
        name = next(self.names)
        after = apply_order(self.server.history, Ask(order, order_id="" if self.old else name), NODE, self.now)
        if isinstance(after, History):
            opened = after.wanted != self.server.history.wanted
            self.server = Memory(after, name if opened else self.server.order)
            if keeps:
                self.keep()

    @rule(data=st.data())
    def boot(self, data: st.DataObject) -> None:
        self.now += 3600.0
        history = open_install(self.server.history, self.now)
        self.server = replace(self.server, history=history)
        if not history.open or history.held:
            return
        cut = data.draw(st.sampled_from(self.cuts))
        verdict = weigh(history, self.marker)
        if verdict == "done":
            assert history.order_id in ("", *self.carried_out), "an order that nobody carried out is passed over"
        else:
            assert verdict in ("none", "ours")
            assert self.server.order not in self.carried_out, "two installs from one order"
            self.marker = self.write(history) if cut != "in the middle" else ""
            if cut == "in the middle":
                self.carried_out = []
                return
            self.carried_out.append(self.server.order)
        if cut != "before its report":
            done = apply_report(history, Step.INSTALLED, history.wanted, self.now, "")
            assert done is not None
            self.server = replace(self.server, history=done)

    def write(self, history: History) -> str:
        marker = json.loads(write(history, self.marker))
        if self.old:
            del marker["order"], marker["earlier"]
        return json.dumps(marker)


class RolledBack(Rack):
    """The server is an older one of itself again, and nobody told it: a snapshot of its disk."""

    @precondition(lambda self: self.kept and not self.old)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        self.server = data.draw(st.sampled_from(self.kept))


class Restored(Rack):
    """By the verb `restore`; and the power fails also while a disk is being written."""

    cuts = (*Rack.cuts, "in the middle")

    @precondition(lambda self: self.kept and not self.old)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        kept = data.draw(st.sampled_from(self.kept))
        self.server = replace(kept, history=make_safe(kept.history, self.now))


SETTINGS = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRolledBack = RolledBack.TestCase
TestRolledBack.settings = SETTINGS
TestRestored = Restored.TestCase
TestRestored.settings = SETTINGS
