"""A machine's boot played through: which steps there are, and that each shows what `serve` would answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from dhcp_world import FAR, FIXED, RELAY, STRANGER, make_world_cluster

from bootstrapper.answers.simulate import Simulation
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import Cluster, DhcpMode, UnknownPolicy

CLUSTER = make_world_cluster(UnknownPolicy.IGNORE)


def titles(cluster: Cluster = CLUSTER, mac: str = FIXED, **more: object) -> list[str]:
    return [step.title for step in Simulation(cluster, mac, **more).play()]  # type: ignore[arg-type]


def test_a_uefi_machine_from_power_on_to_its_system(golden: Callable[[str, str], None]) -> None:
    steps = list(Simulation(CLUSTER, FIXED, 7).play())
    assert [step.title for step in steps] == [
        "firmware: DISCOVER",
        "firmware: REQUEST",
        "firmware: REQUEST to port 4011 (as some UEFI firmware does)",
        "firmware: TFTP read of snponly.efi",
        "iPXE: DISCOVER",
        "iPXE: REQUEST",
        "iPXE: HTTP GET of its script",
        "system: DISCOVER",
        "system: REQUEST",
    ]
    assert all(step.answered for step in steps)
    golden("simulate/uefi.txt", "\n".join(f"== {step.title}\n{step.text}\n" for step in steps))


def test_bios() -> None:
    assert "firmware: TFTP read of undionly.kpxe" in titles(code=0)


def test_a_card_that_has_ipxe() -> None:
    assert titles(code=0, user_class="iPXE")[0] == "iPXE: DISCOVER"


def test_an_installed_machine_goes_on_to_its_disk() -> None:
    assert titles(code=0, history=History(1, 1))[-1] == "firmware: no boot file"
    steps = list(Simulation(CLUSTER, FIXED, history=History(1, 1)).play())
    assert [step.title for step in steps[-2:]] == ["firmware: REQUEST", "firmware: TFTP read of local-disk"]
    assert steps[-1].text.startswith("refused at once")


def test_a_system_alone() -> None:
    assert titles(code=None) == ["system: DISCOVER", "system: REQUEST"]


def test_an_unknown_machine_is_met_with_silence() -> None:
    (step,) = Simulation(CLUSTER, STRANGER).play()
    assert not step.answered
    assert step.text.endswith("\nno answer: dhcp-unknown")


def test_behind_a_relay() -> None:
    step = next(Simulation(CLUSTER, FAR, 7, relay=IPv4Address(RELAY)).play())
    assert "answer, through the relay 10.20.0.1:67:\n" in step.text
    assert "  yiaddr: 10.20.0.50\n" in step.text


def test_on_the_wrong_link_the_reason_is_shown() -> None:
    (step,) = Simulation(CLUSTER, FAR, 7).play()
    assert "no answer: dhcp-wrong-subnet (asks on 10.10.14.0/24, but its `ip` 10.20.0.50 is outside" in step.text


@pytest.mark.parametrize("mode", [DhcpMode.OFF, DhcpMode.PROXY])
def test_dhcp_that_is_not_served_says_so(mode: DhcpMode) -> None:
    dhcp = replace(CLUSTER.network.dhcp, mode=mode)
    cluster = replace(CLUSTER, network=replace(CLUSTER.network, dhcp=dhcp))
    assert titles(cluster) == ["DHCP is not served"]
