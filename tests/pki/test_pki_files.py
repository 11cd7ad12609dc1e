"""Files of the state that root writes where another account is at home: never through a link of that account's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootstrapper.errors import UserError
from bootstrapper.pki import files

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
ACCOUNT = 4000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state directory of the account, and beside it a file and a folder of root's."""
    home = tmp_path / "state"
    home.mkdir(mode=0o700)
    os.chown(home, ACCOUNT, ACCOUNT)
    (tmp_path / "shadow").write_text("root's")
    (tmp_path / "shadow").chmod(0o640)
    (tmp_path / "etc").mkdir(mode=0o755)
    return home


def lock(folder: Path) -> None:
    with files.locked(folder):
        pass


@needs_root
def test_what_root_writes_is_the_accounts(home: Path) -> None:
    files.write_private(home / "key", b"x")
    files.make_directory(home / "pki")
    lock(home)
    for path in (home / "key", home / "pki", home / ".lock"):
        assert path.stat().st_uid == ACCOUNT
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@needs_root
@pytest.mark.parametrize(
    ("name", "target", "write"),
    [
        ("pki", "etc", lambda home: files.make_directory(home / "pki")),
        (".lock", "shadow", lock),
        (".lock", "new", lock),
    ],
)
def test_a_link_that_lies_in_wait_is_not_followed(
    home: Path, name: str, target: str, write: Callable[[Path], Any]
) -> None:
    (home / name).symlink_to(home.parent / target)
    with pytest.raises(UserError):
        write(home)
    check_untouched(home)


@needs_root
def test_a_name_that_becomes_a_link_meanwhile_gives_nothing_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the file's making and its handing over: as soon as it is looked up whom the folder belongs to."""
    real = Path.stat

    def look(path: Path, **more: Any) -> os.stat_result:
        temporary = home / ".key.new"
        if path == home and temporary.exists():
            temporary.unlink()
            temporary.symlink_to(home.parent / "shadow")
        return real(path, **more)

    monkeypatch.setattr(Path, "stat", look)
    files.write_private(home / "key", b"secret")
    monkeypatch.undo()
    check_untouched(home)


def check_untouched(home: Path) -> None:
    shadow, folder = home.parent / "shadow", home.parent / "etc"
    assert (shadow.stat().st_uid, stat.S_IMODE(shadow.stat().st_mode), shadow.read_text()) == (0, 0o640, "root's")
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (0, 0o755)
    assert not (home.parent / "new").exists()
