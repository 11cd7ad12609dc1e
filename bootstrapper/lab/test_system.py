"""The small test system that takes the place of the described one when its images are not at hand.

Made once from the distribution's kernel package and programs, and laid out as the server expects a release's files, so
that the server knows nothing of it. Kept in a cache by a hash of everything that goes into it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from bootstrapper.boot.links import flatcar_directory
from bootstrapper.cluster.model import Arch, Cluster, Machine, OsFamily
from bootstrapper.errors import UserError
from bootstrapper.lab.cache import forget_unused, mark_used
from bootstrapper.lab.disk_image import build_disk_image
from bootstrapper.lab.initrd import build_initrd
from bootstrapper.lab.kernel import find_package, load_kernel
from bootstrapper.lab.programs import BUILD, GUEST, require

FILES = (
    "flatcar_production_pxe.vmlinuz",
    "flatcar_production_pxe_image.cpio.gz",
    "flatcar_production_image.bin.bz2",
    "flatcar_production_image.bin.bz2.sig",
)
SOURCES = ("cpio.py", "disk_image.py", "initrd.py", "kernel.py", "programs.py", "test_system.py")
"Of this room, beside all of guest/: a change in one of them makes another test system."


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bootstrapper/lab"


def build_test_system(cache: Path, say: Callable[[str], None]) -> Path:
    """The directory of the finished files, made now unless the cache has them."""
    require(BUILD)
    package = find_package(cache)

    def make(work: Path) -> Parts:
        kernel = load_kernel(package, work / "package")
        key, sign = make_key()
        initrd = build_initrd(kernel, key)
        return Parts(kernel.image, initrd, build_disk_image(kernel.image, initrd, work), sign)

    return keep(cache, compute_key(package), lambda: say("making the test system (once, about a minute)"), make)


def prepare_assets(
    cluster: Cluster,
    given: Path | None,
    assets: Path,
    cache: Path,
    say: Callable[[str], None],
    build: Callable[[Path, Callable[[str], None]], Path] = build_test_system,
) -> bool:
    """Put into `assets` what every machine downloads: links to the real files in `given`, else to the test system's.

    Returns whether the test system is used by any machine. Raises UserError for a system that neither can boot.
    """
    used = False
    for directory in sorted({_directory_of(machine) for machine in cluster.machines}):
        target = assets / directory
        if given is not None and all((given / directory / name).is_file() for name in FILES):
            if given.resolve() != assets.resolve():
                _link_all(given / directory, target, FILES)
            say(f"{directory}: the images in {given}")
            continue
        _link_all(build(cache, say), target, FILES)
        used = True
    return used


@dataclass(frozen=True, slots=True)
class Parts:
    """What a test system is published from."""

    kernel: bytes
    pxe_initrd: bytes
    disk: Path
    "The raw image."
    sign: Callable[[Path, Path], None]


def keep(cache: Path, key: str, begin: Callable[[], None], make: Callable[[Path], Parts]) -> Path:
    """The directory of the files below `cache` that `key` stands for; made by `make`, after `begin`, if need be, and
    then those that nobody uses any more go."""
    target = cache / key
    if all((target / name).is_file() for name in FILES):
        mark_used(target)
        return target
    begin()
    with TemporaryDirectory(dir=cache, prefix="making-") as name:
        work = Path(name)
        made = work / "made"
        made.mkdir()
        parts = make(work)
        (made / FILES[0]).write_bytes(parts.kernel)
        (made / FILES[1]).write_bytes(parts.pxe_initrd)
        with (made / FILES[2]).open("wb") as opened:
            subprocess.run(["bzip2", "-1", "-c", str(parts.disk)], check=True, stdout=opened)
        parts.sign(made / FILES[2], made / FILES[3])
        try:
            made.rename(target)
        except OSError:  # another lab was faster, or an earlier one left a part
            if not all((target / name).is_file() for name in FILES):
                shutil.rmtree(target, ignore_errors=True)
                made.rename(target)
    forget_unused(cache, key, time.time())
    return target


def compute_key(package: Path) -> str:
    digest = hashlib.sha256(f"{package.name} {sys.version}".encode())
    room = files("bootstrapper.lab")
    sources = [room / name for name in SOURCES]
    sources += sorted((room / "guest").iterdir(), key=lambda path: path.name)
    for source in sources:
        if source.is_file():
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    for name in GUEST:
        stat = Path(str(shutil.which(name))).stat()
        digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def make_key() -> tuple[bytes, Callable[[Path, Path], None]]:
    """A signing key for this one image: its public half as a keyring, and a function that signs. The secret half is
    gone when this ends."""
    home = TemporaryDirectory(prefix="lab-gpg-")  # a short path: the agent's socket is in it
    gpg = ["gpg", "--homedir", home.name, "--batch", "--quiet", "--no-tty"]
    generate = ["--passphrase", "", "--quick-generate-key", "bootstrapper lab image", "ed25519", "sign", "never"]
    subprocess.run([*gpg, *generate], check=True, capture_output=True)
    public = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout

    def sign(path: Path, signature: Path) -> None:
        command = [*gpg, "--pinentry-mode", "loopback", "--passphrase", "", "--detach-sign", "--output", str(signature)]
        subprocess.run([*command, str(path)], check=True, capture_output=True)
        subprocess.run(["gpgconf", "--homedir", home.name, "--kill", "all"], check=False, capture_output=True)
        home.cleanup()

    return public, sign


def _link_all(source: Path, target: Path, names: Iterable[str]) -> None:
    """Hard links where they work, else copies: a symbolic link would lead out of the served directory."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        new = target / f".{name}.new"
        new.unlink(missing_ok=True)
        try:
            os.link(source / name, new)
        except OSError:
            shutil.copyfile(source / name, new)
        new.replace(target / name)


def _directory_of(machine: Machine) -> str:
    if machine.os.family is not OsFamily.FLATCAR or machine.arch is not Arch.AMD64:
        raise UserError(
            f"machine {machine.host}: the lab cannot boot {machine.os.family} on {machine.arch}",
            "it boots flatcar on amd64; describe the machine so, or leave it out of the lab's file",
        )
    return flatcar_directory(machine.os, machine.arch)
