"""How much of a flood is told: whoever copies a machine's MAC must not write its history full."""

from __future__ import annotations

from bootstrapper.answers.dhcp_limits import Notices

MAC = "00:25:90:c0:f7:80"


def test_a_flood_of_one_machine_is_two_hundred_events_an_hour() -> None:
    notices = Notices()
    told = [second for second in range(2 * 3600) if notices.due(MAC, "offer", str(second), float(second))]
    assert len(told) == 400
    assert len([second for second in told if second < 3600]) == 200
    assert notices.due("other", "offer", "", 10.0), "its own only"


def test_boots_are_told_whole() -> None:
    """Ten in an hour, eight steps each."""
    notices = Notices()
    told = [
        notices.due(MAC, f"step {step}", "", boot * 360.0 + step / 10) for boot in range(10) for step in range(8)
    ]  # fmt: skip
    assert all(told)


def test_a_clock_that_was_set_back_ends_no_telling() -> None:
    notices = Notices()
    for second in range(1000):
        notices.due(MAC, "offer", str(second), 1e9 + second)
    assert notices.due(MAC, "offer", "again", 5.0)
