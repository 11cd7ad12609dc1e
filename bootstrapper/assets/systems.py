"""The files of an operating system that installing it without internet needs, by family. Pure.

Only Flatcar has an installer here today; the other families' files are listed and fetched so that a mirror can be made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bootstrapper.boot.installers import find_installer
from bootstrapper.boot.links import image_name
from bootstrapper.cluster.model import Arch, Machine, OsFamily

SIGNATURE = "signature"
KEY = "key"
"Uses of a file that are asked for elsewhere."


@dataclass(frozen=True, slots=True)
class Asset:
    name: str
    "Below the assets directory."
    use: str
    "What it is for, in a word or two."


def list_assets(machine: Machine) -> tuple[Asset, ...]:
    """What `machine`'s system is installed from: what is booted, and what the installer writes."""
    return SYSTEMS[machine.os.family](machine)


def _flatcar(machine: Machine) -> tuple[Asset, ...]:
    """The signature is needed as much as the image: `flatcar-install` refuses to write without it. Names are what
    `flatcar-install -b BASE` asks for (reference kubernetes.md 1.5)."""
    installer = find_installer(machine, "http://0.0.0.0/")
    booted = [Asset(installer.kernel, "kernel"), *(Asset(name, "initrd") for name in installer.initrds)]
    image = image_name(machine.os, machine.arch)
    return (*booted, Asset(image, "image"), Asset(f"{image}.sig", SIGNATURE))


def _fedora_coreos(machine: Machine) -> tuple[Asset, ...]:
    """The live system (whose root filesystem holds the installer) and the metal image (reference kubernetes.md 2)."""
    arch, version = RPM_ARCHES[machine.arch], machine.os.version
    start = f"fedora-coreos/{version}/{arch}/fedora-coreos-{version}"
    return (
        Asset(f"{start}-live-kernel.{arch}", "kernel"),
        Asset(f"{start}-live-initramfs.{arch}.img", "initrd"),
        Asset(f"{start}-live-rootfs.{arch}.img", "root filesystem"),
        Asset(f"{start}-metal.{arch}.raw.xz", "image"),
        Asset(f"{start}-metal.{arch}.raw.xz.sig", SIGNATURE),
    )


def _debian(machine: Machine) -> tuple[Asset, ...]:
    """The installer for the network; `os.version` is the release's code name. Its packages come from a mirror."""
    directory = f"debian/{machine.os.version}/{machine.arch}"
    return (Asset(f"{directory}/linux", "kernel"), Asset(f"{directory}/initrd.gz", "initrd"))


RPM_ARCHES: Mapping[Arch, str] = {Arch.AMD64: "x86_64", Arch.ARM64: "aarch64"}

SYSTEMS: Mapping[OsFamily, Callable[[Machine], tuple[Asset, ...]]] = {
    OsFamily.FLATCAR: _flatcar,
    OsFamily.FEDORA_COREOS: _fedora_coreos,
    OsFamily.DEBIAN: _debian,
}
