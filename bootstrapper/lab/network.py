"""The lab's LAN: one network namespace with a bridge that has the bootstrapper's address, and a tap for each card.

Nothing of it touches the host's network. It is taken down when the lab ends; what a killed lab left behind is found by
its name and removed when the next one starts.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from types import TracebackType

from bootstrapper.errors import UserError

PREFIX = "bslab"
LOCKS = Path("/run/bootstrapper-lab")
BRIDGE_MAC = "02:00:00:00:00:01"
"Fixed: without it a bridge takes the lowest MAC of its ports, and changes it as they come."


class Lan:
    """Use as a context: up inside it, gone after it."""

    def __init__(self, interface: str, address: IPv4Interface, name: str = "") -> None:
        """`interface` is the bridge's name, as the description calls the card to serve on."""
        self.interface = interface
        self.address = address
        self.namespace = name or f"{PREFIX}-{os.getpid()}"
        self._lock: int | None = None

    def __enter__(self) -> Lan:
        remove_stale()
        self._lock = hold_lock(self.namespace)
        if self._lock is None:
            raise UserError(f"the lab's network namespace {self.namespace} is in use", "is the same lab running twice?")
        try:
            for command in setup_commands(self.namespace, self.interface, self.address):
                run(command)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_tap(self, tap: str) -> None:
        for command in tap_commands(self.namespace, self.interface, tap):
            run(command)

    def inside(self, command: Sequence[str]) -> list[str]:
        """`command`, run in this LAN, and ended by the kernel when the lab itself dies."""
        return ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", self.namespace, *command]

    def close(self) -> None:
        remove_namespace(self.namespace)
        if self._lock is not None:
            (LOCKS / self.namespace).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def setup_commands(namespace: str, interface: str, address: IPv4Interface) -> list[list[str]]:
    inside = ["ip", "-n", namespace]
    return [
        ["ip", "netns", "add", namespace],
        [*inside, "link", "set", "lo", "up"],
        # No forwarding delay: a card that comes up must reach the DHCP server at once.
        [*inside, "link", "add", interface, "address", BRIDGE_MAC, "type", "bridge", "forward_delay", "0",
         "mcast_snooping", "0"],
        [*inside, "addr", "add", str(address), "dev", interface],
        [*inside, "link", "set", interface, "up"],
        ["ip", "netns", "exec", namespace, "ethtool", "-K", interface, "tx", "off"],
    ]  # fmt: skip


def tap_commands(namespace: str, interface: str, tap: str) -> list[list[str]]:
    inside = ["ip", "-n", namespace]
    return [
        [*inside, "tuntap", "add", tap, "mode", "tap"],
        [*inside, "link", "set", tap, "master", interface, "up"],
        # Firmware checks the checksums that offloading leaves out, and drops the OFFER (reference A7 row 34).
        ["ip", "netns", "exec", namespace, "ethtool", "-K", tap, "tx", "off"],
    ]


def find_stale(namespaces: str, held: Sequence[str]) -> list[str]:
    """The lab namespaces in the output of `ip netns list` that no running lab holds."""
    names = [line.split()[0] for line in namespaces.splitlines() if line.strip()]
    return [name for name in names if re.fullmatch(rf"{PREFIX}-\d+", name) and name not in held]


def remove_stale() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=False, capture_output=True, text=True).stdout
    removed = []
    for name in find_stale(listed, ()):
        lock = hold_lock(name)
        if lock is not None:
            remove_namespace(name)
            (LOCKS / name).unlink(missing_ok=True)
            os.close(lock)
            removed.append(name)
    return removed


def hold_lock(namespace: str) -> int | None:
    """A lock that the kernel drops when this process ends, however it ends; None: another process has it."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    lock = os.open(LOCKS / namespace, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def remove_namespace(namespace: str) -> None:
    """End what runs in it (only the lab's own processes can), then delete it and all its interfaces."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            done = subprocess.run(["ip", "netns", "pids", namespace], check=False, capture_output=True, text=True)
            pids = [int(word) for word in done.stdout.split()]
            if not pids:
                break
            for pid in pids:
                _signal(pid, how)
            time.sleep(0.1)
    subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


def _signal(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return


def run(command: Sequence[str]) -> None:
    done = subprocess.run(list(command), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(f"the lab's network cannot be set up: `{' '.join(command)}`: {done.stderr.strip()}",
                        "it needs root, and a kernel with network namespaces, bridges and tap devices")  # fmt: skip
