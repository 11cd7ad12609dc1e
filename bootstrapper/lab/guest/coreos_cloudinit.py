"""What coreos-cloudinit does with a cloud-config, for the systemd test system: Debian has no package of the real one.

Its order (flatcar/coreos-cloudinit, initialize/config.go): host name, users and keys, files, units placed, masked and
enabled, systemd reloaded, networkd restarted, commands one by one. An error stops the rest. Keys that our
configurations do not use are refused rather than passed over.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bootstrapper.lab.guest.cloud_config import decode_content, parse_mode
from bootstrapper.lab.guest.ignition import write_file, write_unit

Run = Callable[[Sequence[str]], None]
KNOWN = {"hostname", "ssh_authorized_keys", "users", "write_files", "coreos"}
NETWORK = (".network", ".netdev", ".link")
KEYS_FILE = ".ssh/authorized_keys.d/coreos-cloudinit"


def apply(text: str, root: Path, run: Run) -> None:
    """Raises ValueError for what is no cloud-config, and whatever `run` raises for a command that fails."""
    if text.splitlines()[:1] != ["#cloud-config"]:
        raise ValueError("the first line is not #cloud-config")
    config = yaml.safe_load(text)
    if not isinstance(config, Mapping) or config.keys() - KNOWN or (config.get("coreos") or {}).keys() - {"units"}:
        raise ValueError(f"expected a mapping of {', '.join(sorted(KNOWN))}")
    if config.get("hostname"):
        name = str(config["hostname"]).partition(".")[0]
        write_file(root / "etc/hostname", f"{name}\n".encode(), 0o644)
        run(["hostname", name])
    for user in config.get("users") or []:
        run(["useradd", "--create-home", *_groups(user), user["name"]])
        place_keys(user["name"], user.get("ssh_authorized_keys") or [], root, run)
    place_keys("core", config.get("ssh_authorized_keys") or [], root, run)
    for file in config.get("write_files") or []:
        place_file(file, root)
    apply_units((config.get("coreos") or {}).get("units") or [], root, run)


def place_keys(user: str, keys: Sequence[str], root: Path, run: Run) -> None:
    if keys:
        home = Path("home") / user
        write_file(root / home / KEYS_FILE, "".join(f"{key}\n" for key in keys).encode(), 0o600)
        run(["chown", "-R", f"{user}:", f"/{home}/.ssh"])


def place_file(file: Mapping[str, Any], root: Path) -> None:
    """Written beside its place and moved: who reads at that moment sees the old or the new."""
    path = root / file["path"].lstrip("/")
    new = path.with_name(f".{path.name}.new")
    write_file(new, decode_content(file.get("content", ""), file.get("encoding", "")),
               parse_mode(file.get("permissions", "0644")))  # fmt: skip
    if file.get("owner"):
        owner, _, group = str(file["owner"]).partition(":")
        shutil.chown(new, owner, group or None)
    new.replace(path)


def apply_units(units: Sequence[Mapping[str, Any]], root: Path, run: Run) -> None:
    commands: list[tuple[str, str]] = []
    network = False
    for unit in units:
        name = unit["name"]
        write_unit(root, name, unit.get("content"), unit.get("drop_ins") or [], "content")
        if unit.get("mask"):
            run(["systemctl", "mask", name])
        if name.endswith(NETWORK):
            network = True
            continue
        if unit.get("enable"):
            run(["systemctl", "--no-reload", "enable", name])
        if unit.get("command"):
            commands.append((unit["command"], name))
    run(["systemctl", "daemon-reload"])
    if network:
        run(["systemctl", "restart", "systemd-networkd.service"])
    for command, name in commands:
        run(["systemctl", command, name])


def _groups(user: Mapping[str, Any]) -> list[str]:
    return ["--groups", ",".join(user["groups"])] if user.get("groups") else []


def _run(command: Sequence[str]) -> None:
    subprocess.run(list(command), check=True)


if __name__ == "__main__":
    apply(Path(sys.argv[1]).read_text(), Path("/"), _run)
    print("lab: the cloud-config is applied", flush=True)
