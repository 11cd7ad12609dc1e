"""Network namespaces for tests: a switch, machines on it, and programs run in them. All is gone when the block ends.

    with Rack("hc") as rack:
        server = rack.machine("srv", "10.20.0.1/24")
        client = rack.machine("c1", mac="52:54:00:00:00:01")
        client.run("dhclient", "-1", "eth0")

Checksum offload is turned off on every veth: raw sockets (dhclient, dhcrelay) see packets before a checksum that the
kernel leaves to a card that is not there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pytest


def need(*programs: str) -> None:
    """Skip the test when it is not root or a program is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def run(*command: str, check: bool = True, timeout: float = 60) -> str:
    """Output and errors together; raises AssertionError with both when `check` and the command fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}"
    return done.stdout


def wait_for(
    what: Callable[[], Any], timeout: float = 30, every: float = 0.05, why: Callable[[], str] = lambda: ""
) -> Any:
    """The first true value of `what`; AssertionError when there is none in time, with the end of what `why` says."""
    until = time.monotonic() + timeout
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < until, f"nothing after {timeout} s\n{why()[-4000:]}"
        time.sleep(every)


class Machine:
    """A namespace with `eth0` (and perhaps more) in it."""

    def __init__(self, rack: Rack, name: str) -> None:
        self.rack = rack
        self.name = f"{rack.prefix}-{name}"
        self._children: list[subprocess.Popen[str]] = []
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def command(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> str:
        return run(*self.command(*command), check=check, timeout=timeout)

    def start(self, *command: str, log: Path | None = None, **more: Any) -> subprocess.Popen[str]:
        """A program in the background, ended with the rack. Its output goes to `log`."""
        output: IO[str] | int = log.open("a") if log else subprocess.DEVNULL
        child = subprocess.Popen(
            self.command(*command), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, **more
        )
        self._children.append(child)
        return child

    def ip(self, *arguments: str) -> str:
        return run("ip", "-n", self.name, *arguments)

    def addresses(self, interface: str = "eth0") -> list[str]:
        """As `10.20.0.100/24`."""
        lines = self.ip("-o", "-4", "address", "show", "dev", interface).splitlines()
        return [line.split()[3] for line in lines]

    def pids(self) -> list[int]:
        return [int(pid) for pid in run("ip", "netns", "pids", self.name, check=False).split() if pid.isdigit()]

    def stop(self, child: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
        child.send_signal(number)
        try:
            return child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                self.stop(child)
        # What daemons left behind: only processes in a namespace of ours.
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        run("ip", "netns", "delete", self.name, check=False)


class Rack:
    """A switch (`sw0`) and the machines on it. More switches are more subnets."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.machines: dict[str, Machine] = {}
        self._ports = 0

    def __enter__(self) -> Rack:
        self._switch = Machine(self, "switch")
        self.add_switch("sw0")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in self.machines.values():
            machine.close()
        self._switch.close()

    def add_switch(self, name: str) -> None:
        self._switch.ip("link", "add", name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self._switch.ip("link", "set", name, "up")

    def make_hub(self, name: str) -> None:
        """A switch that sends every frame to every port: whoever is on it hears all."""
        self._switch.ip("link", "set", name, "type", "bridge", "ageing_time", "0")

    def machine(self, name: str, address: str = "", mac: str = "", switch: str = "sw0") -> Machine:
        made = self.machines[name] = Machine(self, name)
        self.plug(made, "eth0", switch, address, mac)
        return made

    def plug(self, machine: Machine, interface: str, switch: str, address: str = "", mac: str = "") -> None:
        """A cable from `interface` of `machine` to `switch`."""
        self._ports += 1
        port = f"p{self._ports}"
        own = ["address", mac] if mac else []
        machine.ip("link", "add", interface, *own, "type", "veth", "peer", "name", port, "netns", self._switch.name)
        self._switch.ip("link", "set", port, "master", switch, "up")
        machine.run("ethtool", "-K", interface, "tx", "off", check=False)
        self._switch.run("ethtool", "-K", port, "tx", "off", check=False)
        if address:
            machine.ip("address", "add", address, "dev", interface)
        machine.ip("link", "set", interface, "up")


def describe(cluster: str, lines: Sequence[str] = ()) -> str:
    """A description's text with more lines behind it."""
    return cluster + "".join(f"{line}\n" for line in lines)
