"""Real firmware against the real server: from power-on to the installed system, and a stranger that gets nothing.

SeaBIOS with the card's iPXE ROM, and OVMF with edk2's own PXE stack. Under software emulation this takes minutes, so
one rack is booted for all tests here; each looks at one promise.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from rich.console import Console

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.load import load
from bootstrapper.lab.accelerator import find_accelerator
from bootstrapper.lab.board import Board, Row
from bootstrapper.lab.machine import Card, Disk, FirmwareKind, VirtualMachine
from bootstrapper.lab.network import Lan
from bootstrapper.lab.programs import BUILD, RACK, find_missing
from bootstrapper.lab.progress import PlainView
from bootstrapper.lab.rack import LabSetup, Rack, build_rack, prepare_state
from bootstrapper.lab.test_system import default_cache, prepare_assets
from bootstrapper.state.sqlite import SqliteStore

pytestmark = [pytest.mark.boots, pytest.mark.timeout(900)]

ALPHA, BETA, STRANGER = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:ff"
DESCRIPTION = """\
version: 1
cluster: {name: boots, domain: boots.example}
network:
  subnet: 10.77.0.0/24
  bootstrapper: 10.77.0.1
  routers: [10.77.0.254]
  interface: lan0
  dhcp: {range: 10.77.0.100-10.77.0.109}
os: {version: 4593.2.5}
kubernetes: {version: 1.35.8}
machines:
  - {mac: "52:54:00:00:00:0a", host: alpha, ip: 10.77.0.11, roles: [etcd, master]}
  - {mac: "52:54:00:00:00:0b", host: beta, roles: [worker],
     disk: {path: "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"}, os: {provision: ignition}}
"""


@dataclass(frozen=True)
class Story:
    """What is left to look at once the rack has been up."""

    arrived: bool
    histories: dict[str, History]
    events: list[Event]
    consoles: dict[str, str]
    sightings: list[str]
    leases: dict[str, IPv4Address]
    power_on_at: dict[str, float]

    def steps(self, mac: str, service: str, step: str) -> list[Event]:
        return [each for each in self.events if (each.mac, each.service, each.step) == (mac, service, step)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    if os.geteuid() != 0 or find_missing([*RACK, *BUILD]):
        pytest.skip(f"needs root, and the packages {', '.join(find_missing([*RACK, *BUILD])) or '(all are there)'}")
    work = tmp_path_factory.mktemp("boots")
    description = work / "cluster-desc.yaml"
    description.write_text(DESCRIPTION)
    cluster = load(DESCRIPTION, str(description))
    setup = LabSetup(description, work / "state", timeout_s=600)
    directory = prepare_state(setup.state, keep=False)
    view = PlainView(Console(file=sys.__stdout__, width=160))
    prepare_assets(cluster, None, setup.state / "assets", default_cache(), view.say)
    with Lan("lan0", IPv4Interface("10.77.0.1/24")) as lan:
        rack = Rack(lan, find_accelerator(), directory, view)
        try:
            command = [*setup.server, str(description), "--state", str(setup.state), "--log", "json"]
            command += ["--require", "boot"]
            rack.start_server(command, "http://10.77.0.1/healthz")
            machines = build_rack(cluster, setup, directory, 1024)
            board = Board({mac: Row(vm.name, mac, vm.firmware) for mac, vm in machines.items()})
            store = SqliteStore(setup.state / "state.db")
            arrived = rack.boot_all(machines, board, store, setup)
            boot_stranger(rack, directory, store)
            yield Story(
                arrived=arrived,
                histories=store.load_histories(),
                events=[event for _, event in store.events(limit=100_000)],
                consoles={
                    path.stem: path.read_bytes().decode(errors="replace") for path in directory.glob("*.console")
                },
                sightings=[each.mac for each in store.load_sightings()],
                leases={each.mac: each.address for each in store.load_leases()},
                power_on_at={mac: row.powered_at or 0.0 for mac, row in board.rows.items()},
            )
            store.close()
        finally:
            rack.stop()


def boot_stranger(rack: Rack, directory: Path, store: SqliteStore) -> None:
    """Power on a machine that is not in the file, and give it the time in which the others got their address."""
    vm = VirtualMachine(
        name="stranger",
        firmware=FirmwareKind.BIOS,
        cards=(Card(STRANGER, "t9.0"),),
        disks=(Disk(directory / "stranger.disk"),),
        console=directory / "stranger.console",
        variables=directory / "stranger.vars",
        memory_mib=512,
    )
    rack.power_on(vm)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not [each for each in store.load_sightings() if each.mac == STRANGER]:
        time.sleep(0.5)
    time.sleep(10)


def test_both_firmwares_reach_the_installed_system(story: Story) -> None:
    assert story.arrived
    for mac in (ALPHA, BETA):
        assert story.histories[mac].state is MachineState.INSTALLED
        assert story.histories[mac].booted_at, "the system on its disk has not reported"
        assert (story.histories[mac].wanted, story.histories[mac].done) == (1, 1)


@pytest.mark.parametrize(("mac", "host", "kind"), [(ALPHA, "alpha", "cloud-config"), (BETA, "beta", "ignition")])
def test_each_machine_has_its_own_configuration(story: Story, mac: str, host: str, kind: str) -> None:
    installed = story.consoles[host].split("first boot from the disk", 1)[1]
    assert re.findall(r"lab: host name (\S+)", installed) == [host]
    assert [kind in event.detail for event in story.steps(mac, "http", "config claimed")] == [True]


@pytest.mark.parametrize("mac", [ALPHA, BETA])
def test_each_configuration_was_claimed_once_and_every_step_reported(story: Story, mac: str) -> None:
    (claimed,) = story.steps(mac, "http", "config claimed")
    seconds = claimed.at - story.power_on_at[mac]
    print(f"{mac}: power-on to claimed configuration in {seconds:.1f} s", file=sys.__stdout__)
    # A report whose answer was lost or late is sent again.
    for step in ("clock", "disk", "config", "image", "installed"):
        assert story.steps(mac, "installer", step) != [], step
    assert story.steps(mac, "system", "booted") != []
    assert len(story.steps(mac, "http", "script")) == 1, "it booted the installer again"


def test_uefi_fetched_its_first_file_by_the_firmwares_own_stack(story: Story) -> None:
    assert any("snponly.efi" in event.detail for event in story.events if (event.mac, event.service) == (BETA, "tftp"))


def test_one_machine_keeps_one_address_through_the_whole_chain(story: Story) -> None:
    for mac, host in ((ALPHA, "alpha"), (BETA, "beta")):
        offered = {event.detail.split()[0].rstrip(",") for event in story.steps(mac, "dhcp", "ack")}
        assert len(offered) == 1, f"{host} was given {offered}"
    assert {event.detail.split()[0] for event in story.steps(ALPHA, "dhcp", "ack")} == {"10.77.0.11"}


def test_a_machine_that_is_not_in_the_file_gets_nothing_but_a_place_in_the_list(story: Story) -> None:
    assert STRANGER in story.sightings
    assert STRANGER not in story.leases
    assert "Configuring (net0" in story.consoles["stranger"]
    assert "net0: 10.77.0" not in story.consoles["stranger"]
    assert not [event for event in story.events if event.mac == STRANGER and event.step in ("offer", "ack")]
