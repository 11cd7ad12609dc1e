"""The boot scripts' texts, and what no machine field may do to them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rack import FLATCAR, LINKS, make_cluster, make_environment, make_machine

from bootstrapper.boot.decide import Action, Decision
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.scripts import render_autoexec, render_script
from bootstrapper.cluster.model import OsFamily
from bootstrapper.errors import RenderProblem

ENVIRONMENT = make_environment()
BIOS = Firmware(Kind.BIOS, Stage.IPXE, code=0)
UEFI = Firmware(Kind.UEFI_X64, Stage.IPXE, code=7)
UNSAID = Firmware(Kind.BIOS, Stage.IPXE)
INSTALL = Decision(Action.INSTALL, "install generation 2 is open", 2)
LOCAL_DISK = Decision(Action.LOCAL_DISK, "install generation 1 is done")
REFUSE = Decision(Action.REFUSE, "on hold: by the admin")


def script(decision, firmware=UEFI, machine=None, output="boot.ipxe", **more):
    machine = machine or make_machine()
    return render_script(
        ENVIRONMENT, decision, firmware, machine, make_cluster(machine), LINKS, "t" * 43, output=output, **more
    )


def test_install_fetches_kernel_and_initrd_and_names_the_initrd():
    lines = script(INSTALL).splitlines()
    base = "http://10.10.14.253/assets/flatcar/amd64-usr/4593.2.5/"
    assert lines[0] == "#!ipxe"
    assert (
        f"kernel {base}flatcar_production_pxe.vmlinuz initrd=flatcar_production_pxe_image.cpio.gz "
        f"flatcar.first_boot=1 ignition.config.url=http://10.10.14.253/m/{'t' * 43}/install console=ttyS0,115200n8"
        " || goto again"
    ) in lines
    assert f"initrd {base}flatcar_production_pxe_image.cpio.gz || goto again" in lines
    assert "boot || goto again" in lines


def test_every_goto_has_its_label():
    for decision in (INSTALL, LOCAL_DISK, REFUSE):
        for firmware in (BIOS, UEFI, UNSAID):
            text = script(decision, firmware)
            labels = set(re.findall(r"^:(\w+)$", text, re.M))
            assert set(re.findall(r"goto (\w+)", text)) <= labels
    text = render_autoexec(ENVIRONMENT, LINKS)
    assert set(re.findall(r"goto (\w+)", text)) <= set(re.findall(r"^:(\w+)$", text, re.M))


@pytest.mark.parametrize(
    ("firmware", "present", "absent"),
    [(BIOS, "sanboot --no-describe --drive 0x80", "exit 1"), (UEFI, "exit 1", "sanboot"),
     (UNSAID, "iseq ${platform} efi && goto next_entry ||", "nothing")],
)  # fmt: skip
def test_local_disk_goes_by_the_firmware(firmware, present, absent):
    text = script(LOCAL_DISK, firmware)
    assert present in text
    assert absent not in text
    assert "kernel" not in text


def test_refusal_says_why_and_when_then_lets_the_firmware_go_on():
    lines = script(REFUSE, at=1_800_000_000.0).splitlines()
    assert "echo machine: node1 00:25:90:c0:f7:80" in lines
    assert "echo reason:  on hold: by the admin" in lines
    assert "echo time:    2027-01-15 08:00:00 UTC" in lines
    assert lines[-1] == "exit 1"


def test_refusal_of_a_machine_we_do_not_name():
    text = render_script(ENVIRONMENT, REFUSE, UEFI, None, make_cluster(), LINKS, None, mac="02:00:00:00:00:01")
    assert "echo machine: 02:00:00:00:00:01\n" in text


def test_the_console_is_added_once():
    def arguments(console):
        return re.findall(r"console=\S+", script(INSTALL, machine=make_machine(console=console)))

    assert arguments(None) == ["console=ttyS0,115200n8"]
    assert arguments("ttyS0,115200n8") == ["console=ttyS0,115200n8"]
    assert arguments("ttyS1,9600") == ["console=ttyS0,115200n8", "console=ttyS1,9600"]


@pytest.mark.parametrize(
    "evil",
    ["a\nchain http://evil/x", "a\r", "${net0/ip}", "$x", "a;reboot", "a&&b", "a||b", "#x", "a'b", 'a"b', "a b", "a\\b",
     "{x}", "a`id`", "a\tb", "a\x00b", "<x>", "é", "", "{{7*7}}"],
)  # fmt: skip
@pytest.mark.parametrize("output", ["boot.ipxe", "grub.cfg", "pxelinux.cfg"])
def test_no_kernel_argument_becomes_a_command(evil, output):
    machine = make_machine(os=replace(FLATCAR, kernel_args=("quiet", evil)))
    with pytest.raises(RenderProblem, match="kernel argument"):
        script(INSTALL, machine=machine, output=output)


@pytest.mark.parametrize("evil", ["x\nreboot", "x && reboot", "x || reboot", "${x}", "x' ; reboot", "# x", "`reboot`"])
@pytest.mark.parametrize("decision", [INSTALL, LOCAL_DISK, REFUSE])
@pytest.mark.parametrize("output", ["boot.ipxe", "grub.cfg", "pxelinux.cfg"])
def test_no_name_or_reason_becomes_a_command(evil, decision, output):
    """The script of an evil machine has the commands of an ordinary one, line by line."""

    def commands(text):
        return [re.split(r"[ \t]+", line.strip())[0] for line in text.splitlines()]

    plain = script(decision, output=output)
    text = script(replace(decision, reason=evil), machine=make_machine(host=evil), output=output)
    assert commands(text) == commands(plain)
    assert text.count("${") == plain.count("${")
    for operator in ("&&", "||", "`", "\r"):
        assert text.count(operator) == plain.count(operator)
    assert text.count("'") == plain.count("'") or output != "grub.cfg"


@pytest.mark.parametrize("output", ["grub.cfg", "pxelinux.cfg"])
def test_other_loaders_get_the_same_kernel(output):
    text = script(INSTALL, output=output)
    assert "/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_pxe.vmlinuz" in text
    assert f"ignition.config.url=http://10.10.14.253/m/{'t' * 43}/install" in text
    for decision in (LOCAL_DISK, REFUSE):
        assert "vmlinuz" not in script(decision, output=output)


def test_grub_lines_stand_alone():
    lines = [line.strip() for line in script(INSTALL, output="grub.cfg").splitlines()]
    assert sum(line.startswith("linux (http,10.10.14.253)/assets/") for line in lines) == 1
    assert "initrd (http,10.10.14.253)/assets/flatcar/amd64-usr/4593.2.5/flatcar_production_pxe_image.cpio.gz" in lines


def test_autoexec_asks_with_its_own_mac_and_takes_the_scripts_end_for_the_answer():
    assert render_autoexec(ENVIRONMENT, LINKS).splitlines()[:8] == [
        "#!ipxe",
        "set attempt:int32 0",
        ":ask",
        "isset ${netX/ip} || dhcp || goto again",
        "imgfetch --name boot.ipxe http://10.10.14.253/boot.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}"
        "&platform=${platform}&cpu=${buildarch} || goto unanswered",
        "# How the script ends is the answer: `exit 1` sends the firmware on, and is no reason to ask again.",
        "imgexec --autofree boot.ipxe && exit || exit 1",
        ":unanswered",
    ]


def test_a_system_without_an_installer_is_said_so():
    machine = make_machine(os=replace(FLATCAR, family=OsFamily.DEBIAN))
    with pytest.raises(RenderProblem, match=r"no installer for os\.family debian"):
        script(INSTALL, machine=machine)
