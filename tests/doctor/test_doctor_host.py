"""Parts of `doctor` that need no network: who may read what, and where a directory lies."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_site import ACCOUNT, make_site

from bootstrapper.doctor.content import may_read
from bootstrapper.doctor.finding import Grade
from bootstrapper.doctor.host import check_state, find_filesystem
from bootstrapper.doctor.run import CHECKS


@pytest.mark.parametrize(
    ("mode", "owner", "group", "readable"),
    [
        (0o100644, 0, 0, True),
        (0o100600, 0, 0, False),
        (0o100600, 990, 0, True),
        (0o100640, 0, 990, True),
        (0o100044, 990, 990, False),
        (0o040755, 0, 0, True),
        (0o040700, 0, 0, False),
        (0o040711, 0, 0, True),
        (0o040750, 0, 990, True),
    ],
)
def test_what_the_serving_user_may_read(mode: int, owner: int, group: int, readable: bool) -> None:
    status = os.stat_result((mode, 1, 1, 1, owner, group, 0, 0, 0, 0))
    assert may_read(status, ACCOUNT) is readable


def test_the_filesystem_that_a_directory_is_on(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    mounts = "/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/sdb /srv/my\\040disk xfs rw 0 0\n"
    (tmp_path / "self/mounts").write_text(mounts)
    assert find_filesystem(Path("/run/state"), tmp_path) == "tmpfs"
    assert find_filesystem(Path("/runner"), tmp_path) == "ext4"
    assert find_filesystem(Path("/srv/my disk/state"), tmp_path) == "xfs"
    assert find_filesystem(Path("/x"), tmp_path / "none") == ""


def test_every_check_has_a_name_of_its_own() -> None:
    assert len({name for name, _ in CHECKS}) == len(CHECKS)


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    site = make_site(tmp_path)
    found = list(check_state(replace(site, state=tmp_path / "file/state")))
    assert [(each.grade, each.message) for each in found] == [(Grade.FAIL, f"{tmp_path}/file is no directory")]
    found = list(check_state(replace(site, state=tmp_path / "more/state")))
    assert [(each.grade, each.message) for each in found] == [
        (Grade.OK, f"{tmp_path}/more/state is made at the first start")
    ]
