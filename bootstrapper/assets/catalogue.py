"""Which files a machine downloads from `/assets/`: what it boots, and what its installer writes. Pure.

Names are below the assets directory. `boot.installers` says what is booted; the image's name is what
`flatcar-install -b BASE` asks for (reference kubernetes.md 1.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bootstrapper.boot.installers import find_installer
from bootstrapper.boot.links import flatcar_directory
from bootstrapper.cluster.model import Cluster, Machine, OsFamily


@dataclass(frozen=True, slots=True)
class Asset:
    name: str
    "Below the assets directory."
    use: str
    "What it is for, in a word or two."


def list_assets(machine: Machine) -> tuple[Asset, ...]:
    """Everything `machine` downloads to be installed. Raises RenderProblem for a system without an installer."""
    installer = find_installer(machine, "http://0.0.0.0/")
    booted = [Asset(installer.kernel, "kernel"), *(Asset(name, "initrd") for name in installer.initrds)]
    return (*booted, *IMAGES[machine.os.family](machine))


def list_cluster_assets(cluster: Cluster) -> Mapping[Asset, tuple[Machine, ...]]:
    """Every asset, with the machines that need it, in the order of the description."""
    needed: dict[Asset, list[Machine]] = {}
    for machine in cluster.machines:
        for asset in list_assets(machine):
            needed.setdefault(asset, []).append(machine)
    return {asset: tuple(machines) for asset, machines in needed.items()}


def _flatcar_images(machine: Machine) -> tuple[Asset, ...]:
    """The signature is needed as much as the image: `flatcar-install` refuses to write without it."""
    image = f"{flatcar_directory(machine.os, machine.arch)}/flatcar_production_image.bin.bz2"
    return (Asset(image, "image"), Asset(f"{image}.sig", "signature"))


IMAGES = {OsFamily.FLATCAR: _flatcar_images}
