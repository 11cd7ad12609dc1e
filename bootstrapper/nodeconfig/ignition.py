"""A NodeConfig as Ignition JSON, spec 3.3.0: the newest that every supported Flatcar takes (LTS 2024 up to now).

Applied at the first boot only, so `first_boot_only` needs nothing here. Kernel arguments are not in it: Ignition would
reboot once more for them, and the installer writes them to the disk. Neither are remote files: a download at this stage
is one that the boot waits for (reference kubernetes.md 1.7), so a unit of the system's own does it (`roles.downloads`).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from bootstrapper.nodeconfig.model import File, NodeConfig, Unit, User

VERSION = "3.3.0"
NETWORKD = (".network", ".netdev", ".link")


def emit_ignition(config: NodeConfig, secrets: bool) -> str:
    """The text. Without `secrets` every secret file is left out."""
    files = [file for file in config.files if secrets or not file.secret]
    if config.hostname:
        files.append(File("/etc/hostname", f"{config.hostname}\n".encode()))
    networks = [unit for unit in config.units if unit.name.endswith(NETWORKD)]
    files += [File(f"/etc/systemd/network/{unit.name}", (unit.content or "").encode()) for unit in networks]
    units = [_unit(unit) for unit in config.units if not unit.name.endswith(NETWORKD)]
    sections = [f'"ignition": {json.dumps({"version": VERSION})}']
    if config.users:
        sections.append(f'"passwd": {{"users": {_list([_user(user) for user in config.users])}}}')
    sections.append(f'"storage": {{"files": {_list([_file(file) for file in files])}}}')
    sections.append(f'"systemd": {{"units": {_list(units)}}}')
    return "{\n " + ",\n ".join(sections) + "\n}\n"


def _list(entries: list[dict[str, Any]]) -> str:
    """One entry a line: to be read, and seven times as fast as `indent`, which json has no C code for."""
    return "[" + ",".join(f"\n  {json.dumps(entry)}" for entry in entries) + "\n ]"


def _file(file: File) -> dict[str, Any]:
    user, _, group = file.owner.partition(":")
    source = f"data:;base64,{base64.b64encode(file.content).decode()}"
    written: dict[str, Any] = {"path": file.path, "overwrite": True, "mode": file.mode, "contents": {"source": source}}
    if user != "root":
        written["user"] = {"name": user}
    if (group or user) != "root":
        written["group"] = {"name": group or user}
    return written


def _unit(unit: Unit) -> dict[str, Any]:
    written: dict[str, Any] = {"name": unit.name}
    if unit.mask:
        written["mask"] = True
    if unit.enable or (unit.start and not unit.mask):
        written["enabled"] = True
    if unit.content is not None:
        written["contents"] = unit.content
    if unit.drop_ins:
        written["dropins"] = [{"name": drop_in.name, "contents": drop_in.content} for drop_in in unit.drop_ins]
    return written


def _user(user: User) -> dict[str, Any]:
    written: dict[str, Any] = {"name": user.name}
    if user.ssh_authorized_keys:
        written["sshAuthorizedKeys"] = list(user.ssh_authorized_keys)
    if user.groups:
        written["groups"] = list(user.groups)
    return written
