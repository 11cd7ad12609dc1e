"""The ways to the local disk, by firmware and by the description."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from rack import LINKS, make_cluster, make_environment, make_machine

from bootstrapper.boot.decide import Action, Decision, decide
from bootstrapper.boot.firmware import SYSTEM, Firmware, Kind, Stage
from bootstrapper.boot.history import History
from bootstrapper.boot.local_disk import ROUTES, Way, find_offered_file, find_way
from bootstrapper.boot.scripts import render_script
from bootstrapper.cluster.model import LocalBoot, UnknownPolicy

BIOS, UEFI = Firmware(Kind.BIOS, Stage.ROM, code=0), Firmware(Kind.UEFI_X64, Stage.ROM, code=7)
ARM, UNSAID = Firmware(Kind.UEFI_ARM64, Stage.ROM, code=11), Firmware(Kind.BIOS, Stage.IPXE)
DONE = History(1, 1)
ENVIRONMENT = make_environment()


@pytest.mark.parametrize(
    ("firmware", "name"),
    [
        (BIOS, ""),
        (UEFI, "local-disk"),
        (Firmware(Kind.UEFI_IA32, Stage.ROM, code=6), "local-disk"),
        (ARM, "local-disk"),
        (Firmware(Kind.UEFI_X64, Stage.ROM, http=True, code=16), ""),
        (Firmware(Kind.UEFI_X64, Stage.IPXE, code=7), ""),
        (Firmware(Kind.OTHER, Stage.ROM, code=31), ""),
        (SYSTEM, ""),
    ],
)
def test_only_uefi_firmware_itself_is_offered_a_file_to_be_refused(firmware: Firmware, name: str) -> None:
    assert find_offered_file(firmware) == name


@pytest.mark.parametrize(
    ("local_boot", "bios", "uefi", "arm"),
    [
        ("auto", "", "local-disk", "local-disk"),
        ("no-file", "", "", ""),
        ("no-offer", "", "", ""),
        ("refused-file", "local-disk", "local-disk", "local-disk"),
        ("first-disk", "undionly.kpxe", "snponly.efi", "local-disk"),
        ("next-entry", "undionly.kpxe", "snponly.efi", "local-disk"),
        ("exit", "undionly.kpxe", "snponly.efi", "local-disk"),
        ("http-404", "undionly.kpxe", "snponly.efi", "local-disk"),
    ],
)
def test_what_firmware_is_handed_by_the_descriptions_word(local_boot: str, bios: str, uefi: str, arm: str) -> None:
    assert [find_offered_file(each, LocalBoot(local_boot)) for each in (BIOS, UEFI, ARM)] == [bios, uefi, arm]


def test_every_word_of_the_description_has_a_route() -> None:
    assert set(ROUTES) == set(LocalBoot)


@pytest.mark.parametrize(
    ("local_boot", "ways"),
    [
        ("auto", ["first-disk", "next-entry", "ask-ipxe"]),
        ("no-file", ["first-disk", "next-entry", "ask-ipxe"]),
        ("first-disk", ["first-disk"] * 3),
        ("next-entry", ["next-entry"] * 3),
        ("exit", ["exit"] * 3),
    ],
)
def test_the_scripts_way(local_boot: str, ways: list[str]) -> None:
    assert [find_way(each, LocalBoot(local_boot)) for each in (BIOS, UEFI, UNSAID)] == list(map(Way, ways))


def test_the_descriptions_word_counts_for_an_installed_machine_only() -> None:
    machine = make_machine(local_boot=LocalBoot.FIRST_DISK)
    done = decide(machine, UnknownPolicy.IGNORE, BIOS, DONE)
    assert (done.action, done.local_boot, done.network_boots) == (Action.LOCAL_DISK, LocalBoot.FIRST_DISK, True)
    assert decide(machine, UnknownPolicy.IGNORE, BIOS, History(1, 1, held="x")).local_boot is LocalBoot.FIRST_DISK
    assert decide(machine, UnknownPolicy.IGNORE, BIOS, History()).action is Action.INSTALL
    assert decide(machine, UnknownPolicy.IGNORE, BIOS, History(held="x")).action is Action.REFUSE
    assert not decide(make_machine(), UnknownPolicy.IGNORE, BIOS, DONE).network_boots


def script(local_boot: str, output: str, firmware: Firmware = BIOS) -> str:
    decision = Decision(Action.LOCAL_DISK, "done", local_boot=LocalBoot(local_boot))
    return render_script(ENVIRONMENT, decision, firmware, make_machine(), make_cluster(), LINKS, None, output=output)


@pytest.mark.parametrize(
    ("local_boot", "firmware", "lines"),
    [
        ("auto", BIOS, ["sanboot --no-describe --drive 0x80 ||", "exit"]),
        ("auto", UEFI, [":next_entry", "exit 1"]),
        ("first-disk", UEFI, ["sanboot --no-describe --drive 0x80 ||", "exit"]),
        ("next-entry", BIOS, [":next_entry", "exit 1"]),
        ("exit", UEFI, ["exit"]),
    ],
)
def test_ipxes_script(local_boot: str, firmware: Firmware, lines: list[str]) -> None:
    assert script(local_boot, "boot.ipxe", firmware).splitlines()[2:] == lines


@pytest.mark.parametrize(("local_boot", "line"), [("auto", "0"), ("first-disk", "0x80"), ("next-entry", "-1")])
def test_syslinux_script(local_boot: str, line: str) -> None:
    assert script(local_boot, "pxelinux.cfg").splitlines()[-1] == f"  LOCALBOOT {line}"


@pytest.mark.parametrize("local_boot", list(LocalBoot))
def test_grubs_script(local_boot: str) -> None:
    text = script(local_boot, "grub.cfg")
    assert ("chainloader +1" in text) is (local_boot == "first-disk")
    assert text.splitlines()[-1] == "exit"
    checker = shutil.which("grub-script-check")
    if checker:
        subprocess.run([checker], input=text, text=True, check=True, timeout=30)
