"""Reports move a machine forward, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.boot.breaker import open_install
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask, Subject, apply_order
from bootstrapper.boot.report import Step, apply_report

OPEN = History(wanted=2, done=1, state=MachineState.BOOTING, opened_at=(5.0,), wipe=True)
DONE = History(wanted=2, done=2, state=MachineState.INSTALLED)


@pytest.mark.parametrize(
    ("step", "state"),
    [("clock", "installing"), ("disk", "installing"), ("config", "installing"), ("image", "installing"),
     ("installed", "installed"), ("failed", "failed")],
)  # fmt: skip
def test_an_open_install(step, state):
    after = apply_report(OPEN, Step(step), 2, 9.0, "why")
    assert after is not None
    assert (after.state, after.state_at, after.reason) == (state, 9.0, "why")
    assert after.done == (2 if step == "installed" else 1)
    assert after.wipe is (step != "installed")
    assert after.opened_at == (() if step == "installed" else (5.0,))


@pytest.mark.parametrize(
    ("history", "step", "state"),
    [(DONE, "booted", "joined"), (DONE, "unit", "installed"), (DONE, "failed", "failed"),
     (DONE, "installed", "installed"),
     (History(wanted=2, done=2, state=MachineState.JOINED), "failed", "joined"),
     (History(wanted=2, done=2, state=MachineState.FAILED), "booted", "joined")],
)  # fmt: skip
def test_after_the_install(history, step, state):
    after = apply_report(history, Step(step), 2, 9.0, "why")
    assert after is not None
    assert (after.state, after.done) == (state, 2)


@pytest.mark.parametrize("step", ["clock", "disk", "config", "image"])
def test_nothing_goes_back(step):
    assert apply_report(DONE, Step(step), 2, 9.0, "") is None


@pytest.mark.parametrize("step", ["booted", "unit"])
def test_a_system_that_is_not_installed_cannot_be_heard(step):
    assert apply_report(OPEN, Step(step), 2, 9.0, "") is None


def test_a_repeated_report_changes_nothing():
    assert apply_report(DONE, Step.INSTALLED, 2, 9.0, "") == DONE


def test_a_held_machine_stays_held():
    held = History(wanted=1, done=0, state=MachineState.HELD, held="by the admin")
    after = apply_report(held, Step.INSTALLED, 1, 9.0, "")
    assert after is not None
    assert (after.done, after.state, after.held) == (1, MachineState.HELD, "by the admin")


histories = st.builds(
    History,
    wanted=st.integers(0, 4),
    done=st.integers(0, 4),
    state=st.sampled_from(list(MachineState)),
    held=st.sampled_from(["", "by the admin"]),
)


@given(histories, st.sampled_from(list(Step)), st.integers(0, 5))
def test_no_report_opens_an_install_or_closes_another_generation(history, step, generation):
    after = apply_report(history, step, generation, 9.0, "")
    if after is None:
        return
    assert generation == history.wanted
    assert (after.wanted, after.held) == (history.wanted, history.held)
    assert after.open <= history.open
    assert after.done in (history.done, history.wanted)
    assert after.done == history.done or step is Step.INSTALLED


class TestBreaker:
    def test_three_installs_within_half_an_hour_and_no_more(self):
        history = History()
        for at in (0.0, 700.0, 1400.0):
            history = open_install(history, at)
            assert history.state is MachineState.BOOTING
        held = open_install(history, 1799.0)
        assert held.state is MachineState.HELD
        assert held.held == "3 installs were opened within 30 minutes and none was reported done"
        assert open_install(history, 1800.0).state is MachineState.BOOTING

    def test_a_repeated_request_is_the_same_boot(self):
        once = open_install(History(), 100.0)
        assert open_install(once, 109.0) is once
        assert len(open_install(once, 110.0).opened_at) == 2

    def test_a_clock_set_back_neither_holds_nor_fails(self):
        history = History(opened_at=(5000.0, 5100.0, 5200.0))
        assert open_install(history, 10.0).state is MachineState.BOOTING

    def test_nothing_opens_a_closed_or_held_machine(self):
        for history in (DONE, History(held="x", state=MachineState.HELD)):
            assert open_install(history, 1.0) is history

    def test_a_loop_that_is_slow_is_broken_too(self):
        history = History()
        for number in range(1, 7):
            history = open_install(history, number * 660.0)
            again = "" if number == 1 else f", install {number} of this order"
            assert history.reason == f"the installer's boot script was served{again}"
            history = apply_report(history, Step.IMAGE, 1, number * 660.0 + 600.0, "40 %")
        held = open_install(history, 7 * 660.0)
        assert held.held == "6 installs were opened for one order and none was reported done"
        again = apply_order(held, Ask(Order.RELEASE), Subject(known=True), 5000.0)
        assert open_install(again, 5000.0).reason == "the installer's boot script was served"

    def test_a_clock_that_runs_back_hides_no_loop(self):
        history, at = History(), 1e9
        while not history.held:
            history, at = open_install(history, at), at - 11.0
        assert 1e9 - at < 100.0

    def test_the_hold_tells_why_the_last_one_failed(self):
        history = History(opened_at=(1.0, 100.0, 200.0), state=MachineState.FAILED, reason="two disks match")
        assert open_install(history, 300.0).held.endswith("; the last failed: two disks match")
