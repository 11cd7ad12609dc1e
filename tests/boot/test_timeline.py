"""Events told as boots: where one ends and the next begins, how far each came, and what it came to."""

from __future__ import annotations

import random

import pytest
from boot_stories import DISK, FIRMWARE, FIRST_FILE, HEALTHY, IPXE, KERNELS, SCRIPT, TO_KERNEL, TO_SCRIPT, story
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.boot.events import Event
from bootstrapper.boot.report import Step as Report
from bootstrapper.boot.steps import Dhcp, Http, Kube, Pxe, Service, Tftp
from bootstrapper.boot.timeline import OWN, Outcome, list_boots, straighten


def told(text: str) -> list[tuple[float, str, str, str, float | None]]:
    return [
        (boot.started_at, boot.firmware, boot.phase.name, str(boot.outcome), boot.ended_at)
        for boot in list_boots(story(text))
    ]


def test_nothing_has_no_boots() -> None:
    assert list_boots([]) == ()


def test_an_install_and_the_first_boot_from_disk_are_two_boots() -> None:
    assert told(HEALTHY) == [
        (0.0, "UEFI x64", "INSTALLED", "installed", 130.0),
        (200.0, "UEFI x64", "SYSTEM", "running", 320.0),
    ]


def test_events_may_come_in_any_order() -> None:
    events = story(HEALTHY)
    mixed = list(events)
    random.Random(7).shuffle(mixed)
    assert list_boots(mixed) == list_boots(events)


def test_every_event_is_in_exactly_one_boot() -> None:
    events = story(HEALTHY)
    assert [step.detail for boot in list_boots(events) for step in boot.steps] == [event.detail for event in events]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # a firmware's own retries are one boot, and one that asks again after minutes is another
        ("0 dhcp offer: a to BIOS, boots f\n4 dhcp offer: a to BIOS, boots f\n12 dhcp offer: a to BIOS, boots f",
         [(0.0, "BIOS", "FIRMWARE", "under way", None)]),
        ("0 dhcp offer: a to BIOS, boots f\n200 dhcp offer: a to BIOS, boots f",
         [(0.0, "BIOS", "FIRMWARE", "not finished", 0.0), (200.0, "BIOS", "FIRMWARE", "under way", None)]),
        # the other firmware of the same machine is another boot
        ("0 dhcp offer: a to UEFI x64, boots f\n9 dhcp offer: a to BIOS, boots f",
         [(0.0, "UEFI x64", "FIRMWARE", "not finished", 0.0), (9.0, "BIOS", "FIRMWARE", "under way", None)]),
        # the firmware is back after its file: another boot
        (FIRMWARE + FIRST_FILE + "30 dhcp offer: a to UEFI x64, boots snponly.efi",
         [(0.0, "UEFI x64", "FILE", "not finished", 3.0), (30.0, "UEFI x64", "FIRMWARE", "under way", None)]),
        # iPXE in the card's ROM
        (IPXE + SCRIPT, [(10.0, "iPXE", "SCRIPT", "under way", None)]),
        # ... and its next boot, that is only known by its script
        (IPXE + SCRIPT + "100 dhcp offer: a to iPXE, boots u\n101 dhcp ack: a to iPXE, boots u\n"
         "102 http script: install for BIOS: x",
         [(10.0, "iPXE", "SCRIPT", "not finished", 12.0), (100.0, "iPXE", "SCRIPT", "under way", None)]),
        # iPXE's script asks for an address anew when a download fails: the same boot
        (TO_SCRIPT + "40 dhcp offer: a to iPXE, boots u\n41 dhcp ack: a to iPXE, boots u\n"
         "42 http loading: kernel k, 1 MB", [(0.0, "UEFI x64", "LOADING", "under way", None)]),
        (TO_SCRIPT + "15 http script: install for UEFI x64: x", [(0.0, "UEFI x64", "SCRIPT", "under way", None)]),
        # refused: a machine that asks again each half minute is in one boot
        ("0 dhcp ack: a to iPXE, boots u\n1 http script refused! on hold\n40 http script refused! on hold",
         [(0.0, "iPXE", "SCRIPT", "refused", 40.0)]),
        (DISK, [(200.0, "UEFI x64", "FILE", "local disk", 202.0)]),
        ("0 dhcp ack: a to BIOS, nothing to boot: install generation 1 is done",
         [(0.0, "BIOS", "FIRMWARE", "local disk", 0.0)]),
        ("0 dhcp ack: a to UEFI arm64, nothing to boot: no boot file for firmware UEFI arm64 (architecture 11)",
         [(0.0, "UEFI arm64", "FIRMWARE", "refused", 0.0)]),
        ("0 dhcp no offer: x\n4 dhcp no offer: x", [(0.0, "", "FIRMWARE", "local disk", 4.0)]),
        ("0 dhcp ack: a to UEFI x64, nothing to boot: install generation 1 is open",
         [(0.0, "UEFI x64", "FIRMWARE", "refused", 0.0)]),
        ("0 http script: local-disk for BIOS: x", [(0.0, "", "SCRIPT", "local disk", 0.0)]),
        (TO_KERNEL + "70 installer failed!! no disk", [(0.0, "UEFI x64", "INSTALLER", "failed", 70.0)]),
        # a system that asks for an address when it starts, and renews it for days
        ("0 system booted: up\n5000 dhcp ack: a\n90000 dhcp ack: a", [(0.0, "", "SYSTEM", "running", 0.0)]),
        ("0 system booted: up\n5000 dhcp offer: a", [(0.0, "", "SYSTEM", "running", 0.0),
                                                     (5000.0, "", "NONE", "under way", None)]),
    ],
)  # fmt: skip
def test_boots(text: str, expected: list[tuple[float, str, str, str, float | None]]) -> None:
    assert told(text) == expected


def test_what_the_machine_did_not_do_begins_no_boot() -> None:
    aside = "0 state state: armed -> booting\n1 kube token: t may join\n2 dhcp conflict! its address is in use"
    assert told(aside) == []
    own = FIRMWARE.replace("\n0 ", "\n5 ").replace("\n1 ", "\n6 ")
    (boot,) = list_boots(story(aside + own + "7 kube labels: x\n8 files x: y"))
    assert [step.step for step in boot.steps] == ["offer", "ack", "labels"]


def test_kernels_are_loading() -> None:
    assert told(KERNELS)[0][2:4] == ("LOADING", "under way")


STEPS = [(str(s), str(step)) for s, kind in [(Service.DHCP, Dhcp), (Service.PXE, Pxe), (Service.TFTP, Tftp),
         (Service.HTTP, Http), (Service.INSTALLER, Report), (Service.SYSTEM, Report), (Service.KUBE, Kube)]
         for step in kind]  # fmt: skip
DETAILS = st.sampled_from(
    ["", "10.0.0.7", "10.0.0.7 to iPXE, boots x", "10.0.0.7 to BIOS, boots x", "1 to BIOS, nothing to boot: x",
     "install for BIOS: x", "local-disk for BIOS: x", "kernel k, 1 MB", "claimed before, from 1.2.3.4",
     "99999999999999 seconds off", "x after block 1: y", "matches 0 disks", "50 %", "snponly.efi, 1 bytes", ": "]
) | st.text(max_size=40)  # fmt: skip
EVENTS = st.builds(
    lambda at, step, detail, level: Event(at, "m", step[0], step[1], detail, level),
    st.floats(0, 1e5),
    st.sampled_from(STEPS) | st.tuples(st.text(max_size=5), st.text(max_size=5)),
    DETAILS,
    st.sampled_from(["info", "warning", "error"]),
)


@given(st.lists(EVENTS, max_size=40))
def test_any_events_are_told_whole_and_in_order(events: list[Event]) -> None:
    boots = list_boots(events)
    own = [event for event in events if event.service in OWN and event.step != Dhcp.CONFLICT]
    assert len(own) <= sum(len(boot.steps) for boot in boots) <= len(events)
    steps = [step.at for boot in boots for step in boot.steps]
    assert steps == sorted(steps)
    assert all(boot.steps and boot.started_at == boot.steps[0].at for boot in boots)


def test_a_clock_that_was_set_back_does_not_hide_what_came_later() -> None:
    before = story(DISK, start=1e6)
    after = story(HEALTHY)
    assert list_boots([*before, *after])[-1].outcome is Outcome.DISK
    boots = list_boots(straighten([*before, *after]))
    assert boots[-1].outcome is Outcome.RUNNING
    late = [after[1], after[0], *after[2:]]  # another process was a second faster
    assert straighten(late) == late
