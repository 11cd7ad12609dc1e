"""What the lab shows."""

from __future__ import annotations

from rich.console import Console

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.lab.board import Board, Row
from bootstrapper.lab.progress import build_table

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"


def board(goal: str = "joined") -> Board:
    return Board({A: Row("alpha", A, "bios"), B: Row("beta", B, "uefi")}, goal)


def test_a_machine_goes_from_off_to_joined() -> None:
    shown = board()
    shown.power_on(A, 100.0)
    assert shown.cells(101.5)[0] == ("alpha", "bios", "powered on", "1.5s", "firmware starts")
    lines = shown.take_events([Event(102.0, A, "dhcp", "offer", "10.0.0.11")])
    assert lines == ["   2.0s alpha            dhcp: offer: 10.0.0.11"]
    shown.take_histories({A: History(state=MachineState.INSTALLING)}, 103.0)
    assert shown.cells(103.0)[0] == ("alpha", "bios", "installing", "3.0s", "dhcp: offer: 10.0.0.11")
    assert [row.name for row in shown.busy()] == ["alpha"]
    assert [row.name for row in shown.waiting()] == ["beta"]
    shown.take_histories({A: History(done=1, state=MachineState.JOINED)}, 110.0)
    assert shown.cells(500.0)[0][2:4] == ("joined", "10.0s")
    assert shown.busy() == []
    assert [row.name for row in shown.missing()] == ["beta"]


def test_installed_is_enough_when_that_is_the_goal() -> None:
    histories = {A: History(done=1, state=MachineState.INSTALLED)}
    for goal, missing in (("joined", 2), ("installed", 1)):
        shown = board(goal)
        shown.power_on(A, 1.0)
        shown.take_histories(histories, 2.0)
        assert len(shown.missing()) == missing


def test_an_installed_machine_leaves_the_processor_to_the_next() -> None:
    shown = board()
    shown.power_on(A, 1.0)
    shown.take_histories({A: History(done=1, state=MachineState.INSTALLED)}, 2.0)
    assert shown.busy() == []
    assert [row.name for row in shown.under_way()] == ["alpha"]


def test_a_state_of_the_last_run_counts_only_once_the_machine_is_on() -> None:
    shown = board()
    shown.take_histories({A: History(done=1, state=MachineState.JOINED)}, 2.0)
    assert len(shown.missing()) == 2
    assert shown.cells(3.0)[0][2] == "off"


def test_a_failed_or_held_machine_is_not_waited_for() -> None:
    shown = board()
    shown.power_on(A, 1.0)
    shown.power_on(B, 1.0)
    shown.take_histories({A: History(state=MachineState.FAILED), B: History(held="too many installs")}, 2.0)
    assert shown.under_way() == []
    assert [row.state for row in shown.missing()] == ["failed", "held"]


def test_unknown_machines_are_shown_by_their_mac() -> None:
    lines = board().take_events([Event(1.0, "52:54:00:00:00:ff", "dhcp", "unknown", "QEMU virtual NIC")])
    assert lines == ["        52:54:00:00:00:ff dhcp: unknown: QEMU virtual NIC"]


def test_the_table_takes_text_as_it_is() -> None:
    shown = board()
    shown.power_on(A, 0.0)
    shown.take_events([Event(1.0, A, "installer", "failed", "[bold]no disk[/bold]")])
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(build_table(shown, 1.0, 100))
    text = console.export_text()
    assert "alpha    bios      powered on  1.0s  installer: failed: [bold]no disk[/bold]" in text


def test_a_long_step_gives_way_to_the_other_columns() -> None:
    shown = board()
    shown.power_on(A, 0.0)
    shown.take_events([Event(1.0, A, "installer", "image", "x" * 200)])
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(build_table(shown, 1.0, 60))
    lines = console.export_text().splitlines()
    assert lines[1].startswith("alpha    bios      powered on  1.0s  installer: image: xx")
    assert len(lines[1]) == 60
