"""What the admin names to be written: nothing but a file is ever written over, and that only when it was said."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bootstrapper.cli import main
from bootstrapper.errors import UserError
from bootstrapper.outfile import check_outfile
from bootstrapper.state import sealed
from bootstrapper.state.sqlite import SqliteStore

EXAMPLE = Path(__file__).parent.parent / "cluster-desc.example.yaml"
SEXTANT = Path(__file__).parent / "cluster" / "sextant.yaml"
Verb = Callable[..., Result]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "WORK", 2**4)


def run_backup(folder: Path, out: Path, *more: str) -> Result:
    state, words = folder / "state", folder / "words"
    state.mkdir(exist_ok=True)
    SqliteStore(state / "state.db").close()
    words.write_text("correct horse battery\n")
    given = ["--state", str(state), "--passphrase-file", str(words)]
    return CliRunner().invoke(main, ["backup", str(out), *given, *more])


def run_migrate(folder: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["migrate", str(SEXTANT), "--out", str(out), *more])


VERBS = pytest.mark.parametrize("verb", [run_backup, run_migrate])


def test_what_is_no_file_is_never_one_to_write(tmp_path: Path) -> None:
    pipe, link, lost = tmp_path / "pipe", tmp_path / "link", tmp_path / "lost"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    lost.symlink_to(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    for path, kind in ((pipe, "a pipe"), (link, "a pipe"), (tmp_path, "a directory"), (lost, "a link to nothing"),
                       (tmp_path / "file" / "x", "Not a directory")):  # fmt: skip
        with pytest.raises(UserError, match=kind):
            check_outfile(path, replace=True)
    check_outfile(tmp_path / "file", replace=True)
    check_outfile(tmp_path / "new", replace=False)
    with pytest.raises(UserError, match="exists already; nothing was written"):
        check_outfile(tmp_path / "file", replace=False)


@VERBS
def test_a_pipe_stays_a_pipe_whatever_is_said(verb: Verb, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for more in ((), ("--force",)):
        refused = verb(tmp_path, pipe, *more)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"bootstrapper: {pipe} is a pipe, and would be replaced; nothing was written")
        assert stat.S_ISFIFO(pipe.lstat().st_mode)


@VERBS
def test_a_file_that_exists_is_written_over_only_with_force(verb: Verb, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    refused = verb(tmp_path, out)
    assert (refused.exit_code, out.read_text()) == (1, "mine")
    assert "--force" in refused.stderr
    assert verb(tmp_path, out, "--force").exit_code == 0
    assert out.read_bytes() != b"mine"


@VERBS
def test_a_directory_stays_one(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    assert verb(tmp_path, tmp_path / "dir", "--force").exit_code == 2
    assert (tmp_path / "dir").is_dir()


def test_a_bundle_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    words = ["bundle", "export", str(EXAMPLE), str(tmp_path / "rack.tar"), "--assets", str(tmp_path / "assets")]
    words += ["--key", str(tmp_path / "key")]
    for name in ("rack.tar", "rack.tar.manifest.json"):
        os.mkfifo(tmp_path / name)
        assert "is a pipe" in CliRunner().invoke(main, [*words, "--force"]).stderr
        assert stat.S_ISFIFO((tmp_path / name).lstat().st_mode)
        (tmp_path / name).unlink()
        (tmp_path / name).write_text("mine")
        assert "exists already" in CliRunner().invoke(main, words).stderr
        assert "exists already" not in CliRunner().invoke(main, [*words, "--force"]).stderr
        (tmp_path / name).unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assets"]


def test_an_imported_description_takes_no_pipes_place(tmp_path: Path) -> None:
    pipe = tmp_path / "desc.yaml"
    os.mkfifo(pipe)
    words = ["bundle", "import", str(tmp_path), "--assets", str(tmp_path / "assets"), "--desc", str(pipe)]
    assert "is a pipe" in CliRunner().invoke(main, words).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["desc.yaml"]


def test_rendered_texts_go_over_their_own_kind_only(tmp_path: Path) -> None:
    words = ["render", str(EXAMPLE), "--all", "--out", str(tmp_path / "out")]
    (tmp_path / "out" / "node2").mkdir(parents=True)
    pipe = tmp_path / "out" / "node2" / "cloud-config"
    os.mkfifo(pipe)
    assert "is a pipe" in CliRunner().invoke(main, words).stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["node2"]
    pipe.unlink()
    for _ in range(2):
        assert CliRunner().invoke(main, words).exit_code == 0
