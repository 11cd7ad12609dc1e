"""The systemd test system: Debian packages laid out as Flatcar is, with the real systemd, Ignition and sshd.

/usr is a read-only squashfs, in memory from the network and in the partition USR-A from the disk; /etc, /var and the
rest begin as its copy below /usr/share/lab/root. What Debian has no package of, flatcar-install and coreos-cloudinit,
is played by programs of the lab. Its packages are fetched once; a change of ours packs them anew in half a minute.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from bootstrapper.errors import UserError
from bootstrapper.lab import cpio
from bootstrapper.lab.cache import forget_unused, mark_used
from bootstrapper.lab.disk_image import build_disk_image
from bootstrapper.lab.initrd import busybox, compress
from bootstrapper.lab.kernel import MODULES, Kernel, boot_order, find_package, load_kernel
from bootstrapper.lab.programs import SYSTEMD_BUILD, require
from bootstrapper.lab.test_system import Parts, keep, make_key

SUITE = "bookworm"
"Of Debian: the one whose ignition (2.14) reads the version 3.3.0 that is generated."
PACKAGES = ("systemd", "systemd-sysv", "systemd-resolved", "systemd-timesyncd", "dbus", "libpam-systemd", "udev",
            "kmod", "iproute2", "procps", "curl", "ca-certificates", "openssl", "openssh-server", "sudo", "jq", "gpgv",
            "bzip2", "fdisk", "e2fsprogs", "python3-minimal", "python3-yaml", "ignition")  # fmt: skip
LEFT_OUT = ("share/doc", "share/man", "share/locale", "share/info", "share/lintian", "share/bash-completion",
            "share/perl5", "share/i18n", "lib/x86_64-linux-gnu/perl-base", "lib/x86_64-linux-gnu/gconv", "lib/apt",
            "lib/udev/hwdb.d", "lib/udev/hwdb.bin", "lib/python3.11/lib2to3", "lib/python3.11/distutils",
            "lib/python3.11/pydoc_data")  # fmt: skip
"Below /usr: what no machine of the lab looks at, and every machine would fetch."
EXTRA_MODULES = ("loop", "squashfs", "autofs4")
GUEST_MODULES = ("__init__", "cloud_config", "coreos_cloudinit", "ignition")
SOURCES = ("cpio.py", "disk_image.py", "initrd.py", "kernel.py", "programs.py", "test_system.py", "systemd_system.py")
IGNITION = "usr/lib/dracut/modules.d/30ignition/ignition"
ON = ("systemd-networkd", "systemd-networkd-wait-online", "systemd-resolved", "systemd-timesyncd", "ssh",
      "user-cloudinit")  # fmt: skip
OFF = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer",
       "e2scrub_reap.service")  # fmt: skip

MASKED = ("systemd-firstboot.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
          "getty@tty1.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service")  # fmt: skip
"The first asks questions on the console; for the others the lab's machines have no hardware or no kernel module."


def build_systemd_system(cache: Path, say: Callable[[str], None]) -> Path:
    """The directory of the finished files, made now unless the cache has them. Raises UserError when it cannot be."""
    require(SYSTEMD_BUILD)
    package = find_package(cache)
    base = fetch_base(cache, say)

    def make(work: Path) -> Parts:
        kernel = load_kernel(package, work / "package", (*MODULES, *EXTRA_MODULES))
        key, sign = make_key()
        usr = build_usr(base, key, work)
        initrd = build_small_initrd(kernel)
        disk = build_disk_image(kernel.image, initrd, work, usr)
        in_memory = cpio.build_newc([cpio.file("usr.squashfs", usr.read_bytes())])
        return Parts(kernel.image, initrd + in_memory, disk, sign)

    begin = "making the systemd test system (once for each change of it, half a minute)"
    return keep(cache, compute_key(package, base), lambda: say(begin), make)


def fetch_base(cache: Path, say: Callable[[str], None]) -> Path:
    """An archive of the packages as Debian installs them, made now unless the cache has it."""
    digest = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:8]
    target = cache / f"debian-{SUITE}-{digest}.tar"
    if target.is_file():
        mark_used(target)
        return target
    say("fetching the packages of the systemd test system (once, about a minute)")
    with TemporaryDirectory(dir=cache, prefix="making-") as name:
        root, log = Path(name) / "root", cache / "debootstrap.log"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), mirror()]
        with log.open("wb") as opened:
            done = subprocess.run(command, check=False, stdout=opened, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            last = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise UserError(f"debootstrap failed: {last}", f"its log is {log}; MIRROR=URL names another mirror")
        new = Path(name) / "base.tar"
        left_out = ("./var/cache", "./var/lib/apt", "./var/lib/dpkg", "./var/log", "./dev", "./proc", "./sys", "./run")
        excludes = [f"--exclude={path}/*" for path in left_out]
        subprocess.run(["tar", "--create", "--file", str(new), "-C", str(root), *excludes, "."], check=True)
        new.replace(target)
    forget_unused(cache, target.name, time.time())
    return target


def mirror() -> str:
    """Where this system itself has its packages from, unless MIRROR names another place. Raises UserError."""
    if named := os.environ.get("MIRROR"):
        return named
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
    found = [url for url in listed if re.search(r"/debian/?$", url)]
    if not found:
        raise UserError("apt names no mirror of Debian's packages here", "name one: MIRROR=URL")
    return found[0]


def build_usr(base: Path, image_key: bytes, work: Path) -> Path:
    """The squashfs of /usr, with all else of the root below its share/lab/root."""
    root = work / "root"
    root.mkdir()
    subprocess.run(["tar", "--extract", "--file", str(base), "-C", str(root)], check=True)
    settle(root, image_key)
    skeleton = root / "usr/share/lab/root"
    for path in list(root.iterdir()):
        if path.name not in ("usr", "dev", "proc", "sys", "run"):
            skeleton.mkdir(parents=True, exist_ok=True)
            path.rename(skeleton / path.name)
    for name in LEFT_OUT:
        shutil.rmtree(root / "usr" / name, ignore_errors=True)
    usr = work / "usr.squashfs"
    command = ["mksquashfs", str(root / "usr"), str(usr), "-comp", "zstd", "-Xcompression-level", "9", "-quiet"]
    subprocess.run([*command, "-no-progress"], check=True, capture_output=True)
    return usr


def settle(root: Path, image_key: bytes) -> None:
    """What the lab changes in the packages' files."""
    room = files("bootstrapper.lab")
    with as_file(room / "systemd" / "tree") as tree:
        shutil.copytree(tree, root, dirs_exist_ok=True, symlinks=True)
    (root / "usr/sbin/setfiles").chmod(0o755)
    (root / "etc/sudoers.d/core").chmod(0o440)
    python = root / "usr/lib/python3/dist-packages/bootstrapper/lab/guest"
    python.mkdir(parents=True)
    for directory in (python.parent.parent, python.parent):
        (directory / "__init__.py").touch()
    for name in GUEST_MODULES:
        (python / f"{name}.py").write_bytes((room / "guest" / f"{name}.py").read_bytes())
    lab = root / "usr/lib/lab"
    lab.mkdir()
    (root / IGNITION).rename(lab / "ignition")
    (root / "usr/share/lab").mkdir()
    (root / "usr/share/lab/image-key.gpg").write_bytes(image_key)
    installer = root / "usr/bin/flatcar-install"
    installer.write_bytes((room / "guest" / "flatcar-install").read_bytes())
    installer.chmod(0o755)
    for path in (*(root / "etc/ssh").glob("ssh_host_*"), root / "etc/hostname", root / "etc/resolv.conf"):
        path.unlink(missing_ok=True)
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (root / "etc/machine-id").write_text("uninitialized\n")  # systemd takes this boot for the first one
    chroot = ["chroot", str(root)]
    for command in (
        ["useradd", "--uid", "500", "--create-home", "--groups", "sudo", "--shell", "/bin/bash", "core"],
        ["systemctl", "--quiet", "enable", *ON],
        ["systemctl", "--quiet", "disable", *OFF],
        ["systemctl", "--quiet", "mask", *MASKED],
    ):
        subprocess.run([*chroot, *command], check=True, capture_output=True)


def build_small_initrd(kernel: Kernel) -> bytes:
    """What finds /usr and starts systemd from it. Padded, since another archive may follow it."""
    room = files("bootstrapper.lab")
    entries = [*_skeleton(), *busybox(), *(cpio.file(path, data) for path, data in boot_order(kernel.modules).items())]
    entries.append(cpio.file("init", (room / "systemd" / "init").read_bytes(), 0o755))
    entries.append(cpio.file("usr/lib/lab/dhcp.sh", (room / "guest" / "dhcp.sh").read_bytes(), 0o755))
    packed = compress(cpio.build_newc(entries))
    return packed + b"\0" * (-len(packed) % 4)


def _skeleton() -> Iterator[cpio.Entry]:
    for name in ("bin", "sbin"):
        yield cpio.link(name, "usr/bin")
    for name in ("etc", "tmp", "proc", "sys", "dev", "run", "sysroot"):
        yield cpio.directory(name)
    yield cpio.character_device("dev/console", 5, 1)


def compute_key(package: Path, base: Path) -> str:
    digest = hashlib.sha256(f"systemd {package.name} {base.name}".encode())
    room = Path(str(files("bootstrapper.lab")))
    sources: Sequence[Path] = [room / name for name in SOURCES]
    names = ("dhcp.sh", "flatcar-install", *(f"{each}.py" for each in GUEST_MODULES))
    guest = [room / "guest" / name for name in names]
    tree = sorted(path for path in (room / "systemd").rglob("*") if path.is_file())
    for path in (*sources, *guest, *tree):
        digest.update(str(path.relative_to(room)).encode() + b"\0" + path.read_bytes())
    return f"systemd-{digest.hexdigest()[:16]}"
