"""The test system's file system: busybox, a few real programs with their libraries, Python, and our guest programs."""

from __future__ import annotations

import importlib
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.resources import files
from modulefinder import ModuleFinder
from pathlib import Path
from tempfile import TemporaryDirectory

from bootstrapper.lab import cpio
from bootstrapper.lab.kernel import Kernel, boot_order
from bootstrapper.lab.programs import GUEST

GUEST_MODULES = ("boot", "units", "ignition", "cloud_config")
ALWAYS = ("encodings", "encodings.utf_8", "encodings.ascii", "encodings.latin_1", "codecs", "io", "abc",
          "os", "stat", "_collections_abc", "posixpath", "genericpath", "runpy", "pkgutil", "importlib.util",
          "importlib.machinery", "yaml")  # fmt: skip
"What Python imports by itself when it starts, or `-m` needs; the rest is found by following our imports."


def build_initrd(kernel: Kernel, image_key: bytes) -> bytes:
    """The archive, compressed with zstd."""
    return compress(cpio.build_newc(collect(kernel, image_key)))


def compress(archive: bytes) -> bytes:
    done = subprocess.run(["zstd", "-q", "-15", "-T0", "-c"], input=archive, check=True, capture_output=True)
    return done.stdout


def collect(kernel: Kernel, image_key: bytes) -> list[cpio.Entry]:
    entries = [cpio.link(name, f"usr/{name}") for name in ("lib", "lib64")]
    entries += [cpio.link(name, "usr/bin") for name in ("bin", "sbin")]
    entries += [cpio.link("usr/sbin", "bin"), cpio.character_device("dev/console", 5, 1)]
    entries += [cpio.directory(name) for name in ("proc", "sys", "run", "tmp", "etc", "var", "opt", "home", "root")]
    entries += busybox()
    entries += _programs()
    entries += _python()
    entries += [cpio.file(path, data) for path, data in boot_order(kernel.modules).items()]
    entries += _guest_files()
    entries += [cpio.file("usr/share/lab/image-key.gpg", image_key)]
    entries += [cpio.file(path, text.encode()) for path, text in ETC.items()]
    return entries


def busybox() -> Iterator[cpio.Entry]:
    """busybox and a link for each of its programs; a real program of the same name takes its place later."""
    busybox = Path(str(shutil.which("busybox")))
    yield cpio.file("usr/bin/busybox", busybox.read_bytes(), 0o755)
    names = subprocess.run([str(busybox), "--list"], check=True, capture_output=True, text=True).stdout.split()
    for name in names:
        if name != "busybox":
            yield cpio.link(f"usr/bin/{name}", "busybox")


def _programs() -> Iterator[cpio.Entry]:
    for name in GUEST:
        path = Path(str(shutil.which(name))).resolve()
        yield cpio.file(f"usr/bin/{name}", path.read_bytes(), 0o755)
        yield from _libraries(path)


def _libraries(path: Path) -> Iterator[cpio.Entry]:
    done = subprocess.run(["ldd", str(path)], check=False, capture_output=True, text=True)
    for name in parse_ldd(done.stdout):
        inside = f"usr{name}" if name.startswith(("/lib/", "/lib64/")) else name.lstrip("/")
        yield cpio.file(inside, read_stripped(Path(name).resolve()), 0o755)


def parse_ldd(text: str) -> list[str]:
    """The files of ldd's output: `libc.so.6 => /lib/... (0x...)` and the loader's own line."""
    return [found[1] for line in text.splitlines() if (found := re.search(r"(/\S+) \(0x", line))]


def read_stripped(path: Path) -> bytes:
    """A program or library without its debugging symbols, when binutils is at hand: a Python built from source carries
    20 MB of them, and every machine would fetch them."""
    if shutil.which("strip") and path.stat().st_size > 200_000:
        with TemporaryDirectory() as work:
            copy = Path(work) / "stripped"
            if subprocess.run(["strip", "-o", str(copy), str(path)], check=False, capture_output=True).returncode == 0:
                return copy.read_bytes()
    return path.read_bytes()


def _python() -> Iterator[cpio.Entry]:
    """The running interpreter, with just the modules that the guest's programs import, compiled."""
    interpreter = Path(sys.executable).resolve()
    prefix = Path(sysconfig.get_path("stdlib"))
    inside = str(prefix).lstrip("/")
    yield cpio.file(str(interpreter).lstrip("/"), read_stripped(interpreter), 0o755)
    yield cpio.link("usr/bin/python3", str(interpreter))
    yield from _libraries(interpreter)
    # Python finds its library by this file, and takes the name of its directory for granted.
    yield cpio.file(f"{inside}/os.py", (prefix / "os.py").read_bytes())
    with TemporaryDirectory() as work:
        for name, source in find_modules().items():
            relative = name.replace(".", "/") + ("/__init__" if source.name == "__init__.py" else "")
            if source.suffix == ".py":
                compiled = Path(work) / "module.pyc"
                py_compile.compile(str(source), str(compiled), dfile=f"/{inside}/{relative}.py", doraise=True,
                                   invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)  # fmt: skip
                yield cpio.file(f"{inside}/{relative}.pyc", compiled.read_bytes())
            else:
                yield cpio.file(f"{inside}/lib-dynload/{source.name}", read_stripped(source), 0o755)
                yield from _libraries(source)
    yield cpio.file(f"{inside}/bootstrapper/__init__.py", b"")
    yield cpio.file(f"{inside}/bootstrapper/lab/__init__.py", b"")


def find_modules() -> Mapping[str, Path]:
    """Module -> its file, for all that the guest's programs import."""
    finder = ModuleFinder(path=[*sys.path], excludes=EXCLUDED)
    for name in GUEST_MODULES:
        finder.import_hook(f"bootstrapper.lab.guest.{name}")
    for name in ALWAYS:
        importlib.import_module(name)
        finder.import_hook(name)
    return {
        name: Path(file)
        for name, module in sorted(finder.modules.items())
        if (file := getattr(module, "__file__", None)) and name not in ("bootstrapper", "bootstrapper.lab")
    }


def _guest_files() -> Iterator[cpio.Entry]:
    guest = files("bootstrapper.lab") / "guest"
    for name, path in GUEST_FILES.items():
        yield cpio.file(path, (guest / name).read_bytes(), 0o755)
    yield cpio.file("usr/bin/systemctl", SYSTEMCTL.encode(), 0o755)


SYSTEMCTL = """#!/bin/sh
exec python3 -I -S -m bootstrapper.lab.guest.units "$@"
"""

GUEST_FILES = {
    "init": "init",
    "dhcp.sh": "usr/lib/lab/dhcp.sh",
    "udevadm": "usr/bin/udevadm",
    "flatcar-install": "usr/bin/flatcar-install",
}
"Shell program of the guest -> where it stands in the test system."

ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/os-release": 'ID=bootstrapper-lab\nNAME="bootstrapper lab test system"\nPRETTY_NAME="bootstrapper lab"\n',
}

EXCLUDED = [
    "tkinter", "asyncio", "unittest", "pydoc", "doctest", "ssl", "http", "email", "xml", "multiprocessing", "test",
    "ctypes", "concurrent", "sqlite3", "distutils", "setuptools", "curses", "readline", "pdb", "ftplib", "socketserver",
    "random", "statistics", "decimal", "_decimal", "_pydecimal", "fractions", "tempfile", "tarfile", "zipfile", "csv",
    "pickle",
    "lzma", "bz2", "gettext", "argparse", "pprint", "logging", "py_compile", "importlib.metadata",
    "importlib.resources", "importlib.readers", "yaml._yaml", "yaml.cyaml", "copy_reg", "_strptime", "calendar",
]  # fmt: skip
"Imported somewhere within a function that the guest never calls, or behind an `except ImportError`."
