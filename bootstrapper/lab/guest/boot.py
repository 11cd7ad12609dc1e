"""What the test system does once its kernel runs: as installer or as installed system, by its kernel arguments.

Installer: an address by DHCP, the configuration at `ignition.config.url=`, its files and units. Installed system: the
root file system, the configuration that the installer left there, the same again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from bootstrapper.lab.guest.cloud_config import apply_cloud_config
from bootstrapper.lab.guest.ignition import apply_ignition
from bootstrapper.lab.guest.units import say, start_all

KEPT = ("etc", "var", "opt", "home")
"Directories that live on the disk of an installed system."
UDHCPC = ("-O", "hostname", "-O", "domain", "-O", "dns", "-O", "router", "-O", "ntpsrv", "-s", "/usr/lib/lab/dhcp.sh")
USER_DATA = Path("/var/lib/flatcar-install/user_data")
FIRST_BOOT_DONE = Path("/var/lib/lab/first-boot-done")


def parse_arguments(text: str) -> dict[str, str]:
    """/proc/cmdline as a mapping; of a repeated argument the last counts."""
    return {word.partition("=")[0]: word.partition("=")[2] for word in text.split()}


def main() -> None:
    arguments = parse_arguments(Path("/proc/cmdline").read_text())
    subprocess.run(["udevadm", "settle"], check=False)
    url = arguments.get("ignition.config.url", "")
    root = arguments.get("root", "")
    if url:
        bring_up_network()
        units = install_system(url)
    elif root.startswith("LABEL="):
        mount_root(root.removeprefix("LABEL="))
        units = start_system()
        bring_up_network()
    else:
        say("no ignition.config.url= and no root=: nothing to do")
        return
    name = Path("/etc/hostname")
    if name.exists():
        subprocess.run(["hostname", name.read_text().strip()], check=False)
        say(f"host name {name.read_text().strip()}")
    start_all(units)
    os.sync()  # from here on the plug may be pulled: the root has no journal
    say("all units were started")


def bring_up_network() -> None:
    """DHCP on every card, by MAC as client identifier (Flatcar's PXE image does the same); the first answer counts."""
    cards = sorted(path.name for path in Path("/sys/class/net").iterdir() if path.name != "lo")
    for card in cards:
        subprocess.run(["ip", "link", "set", card, "up"], check=False)
    while True:
        for card in cards:
            command = ["udhcpc", "-i", card, "-n", "-q", "-f", "-t", "4", "-T", "2", *UDHCPC]
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                show_address(card)
                return
        say(f"no DHCP answer on {', '.join(cards)}, asking again")
        time.sleep(2)


def show_address(card: str) -> None:
    text = subprocess.run(["ip", "-4", "addr", "show", card], check=False, capture_output=True, text=True).stdout
    found = re.search(r"inet (\S+)", text)
    say(f"address {found[1] if found else 'none'} on {card}")


def install_system(url: str) -> list[str]:
    say(f"configuration from {url}")
    for attempt in range(1, 31):
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--fail", "--max-time", "20", url],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode == 0:
            units, passed = apply_ignition(json.loads(done.stdout), Path("/"))
            for line in passed:
                say(f"passed over: {line}")
            return units
        say(f"no configuration yet (try {attempt}): {done.stderr.strip()}")
        time.sleep(2)
    sys.exit("lab: the configuration could not be fetched")


def mount_root(label: str) -> None:
    """The disk's root file system over the directories that an installed system keeps."""
    at = Path("/run/root")
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", f"/dev/disk/by-label/{label}", str(at)], check=True)
    for name in KEPT:
        kept = at / name
        if not kept.exists():
            Path("/", name).mkdir(exist_ok=True)
            subprocess.run(["cp", "-a", f"/{name}", str(kept)], check=True)
        subprocess.run(["mount", "--bind", str(kept), f"/{name}"], check=True)


def start_system() -> list[str]:
    """Ignition on the first boot only, cloud-config on every one, as Flatcar does."""
    first = not FIRST_BOOT_DONE.exists()
    say("first boot from the disk" if first else "boot from the disk")
    units: list[str] = []
    ignition = read_oem("config.ign") if first else None
    if ignition is not None:
        units, passed = apply_ignition(json.loads(ignition), Path("/"))
        for line in passed:
            say(f"passed over: {line}")
        kept = FIRST_BOOT_DONE.with_name("units")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("\n".join(units))
    elif FIRST_BOOT_DONE.with_name("units").exists():
        units = FIRST_BOOT_DONE.with_name("units").read_text().split()
    if USER_DATA.exists():
        units += apply_cloud_config(USER_DATA.read_text(), Path("/"))
    FIRST_BOOT_DONE.parent.mkdir(parents=True, exist_ok=True)
    FIRST_BOOT_DONE.touch()
    return units


def read_oem(name: str) -> str | None:
    at = Path("/run/oem")
    at.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-o", "ro", "/dev/disk/by-label/OEM", str(at)], check=False).returncode != 0:
        return None
    path = at / name
    text = path.read_text() if path.exists() else None
    subprocess.run(["umount", str(at)], check=False)
    return text


if __name__ == "__main__":
    main()
