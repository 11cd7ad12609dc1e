"""What the lab removes from its cache, and when."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrapper.lab.cache import find_kind, forget_unused
from bootstrapper.lab.test_system import FILES, Parts, keep

DAY = 86_400.0
NOW = 1_795_262_400.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("498dc1860c168eab", ""),
        ("systemd-38616aa76265d924", "systemd"),
        ("debian-bookworm-208181a9.tar", "debian"),
        ("linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb", None),
        ("debootstrap.log", None),
        ("systemd-mine", None),
        ("498dc1860c168eabc", None),
    ],
)
def test_what_is_its_own(name: str, kind: str | None) -> None:
    assert find_kind(name) == kind


def fill(cache: Path, *names: str) -> None:
    """The first one was used longest ago."""
    for age, name in enumerate(reversed(names)):
        path = cache / name
        if name.endswith((".tar", ".log")):
            path.write_text("x")
        else:
            path.mkdir()
            (path / "file").write_text("x")
        os.utime(path, (NOW - age * 0.6 * DAY, NOW - age * 0.6 * DAY))


def test_the_one_in_use_stays_and_the_one_that_was_used_last(tmp_path: Path) -> None:
    fill(
        tmp_path, "0" * 16, "making-old", f"systemd-{'1' * 16}", f"systemd-{'2' * 16}", "mine",
        "debian-bookworm-01234567.tar", "debian-bookworm-89abcdef.tar", f"systemd-{'3' * 16}", "making-new",
        f"systemd-{'4' * 16}",
    )  # fmt: skip
    forget_unused(tmp_path, f"systemd-{'2' * 16}", NOW)
    assert {path.name for path in tmp_path.iterdir()} == {
        "0" * 16, f"systemd-{'2' * 16}", "mine", "debian-bookworm-01234567.tar", "debian-bookworm-89abcdef.tar",
        "making-new", f"systemd-{'4' * 16}",
    }  # fmt: skip


def test_a_new_system_takes_the_place_of_those_that_nobody_uses(tmp_path: Path) -> None:
    def make(work: Path) -> Parts:
        disk = work / "disk"
        disk.write_bytes(b"disk")
        sign: Callable[[Path, Path], None] = lambda path, signature: signature.write_bytes(b"signature")  # noqa: E731
        return Parts(b"kernel", b"initrd", disk, sign)

    def made(number: int) -> Path:
        return keep(tmp_path, f"systemd-{number:016x}", lambda: None, make)

    for number in range(3):
        path = made(number)
        os.utime(path, (NOW + number, NOW + number))
    assert [(tmp_path / f"systemd-{number:016x}").exists() for number in range(3)] == [False, True, True]
    assert {each.name for each in path.iterdir()} == set(FILES)
    # One that is used again is not the oldest any more.
    assert made(1).stat().st_mtime != NOW + 1
    os.utime(tmp_path / f"systemd-{1:016x}", (NOW + 9, NOW + 9))
    made(3)
    assert [(tmp_path / f"systemd-{number:016x}").exists() for number in range(4)] == [False, True, False, True]
