"""The boot scripts: what iPXE, GRUB or SYSLINUX runs on a machine, as text, from `templates/boot/`.

They say on the machine's console what happens and why, since that console is often all a person has.
"""

from __future__ import annotations

from datetime import UTC, datetime

import jinja2

from bootstrapper import templating
from bootstrapper.boot.decide import Action, Decision
from bootstrapper.boot.firmware import Firmware
from bootstrapper.boot.installers import find_installer
from bootstrapper.boot.links import Links
from bootstrapper.boot.local_disk import find_way
from bootstrapper.cluster.model import Cluster, Machine

NO_TOKEN = "TOKEN-OF-THIS-BOOT"  # noqa: S105 - what `render` shows where a served script has the token; claims nothing


def render_script(
    environment: jinja2.Environment,
    decision: Decision,
    firmware: Firmware,
    machine: Machine | None,
    cluster: Cluster,
    links: Links,
    token: str | None,
    *,
    output: str = "boot.ipxe",
    mac: str = "",
    at: float | None = None,
) -> str:
    """The script for `decision`.

    `output` is one of `OUTPUTS`; `mac` names a machine that is not in the description (or that we will not name to
    the asker); `at` is the wall clock to show in a refusal, None: no time is shown. Raises RenderProblem.
    """
    action = decision.action if decision.action in (Action.INSTALL, Action.LOCAL_DISK) else Action.REFUSE
    variables: dict[str, object] = {
        "action": str(action),
        "reason": decision.reason,
        "host": machine.host if machine else "",
        "mac": machine.mac if machine else mac,
        "generation": decision.generation,
        "way": str(find_way(firmware, decision.local_boot)),
        "local_boot": str(decision.local_boot),
        "server": links.http,
        "again": links.script(machine.mac, firmware.code) if decision.retry and machine else "",
        "time": "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }
    if action is Action.INSTALL:
        assert machine is not None, "decide installs known machines only"
        installer = find_installer(machine, links.install(token or NO_TOKEN))
        variables |= {
            "system": f"{machine.os.family} {machine.os.version}",
            "kernel": links.assets(installer.kernel),
            "initrds": [links.assets(name) for name in installer.initrds],
            "initrd_names": [name.rpartition("/")[2] for name in installer.initrds],
            "arguments": installer.arguments,
            "kernel_path": f"/assets/{installer.kernel}",
            "initrd_paths": [f"/assets/{name}" for name in installer.initrds],
            "grub_device": f"(http,{links.http.removeprefix('http://')})",
        }
    return templating.render(environment, OUTPUTS[output][action], variables, about=machine.host if machine else mac)


def render_autoexec(environment: jinja2.Environment, links: Links) -> str:
    """For an iPXE that asks for `autoexec.ipxe` before anything else: get an address, then this machine's script."""
    return templating.render(environment, "boot/autoexec.ipxe.j2", {"server": links.http})


OUTPUTS: dict[str, dict[Action, str]] = {
    "boot.ipxe": {
        Action.INSTALL: "boot/install.ipxe.j2",
        Action.LOCAL_DISK: "boot/local-disk.ipxe.j2",
        Action.REFUSE: "boot/refuse.ipxe.j2",
    },
    "grub.cfg": dict.fromkeys((Action.INSTALL, Action.LOCAL_DISK, Action.REFUSE), "boot/grub.cfg.j2"),
    "pxelinux.cfg": dict.fromkeys((Action.INSTALL, Action.LOCAL_DISK, Action.REFUSE), "boot/pxelinux.cfg.j2"),
}
"Output name -> action -> template."
