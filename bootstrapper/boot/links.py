"""The URLs machines are given. Absolute, by address and not by name: firmware resolves no names reliably, and never
sends the port in `Host`, so nothing here depends on it (reference A7 rows 24, 33)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from bootstrapper.cluster.model import Arch, OperatingSystem


@dataclass(frozen=True, slots=True)
class Links:
    address: IPv4Address
    "This server, as the machine's subnet reaches it."
    http_port: int = 80
    https_port: int = 443

    @property
    def http(self) -> str:
        return f"http://{self.address}" + ("" if self.http_port == 80 else f":{self.http_port}")

    @property
    def https(self) -> str:
        return f"https://{self.address}" + ("" if self.https_port == 443 else f":{self.https_port}")

    def script(self, mac: str, code: int | None) -> str:
        """What iPXE is told to fetch. `${uuid}` is expanded by iPXE itself."""
        arch = "" if code is None else f"&arch={code}"
        return f"{self.http}/boot.ipxe?mac={mac}&uuid=${{uuid}}{arch}"

    def install(self, token: str) -> str:
        return f"{self.http}/m/{token}/install"

    def config(self, token: str) -> str:
        return f"{self.https}/m/{token}/config"

    def report(self, token: str) -> str:
        return f"{self.https}/m/{token}/report"

    def assets(self, name: str) -> str:
        return f"{self.http}/assets/{name}"


BOARDS: dict[Arch, str] = {Arch.AMD64: "amd64-usr", Arch.ARM64: "arm64-usr"}
"Flatcar's word for an architecture in its mirrors."


def flatcar_directory(os: OperatingSystem, arch: Arch) -> str:
    """Below `/assets`: what a Flatcar release's files are kept under. `flatcar-install -b` is given its parent."""
    return f"flatcar/{BOARDS[arch]}/{os.version}"


def image_name(os: OperatingSystem, arch: Arch) -> str:
    """Below `/assets`: the image that `flatcar-install` writes; its signature has `.sig` behind it."""
    return f"{flatcar_directory(os, arch)}/flatcar_production_image.bin.bz2"
