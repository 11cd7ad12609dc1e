"""`bootstrapper lab`: a server of our own in a LAN of its own, and the described machines booting from it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

from rich.console import Console

from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import UserError
from bootstrapper.lab.accelerator import find_accelerator
from bootstrapper.lab.board import OFF, Board, Row
from bootstrapper.lab.machine import (
    MEMORY_MIB,
    OVMF_VARS,
    REAL_MEMORY_MIB,
    FirmwareKind,
    VirtualMachine,
    build_command,
    build_machine,
)
from bootstrapper.lab.network import Lan
from bootstrapper.lab.programs import RACK, require
from bootstrapper.lab.progress import View, open_view
from bootstrapper.lab.systemd_system import build_systemd_system
from bootstrapper.lab.test_system import build_test_system, default_cache, prepare_assets
from bootstrapper.lab.uefi import add_boot_order
from bootstrapper.state.sqlite import SqliteStore

MARKER = "lab.json"
"In a state directory: the lab made it, and may empty it when it starts afresh."
POLL_S = 0.5
SERVER_START_S = 60.0


SYSTEMS = {"small": build_test_system, "systemd": build_systemd_system}


@dataclass(frozen=True)
class LabSetup:
    description: Path
    state: Path
    assets: Path | None = None
    "Where the real images are, if they are at hand."
    cache: Path = field(default_factory=default_cache)
    once: bool = False
    "End when every machine is there."
    keep: bool = False
    "Go on with the disks and the state of the last run."
    timeout_s: float = 1800.0
    parallel: int = 0
    "Machines that boot at the same time; 0: as many as there are processors."
    firmware: str = "mixed"
    "`bios`, `uefi`, or `mixed`: BIOS and UEFI in turn."
    goal: str = "joined"
    "What counts as there: a key of `board.GOALS`."
    memory_mib: int = 0
    "0: as much as the system needs."
    only: tuple[str, ...] = ()
    "Host names to power on; empty: all."
    system: str = "small"
    "What takes the place of images that are not at hand: a key of SYSTEMS."
    server: tuple[str, ...] = (sys.executable, "-m", "bootstrapper", "serve")


def run_lab(setup: LabSetup, console: Console | None = None) -> int:
    """Run the lab until Ctrl-C, or with `once` until every machine is there. Returns the exit status.

    Raises UserError when it cannot start.
    """
    if os.geteuid() != 0:
        raise UserError("the lab needs root: it makes a network namespace with a bridge", "run it with sudo")
    require(RACK)
    cluster = _load(setup.description)
    _check_machines(cluster, setup.only)
    view = open_view(console or Console())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # taken down as tidily as by Ctrl-C
    try:
        with ExitStack() as stack:
            return _run(setup, cluster, view, stack)
    except KeyboardInterrupt:
        view.close()
        view.say("lab: ending")
        return 0 if not setup.once else 1
    finally:
        view.close()


def _run(setup: LabSetup, cluster: Cluster, view: View, stack: ExitStack) -> int:
    directory = prepare_state(setup.state, setup.keep)
    assets, description = setup.state / "assets", setup.description
    memory = setup.memory_mib or REAL_MEMORY_MIB
    if prepare_assets(cluster, setup.assets, assets, setup.cache, view.say, SYSTEMS[setup.system]):
        memory = setup.memory_mib or MEMORY_MIB
        description = link_description(description, directory)
        view.say(
            f"lab: the described system's images are not at hand: the {setup.system} test system takes their place"
        )
    elif setup.assets is not None:
        assets = setup.assets
    accelerator = find_accelerator()
    network = cluster.network
    lan = stack.enter_context(
        Lan(network.interface or "lan0", IPv4Interface(f"{network.bootstrapper}/{network.link.network.prefixlen}"))
    )
    command = [*setup.server, str(description), "--state", str(setup.state), "--assets", str(assets)]
    # What a lab's machines run is the lab's business: the test system needs no cluster's programs.
    command += ["--log", "json", "--require", "boot"]
    rack = Rack(lan, accelerator, directory, view)
    stack.callback(rack.stop)
    rack.start_server(command, f"http://{network.bootstrapper}/healthz")
    machines = build_rack(cluster, setup, directory, memory)
    board = Board({mac: Row(vm.name, mac, vm.firmware) for mac, vm in machines.items()}, setup.goal)
    view.say(f"lab: {len(machines)} machines, {'KVM' if accelerator == 'kvm' else 'software emulation'}, "
             f"consoles in {directory}/*.console")  # fmt: skip
    store = SqliteStore(setup.state / "state.db")
    stack.callback(store.close)
    arrived = rack.boot_all(machines, board, store, setup)
    view.close()
    if arrived:
        view.say(f"lab: all {len(machines)} machines have claimed their own configurations and reported them")
    else:
        _explain(board, machines, view, directory)
    if setup.once or not rack.serving:
        return 0 if arrived else 1
    view.say("lab: serving on, Ctrl-C ends it")
    rack.watch(board, store)
    return 1


class Rack:
    """The running parts: the server and the virtual machines."""

    def __init__(self, lan: Lan, accelerator: str, directory: Path, view: View) -> None:
        self._lan = lan
        self._accelerator = accelerator
        self._directory = directory
        self._view = view
        self._server: subprocess.Popen[bytes] | None = None
        self._router: subprocess.Popen[bytes] | None = None
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._machines: dict[str, VirtualMachine] = {}
        "Powered on, by name."
        self._last_event = 0

    def start_server(self, command: Sequence[str], health_url: str) -> None:
        """Start it and wait until it answers. Raises UserError with the end of its log when it does not."""
        log = self._directory / "serve.log"
        router = [sys.executable, "-m", "bootstrapper.lab.router", self._lan.interface]
        with log.open("wb") as opened:
            self._router = subprocess.Popen(self._lan.inside(router), stdin=subprocess.DEVNULL, stderr=opened)
            self._server = subprocess.Popen(
                self._lan.inside(command), stdin=subprocess.DEVNULL, stdout=opened, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + SERVER_START_S
        ask = self._lan.inside(["curl", "--silent", "--fail", "--max-time", "2", "--output", "/dev/null", health_url])
        while subprocess.run(ask, check=False, capture_output=True).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the server did not start: {tail(log, 5)}", f"its whole log is {log}")
            time.sleep(0.3)

    @property
    def serving(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def stop_server(self) -> None:
        """As an admin would, by SIGTERM; the machines stay on."""
        if self._server is not None:
            _end(self._server)

    def power_on(self, vm: VirtualMachine) -> None:
        for card in vm.cards:
            self._lan.add_tap(card.tap)
        for disk in vm.disks:
            if not disk.path.exists():
                with disk.path.open("wb") as opened:
                    opened.truncate(disk.size_bytes)
        if vm.firmware is FirmwareKind.UEFI and not vm.variables.exists():
            store = add_boot_order(Path(OVMF_VARS).read_bytes(), [card.mac for card in vm.cards])
            vm.variables.write_bytes(store)
        self._start(vm)

    def _start(self, vm: VirtualMachine) -> None:
        self._machines[vm.name] = vm
        with vm.console.with_suffix(".qemu").open("ab") as log:
            self._children[vm.name] = subprocess.Popen(
                self._lan.inside(build_command(vm, self._accelerator)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def is_off(self, name: str) -> bool:
        """Whether it has reset itself, which ends QEMU, and was not started again (`update` does that)."""
        return self._children[name].poll() is not None

    def power_cut(self, name: str) -> None:
        """Off and on again, as by its plug."""
        child = self._children[name]
        child.kill()
        child.wait()
        self._start(self._machines[name])

    def boot_all(self, machines: dict[str, VirtualMachine], board: Board, store: SqliteStore, setup: LabSetup) -> bool:
        """Power the machines on, a few at a time; True when all are there before the time is up."""
        at_once = setup.parallel or os.cpu_count() or 2
        deadline = time.monotonic() + setup.timeout_s
        while board.missing():
            if not self.serving:
                self._view.say(f"lab: the server ended: {tail(self._directory / 'serve.log', 5)}")
                return False
            for row in board.waiting()[: max(0, at_once - len(board.busy()))]:
                self.power_on(machines[row.mac])
                board.power_on(row.mac, time.time())
            self.update(board, store)
            stuck = not board.under_way() and not board.waiting()
            if board.missing() and (stuck or time.monotonic() > deadline):
                return False
            time.sleep(POLL_S)
        time.sleep(POLL_S)  # the server stores events a moment after the states they led to
        self.update(board, store)
        return True

    def watch(self, board: Board, store: SqliteStore) -> None:
        """Show on, until Ctrl-C or the server's end."""
        while self.serving:
            self.update(board, store)
            time.sleep(POLL_S)
        raise UserError(f"the server ended: {tail(self._directory / 'serve.log', 5)}")

    def update(self, board: Board, store: SqliteStore) -> None:
        now = time.time()
        found = store.events(after=self._last_event)
        if found:
            self._last_event = found[-1][0]
        lines = board.take_events(event for _, event in found)
        board.take_histories(store.load_histories(), now)
        for mac, row in list(board.rows.items()):
            child = self._children.get(row.name)
            if child is None or child.poll() is None or row.state == OFF:
                continue
            if child.returncode == 0:
                self._start(self._machines[row.name])  # the machine reset itself
            else:
                log = self._directory / f"{row.name}.qemu"
                board.power_off(mac, f"QEMU ended with status {child.returncode}: {tail(log, 2)}", now)
        self._view.show(board, lines, now)

    def stop(self) -> None:
        children = [*self._children.values(), *(each for each in (self._server, self._router) if each is not None)]
        for child in children:
            child.terminate()
        for child in children:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def prepare_state(state: Path, keep: bool) -> Path:
    """The lab's own directory below `state`, which is emptied unless `keep`.

    Raises UserError for a directory that has something in it and was not made by the lab.
    """
    marker = state / MARKER
    if state.is_dir() and any(state.iterdir()) and not marker.is_file():
        raise UserError(f"{state} is not empty and was not made by the lab", "give another --state: it will be emptied")
    if not keep and marker.is_file():
        for path in state.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != marker:
                path.unlink()
    directory = state / "lab"
    directory.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"made by": "bootstrapper lab", "emptied": "at each start without --keep"}) + "\n")
    return directory


def link_description(description: Path, directory: Path) -> Path:
    """The description by a name in `directory`. The `assets.lock` beside it has the hashes of the real images, and to a
    server that compared the test system's with them no machine would ever be ready."""
    link = directory / description.name
    link.unlink(missing_ok=True)
    link.symlink_to(description.resolve())
    return link


def build_rack(cluster: Cluster, setup: LabSetup, directory: Path, memory_mib: int) -> dict[str, VirtualMachine]:
    """By first MAC, in the description's order."""
    return {
        machine.mac: build_machine(machine, index, choose_firmware(setup.firmware, index), directory, memory_mib)
        for index, machine in enumerate(cluster.machines)
        if not setup.only or machine.host in setup.only
    }


def choose_firmware(choice: str, index: int) -> FirmwareKind:
    """`mixed`: the first machine BIOS, the second UEFI, and so on."""
    if choice == "mixed":
        return (FirmwareKind.BIOS, FirmwareKind.UEFI)[index % 2]
    return FirmwareKind(choice)


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, without the control characters of a console."""
    if not path.exists():
        return "(nothing)"
    text = path.read_bytes()[-20_000:].decode(errors="replace")
    clean = "".join(char for char in text if char == "\n" or char.isprintable())
    kept = [line for line in clean.splitlines() if line.strip()]
    return "\n".join(kept[-lines:]) or "(nothing)"


def _explain(board: Board, machines: dict[str, VirtualMachine], view: View, directory: Path) -> None:
    """For each machine that did not get there: its last step, and the end of its console."""
    for row in board.missing():
        console = machines[row.mac].console
        view.say(f"lab: {row.name} ({row.firmware}) did not get there: {row.state}; last step: {row.step or 'none'}")
        view.say(f"  the end of its console, {console}:")
        for line in tail(console, 15).splitlines():
            view.say(f"    {line}")
    view.say(f"lab: the server's log is {directory}/serve.log")


def _load(path: Path) -> Cluster:
    try:
        return load(path.read_text(), str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "give the path of the description") from error


def _check_machines(cluster: Cluster, only: Collection[str]) -> None:
    """Before anything is made. Raises UserError."""
    unknown = set(only) - set(cluster.by_host)
    if unknown:
        raise UserError(f"no such machine: {', '.join(sorted(unknown))}", f"there are {', '.join(cluster.by_host)}")
    outside = [each.host for each in cluster.machines if each.ip and each.ip not in cluster.network.link.network]
    if outside:
        raise UserError(
            f"the lab has one LAN, {cluster.network.link.network}; on another subnet: {', '.join(outside)}",
            "leave them out of the file for the lab",
        )
