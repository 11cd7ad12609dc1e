"""The words of events: what is written is what is read, and every service says the words that are in the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.boot import rules_system
from bootstrapper.boot.decide import Action
from bootstrapper.boot.firmware import Kind
from bootstrapper.boot.steps import (
    IPXE,
    NO_BOOT_FILE,
    OPEN,
    WAITING_FOR_FILES,
    Dhcp,
    Http,
    Kube,
    Pxe,
    Registry,
    Service,
    Tftp,
    boots_something,
    describe_dhcp,
    describe_file,
    describe_other_uuid,
    describe_script,
    find_action,
    find_asker,
    find_percent,
    find_use,
)

PACKAGE = Path(__file__).parents[2] / "bootstrapper"
WORDS = st.text(max_size=30).filter(lambda text: not text.startswith(" "))


@given(
    st.ip_addresses(v=4), st.sampled_from([*map(str, Kind), IPXE, ""]), st.sampled_from(["", "undionly.kpxe"]), WORDS
)
def test_who_was_answered_and_what_it_boots(address: object, asker: str, name: str, reason: str) -> None:
    detail = describe_dhcp(str(address), asker, name, reason.replace("\n", " "))
    assert find_asker(detail) == asker
    assert boots_something(detail) is bool(asker and name)
    assert find_asker(describe_other_uuid(detail, "4c4c4544")) == asker


@pytest.mark.parametrize("action", list(Action))
def test_what_a_script_does(action: Action) -> None:
    assert find_action(describe_script(action, "UEFI x64", "generation 1")) == action


def test_what_a_download_is_of_and_how_far() -> None:
    detail = describe_file("kernel", "flatcar/x/vmlinuz", "at 40 % after 1.0 s")
    assert (find_use(detail), find_percent(detail)) == ("kernel", 40)
    assert find_percent("flatcar/x/vmlinuz, 55 MB") is None


SAID_IN = {
    Dhcp: ("answers/dhcp.py", "servers/rivals.py", "servers/probe.py"),
    Pxe: ("answers/dhcp.py",),
    Tftp: ("answers/tftp.py", "servers/tftp.py"),
    Http: ("web/machine.py", "web/claims.py", "web/downloads.py", "web/tls.py"),
    Registry: ("web/pulls.py", "refusing.py"),
    Kube: ("kube/work.py", "kube/etcd_work.py"),
}


@pytest.mark.parametrize("words", SAID_IN, ids=lambda words: words.__name__)
def test_each_step_is_said_somewhere_by_its_name_or_in_its_words(words: type[Dhcp]) -> None:
    """A word that is changed in the service alone would silently blind the diagnosis."""
    said = "".join((PACKAGE / name).read_text() for name in SAID_IN[words])
    unsaid = [step for step in words if f"{words.__name__}.{step.name}" not in said and f'"{step}"' not in said]
    assert unsaid == []


def test_other_words_that_are_read_are_said_too() -> None:
    assert f'Duty("{rules_system.API.removesuffix(": ")}"' in (PACKAGE / "kube/loop.py").read_text()
    assert f'"{NO_BOOT_FILE} ' in (PACKAGE / "boot/decide.py").read_text()
    assert f' {OPEN}", history.wanted)' in (PACKAGE / "boot/decide.py").read_text()
    assert f'"{WAITING_FOR_FILES}: ' in (PACKAGE / "boot/readiness.py").read_text()
    assert {str(service) for service in Service} >= {"installer", "system", "kube"}
