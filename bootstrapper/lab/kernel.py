"""The kernel and the few modules that a virtual machine needs, out of the distribution's kernel package.

The `cloud` flavour: its drivers are those of virtual machines, and its image unpacks fast without KVM.
"""

from __future__ import annotations

import lzma
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrapper.errors import UserError

FLAVOUR = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "sd_mod", "virtio_rng", "ext4", "crc32c_generic",
           "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "qemu_fw_cfg")  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    release: str
    image: bytes
    modules: tuple[tuple[str, bytes], ...]
    "(file name, content), each after those it depends on."


def find_package(cache: Path) -> Path:
    """The kernel package in `cache`, downloaded the first time. Raises UserError when it cannot be had."""
    kept = sorted(cache.glob("linux-image-*-cloud-amd64_*.deb"))
    if kept:
        return kept[-1]
    name = _real_package() or _after_update(_real_package)
    if name is None:
        raise UserError(f"apt knows no package {FLAVOUR}", "the lab makes its test system from Debian's kernel package")
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{cache} cannot be made: {error.strerror}", "give another with --cache") from error
    download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", name]
    done = subprocess.run(download, cwd=cache, check=False, capture_output=True, text=True)
    if done.returncode != 0:  # a list that is older than the archive names files that are gone
        _after_update(lambda: None)
        done = subprocess.run(download, cwd=cache, check=False, capture_output=True, text=True)
    kept = sorted(cache.glob("linux-image-*-cloud-amd64_*.deb"))
    if not kept:
        raise UserError(f"the kernel package {name} cannot be downloaded: {done.stderr.strip()}",
                        f"on a machine without internet, put the package into {cache}")  # fmt: skip
    return kept[-1]


def _real_package() -> str | None:
    """The package that the flavour's empty one depends on."""
    done = subprocess.run(["apt-cache", "depends", FLAVOUR], check=False, capture_output=True, text=True)
    found = re.search(r"Depends: (linux-image-\S+)", done.stdout)
    return found[1] if found else None


def _after_update(again: Callable[[], str | None]) -> str | None:
    subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
    return again()


def load_kernel(package: Path, work: Path, wanted: Sequence[str] = MODULES) -> Kernel:
    """Unpack `package` below `work` and take the image and the modules `wanted` out.

    Raises UserError when a module is missing.
    """
    subprocess.run(["dpkg", "-x", str(package), str(work)], check=True, capture_output=True)
    image = next((work / "boot").glob("vmlinuz-*"))
    release = image.name.removeprefix("vmlinuz-")
    trees = (work / f"usr/lib/modules/{release}", work / f"lib/modules/{release}")
    tree = next(path for path in trees if path.is_dir())
    files = {module_name(path.name): path for path in (tree / "kernel").rglob("*.ko*")}
    built_in = {module_name(line) for line in (tree / "modules.builtin").read_text().split()}
    content: dict[str, bytes] = {}

    def depends(name: str) -> list[str]:
        if name not in content:
            content[name] = read_module(files[name])
        return parse_depends(content[name])

    missing = [name for name in wanted if name not in files and name not in built_in]
    if missing:
        raise UserError(f"the kernel package {package.name} has no module {', '.join(missing)}")
    order = order_modules([name for name in wanted if name in files], depends)
    return Kernel(release, image.read_bytes(), tuple((f"{name}.ko", content[name]) for name in order))


def module_name(path: str) -> str:
    """`kernel/drivers/virtio-rng.ko.xz` -> `virtio_rng`: the kernel takes both dashes for one."""
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")


def read_module(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def parse_depends(module: bytes) -> list[str]:
    """The modules named by `depends=` in a module's own .modinfo section (its first entry)."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name.replace("-", "_") for name in found[1].decode().split(",") if name] if found else []


def order_modules(wanted: Iterable[str], depends: Callable[[str], Iterable[str]]) -> list[str]:
    """`wanted` and all they need, each after what it depends on."""
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in ordered:
            for needed in depends(name):
                add(needed)
            ordered[name] = None

    for name in wanted:
        add(name)
    return list(ordered)


def boot_order(modules: Iterable[tuple[str, bytes]]) -> Mapping[str, bytes]:
    """The files for the initrd: the modules and the list in which to load them."""
    listed = list(modules)
    files = {f"usr/lib/lab/modules/{name}": data for name, data in listed}
    files["usr/lib/lab/modules/order"] = "".join(f"{name}\n" for name, _ in listed).encode()
    return files
