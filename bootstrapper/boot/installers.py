"""What a machine downloads to run its installer: kernel, initrds and the kernel's arguments, by operating system.

Names are below `/assets`; `assets.catalogue` and the boot scripts use the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bootstrapper.boot.links import flatcar_directory
from bootstrapper.cluster.model import Machine, OsFamily
from bootstrapper.errors import RenderProblem

SAFE_ARGUMENT = re.compile(r"[A-Za-z0-9_.,:=/@%+()\[\]!*~^?-]+")
"""One kernel argument that means the same to iPXE, GRUB, SYSLINUX and the kernel: no space, quote, `$`, `;`, `#`, `&`,
`|`, brace, backslash or control character. CVE-2026-46447 (Ironic) was a script injected through one."""


@dataclass(frozen=True, slots=True)
class Installer:
    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    "Of the kernel; without `initrd=`, which depends on the loader."


def find_installer(machine: Machine, config_url: str) -> Installer:
    """The installer of `machine`'s operating system, told to read its configuration at `config_url`.

    Raises RenderProblem when there is none for that system yet, or when an argument is not safe in a boot script.
    """
    family = machine.os.family
    if family not in INSTALLERS:
        known = ", ".join(INSTALLERS)
        raise RenderProblem(f"machine {machine.host}: no installer for os.family {family}", f"known: {known}")
    installer = INSTALLERS[family](machine, config_url)
    for argument in installer.arguments:
        if not SAFE_ARGUMENT.fullmatch(argument):
            raise RenderProblem(
                f"machine {machine.host}: kernel argument {argument!r} holds a character that a boot script would read",
                "letters, digits and _.,:=/@%+()[]!*~^?- are safe",
            )
    return installer


def _flatcar(machine: Machine, config_url: str) -> Installer:
    """Flatcar's PXE image. `flatcar.first_boot` makes Ignition run (reference kubernetes.md 1.2)."""
    directory = flatcar_directory(machine.os, machine.arch)
    arguments = ("flatcar.first_boot=1", f"ignition.config.url={config_url}", *_own_arguments(machine))
    return Installer(
        kernel=f"{directory}/flatcar_production_pxe.vmlinuz",
        initrds=(f"{directory}/flatcar_production_pxe_image.cpio.gz",),
        arguments=arguments,
    )


def _own_arguments(machine: Machine) -> tuple[str, ...]:
    """The machine's `kernel_args`, and its console unless they name it already (the last console is /dev/console)."""
    arguments = machine.os.kernel_args
    if machine.console is None:
        return arguments
    console = machine.console if machine.console.startswith("console=") else f"console={machine.console}"
    return arguments if console in arguments else (*arguments, console)


INSTALLERS: dict[OsFamily, Callable[[Machine, str], Installer]] = {OsFamily.FLATCAR: _flatcar}
