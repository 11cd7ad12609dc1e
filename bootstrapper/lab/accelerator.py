"""KVM when it works here, else QEMU's own emulation (TCG).

That /dev/kvm opens proves little: inside some virtual machines it is there, makes a virtual machine, and then fails on
a register or hangs in the firmware's real mode. So a machine without network or disk is started with it for a moment.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

PROBE_S = 8.0
READY = b"iPXE initialising devices...ok"
"Printed once the ROM has been through real mode and back."


def find_accelerator(device: Path = Path("/dev/kvm")) -> str:
    """`kvm` or `tcg`."""
    if not os.access(device, os.R_OK | os.W_OK):
        return "tcg"
    with TemporaryDirectory() as work:
        return "kvm" if probe(probe_command(Path(work) / "console"), Path(work) / "console") else "tcg"


def probe_command(console: Path) -> list[str]:
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,graphics=off",
            "-accel", "kvm", "-cpu", "host", "-m", "256", "-serial", f"file:{console}", "-device",
            "virtio-net-pci,bootindex=1"]  # fmt: skip


def probe(command: list[str], console: Path) -> bool:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PROBE_S
        while time.monotonic() < deadline and child.poll() is None:
            if console.exists() and READY in console.read_bytes():
                return True
            time.sleep(0.1)
        return False
    finally:
        child.kill()
        child.wait()
