"""A machine with the network first in its boot order, as a real one: installed once, then started again and again; and
one whose install never ends, which is stopped and told why."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface

import pytest
from rich.console import Console

from bootstrapper.boot.history import MachineState
from bootstrapper.cluster.load import load
from bootstrapper.lab.accelerator import find_accelerator
from bootstrapper.lab.machine import VirtualMachine
from bootstrapper.lab.network import Lan
from bootstrapper.lab.programs import BUILD, RACK, find_missing
from bootstrapper.lab.progress import PlainView
from bootstrapper.lab.rack import LabSetup, Rack, build_rack, prepare_state
from bootstrapper.lab.test_system import default_cache, prepare_assets
from bootstrapper.state.sqlite import SqliteStore

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

REBOOTS = 20
MASTER, ONCE, LOOP = "52:54:00:00:01:0a", "52:54:00:00:01:0b", "52:54:00:00:01:0c"
DESCRIPTION = f"""\
version: 1
cluster: {{name: reboots, domain: reboots.example}}
network:
  subnet: 10.79.0.0/24
  bootstrapper: 10.79.0.1
  routers: [10.79.0.254]
  interface: lan0
  dhcp: {{range: 10.79.0.100-10.79.0.109}}
  ntp: {{serve: false}}
registry: {{serve: false}}
os: {{version: 4593.2.5}}
kubernetes: {{version: 1.35.8}}
machines:
  - {{mac: "{MASTER}", host: master, ip: 10.79.0.11, roles: [etcd, master]}}
  - {{mac: "{ONCE}", host: once, roles: [worker]}}
  - {{mac: "{LOOP}", host: loop, roles: [worker]}}
"""
FROM_DISK, SETTLED = b"boot from the disk", b"all units were started"
LOADER = b"starting the installed system"
"What the loader on the disk says: from there on no server has a say."
WHOLE = 5
"Each fifth start is waited for until the system is up."


@dataclass(frozen=True)
class Running:
    rack: Rack
    store: SqliteStore
    machines: dict[str, VirtualMachine]

    def console(self, mac: str) -> bytes:
        path = self.machines[mac].console
        return path.read_bytes() if path.exists() else b""

    def count(self, mac: str, service: str, step: str, word: str = "") -> int:
        events = [event for _, event in self.store.events(mac)]
        return len([each for each in events if (each.service, each.step) == (service, step) and word in each.detail])

    def wait(self, what: Callable[[], object], seconds: float, mac: str) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert self.rack.serving
            assert time.monotonic() < until, self.console(mac)[-3000:].decode(errors="replace")
            time.sleep(0.2)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if os.geteuid() != 0 or find_missing([*RACK, *BUILD]):
        pytest.skip(f"needs root, and the packages {', '.join(find_missing([*RACK, *BUILD])) or '(all are there)'}")
    work = tmp_path_factory.mktemp("reboots")
    description = work / "cluster-desc.yaml"
    description.write_text(DESCRIPTION)
    cluster = load(DESCRIPTION, str(description))
    setup = LabSetup(description, work / "state", firmware="bios")
    directory = prepare_state(setup.state, keep=False)
    view = PlainView(Console(file=sys.__stdout__, width=160))
    prepare_assets(cluster, None, setup.state / "assets", default_cache(), view.say)
    with Lan("lan0", IPv4Interface("10.79.0.1/24")) as lan:
        rack = Rack(lan, find_accelerator(), directory, view)
        try:
            command = [*setup.server, str(description), "--state", str(setup.state), "--require", "boot"]
            rack.start_server([*command, "--admin", "off"], "http://10.79.0.1/healthz")
            store = SqliteStore(setup.state / "state.db")
            yield Running(rack, store, build_rack(cluster, setup, directory, 1024))
            store.close()
        finally:
            rack.stop()


def test_an_install_that_never_ends_is_stopped_and_told_why(running: Running) -> None:
    """Its power fails each time its installer has started: it asks for its installer again at every start."""
    running.rack.power_on(running.machines[LOOP])
    for opened in (1, 2, 3):
        running.wait(lambda opened=opened: running.count(LOOP, "http", "script", "install") == opened, 120, LOOP)  # type: ignore[misc]
        at = running.store.find_history(LOOP).opened_at[-1]
        running.wait(lambda at=at: time.time() > at + 10, 15, LOOP)  # type: ignore[misc] # sooner is the same boot
        running.rack.power_cut("loop")
    running.wait(lambda: running.store.find_history(LOOP).held, 120, LOOP)
    history = running.store.find_history(LOOP)
    words = "3 installs were opened within 30 minutes and none was reported done"
    assert (history.state, history.held, history.done) == (MachineState.HELD, words, 0)
    shown = b"3 installs were opened within 30 minutes"  # the console wraps after 80 columns
    running.wait(lambda: shown in running.console(LOOP), 60, LOOP)
    assert running.count(LOOP, "http", "script", "install") == 3
    told = [event.detail for _, event in running.store.events(LOOP) if event.step == "state"]
    assert told[-1].endswith(f"-> held: {words}")
    running.rack.power_cut("loop")
    running.wait(lambda: running.console(LOOP).count(shown) >= 2, 120, LOOP)


def test_one_install_and_twenty_reboots(running: Running) -> None:
    started = time.monotonic()
    running.rack.power_on(running.machines[ONCE])
    running.wait(lambda: running.store.find_history(ONCE).done == 1, 300, ONCE)
    # The installer resets the machine, which ends QEMU: the rack's plug is pulled and put in again.
    running.wait(lambda: running.rack.is_off("once"), 120, ONCE)
    running.rack.power_cut("once")
    running.wait(lambda: running.store.find_history(ONCE).booted_at, 300, ONCE)
    running.wait(lambda: running.console(ONCE).partition(FROM_DISK)[2].count(SETTLED) == 1, 120, ONCE)
    installed = running.store.find_history(ONCE)
    times = []
    for number in range(REBOOTS):
        word = SETTLED if number % WHOLE == WHOLE - 1 else LOADER
        before, at = running.console(ONCE).count(word), time.monotonic()
        running.rack.power_cut("once")
        running.wait(lambda word=word, before=before: running.console(ONCE).count(word) > before, 180, ONCE)  # type: ignore[misc]
        times.append(time.monotonic() - at)
        assert running.store.find_history(ONCE).open is False, f"reboot {number + 1}"
    print(f"\none install and {REBOOTS} reboots: {time.monotonic() - started:.0f} s, a reboot to its disk "
          f"{min(times):.1f}-{max(times):.1f} s", file=sys.__stdout__)  # fmt: skip
    after = running.store.find_history(ONCE)
    assert (after.wanted, after.done, after.held, after.booted_at) == (1, 1, "", installed.booted_at)
    assert running.count(ONCE, "http", "script", "install") == 1
    assert running.count(ONCE, "http", "config claimed") == 1
    assert running.count(ONCE, "installer", "installed") == 1
    assert running.count(ONCE, "dhcp", "ack", "nothing to boot: install generation 1 is done") >= REBOOTS
    assert running.console(ONCE).count(LOADER) == REBOOTS + 1
    assert running.console(ONCE).count(FROM_DISK) >= REBOOTS // WHOLE + 1
