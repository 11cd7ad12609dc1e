"""The programs that the lab calls, each with the Debian package that has it. One message names all that are missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from bootstrapper.errors import UserError


def find_missing(programs: Iterable[str], which: Callable[[str], object] = shutil.which) -> list[str]:
    """The packages to install, sorted; a name with a slash is a file."""
    missing = [name for name in programs if not (Path(name).exists() if "/" in name else which(name))]
    return sorted({PACKAGES[name] for name in missing})


def require(programs: Iterable[str]) -> None:
    """Raises UserError when something is not installed."""
    packages = find_missing(programs)
    if packages:
        raise UserError(f"the lab needs packages that are not installed: {', '.join(packages)}",
                        f"apt-get install --no-install-recommends {' '.join(packages)}")  # fmt: skip


COREUTILS = ("cat", "cp", "cut", "date", "dd", "head", "install", "ln", "ls", "mkdir", "mktemp", "mv", "readlink", "rm",
             "sleep", "sort", "stat", "sync", "tail", "tee", "tr", "wc")  # fmt: skip

PACKAGES: dict[str, str] = {
    "ip": "iproute2",
    "ethtool": "ethtool",
    "setpriv": "util-linux",
    "qemu-system-x86_64": "qemu-system-x86",
    "/usr/lib/ipxe/qemu/efi-virtio.rom": "ipxe-qemu",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf",
    "/usr/lib/ipxe/undionly.kpxe": "ipxe",
    "apt-get": "apt",
    "dpkg": "dpkg",
    "ldd": "libc-bin",
    "zstd": "zstd",
    "bzip2": "bzip2",
    "gpg": "gnupg",
    "sgdisk": "gdisk",
    "mkfs.vfat": "dosfstools",
    "mkfs.ext4": "e2fsprogs",
    "mcopy": "mtools",
    "grub-mkimage": "grub-common",
    "/usr/lib/grub/i386-pc/boot.img": "grub-pc-bin",
    "/usr/lib/grub/x86_64-efi/moddep.lst": "grub-efi-amd64-bin",
    "busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "mksquashfs": "squashfs-tools",
    "bash": "bash",
    "curl": "curl",
    "jq": "jq",
    "gpgv": "gpgv",
    "lsblk": "util-linux",
    "blkid": "util-linux",
    "wipefs": "util-linux",
    "blockdev": "util-linux",
    "sfdisk": "fdisk",
    **dict.fromkeys(COREUTILS, "coreutils"),
}

RACK = ("ip", "ethtool", "setpriv", "qemu-system-x86_64", "/usr/lib/ipxe/qemu/efi-virtio.rom",
        "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/lib/ipxe/undionly.kpxe")  # fmt: skip
"What running virtual machines takes."

GUEST = ("bash", "curl", "jq", "gpgv", "lsblk", "blkid", "wipefs", "blockdev", "sfdisk", *COREUTILS)
"What the test system has beside busybox: the real ones, since installers rely on their options and their output."

BUILD = ("apt-get", "dpkg", "ldd", "zstd", "bzip2", "gpg", "sgdisk", "mkfs.vfat", "mkfs.ext4", "mcopy", "grub-mkimage",
         "/usr/lib/grub/i386-pc/boot.img", "/usr/lib/grub/x86_64-efi/moddep.lst", "busybox", *GUEST)  # fmt: skip
"What making the test system takes."

SYSTEMD_BUILD = (*BUILD, "debootstrap", "mksquashfs")
"What making the systemd test system takes."
