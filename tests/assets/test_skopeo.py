"""The program around skopeo: ends that are not its own. The programs played here are a line of shell each."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrapper.assets import skopeo
from bootstrapper.assets.hashing import Stopped
from bootstrapper.errors import UserError


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`play(script)`: what skopeo does from now on."""
    program = tmp_path / "skopeo"
    monkeypatch.setattr(skopeo, "find_skopeo", lambda: str(program))
    monkeypatch.setattr(skopeo, "TICK_S", 0.05)

    def write(script: str) -> None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return write


def copy(tmp_path: Path, tick: Callable[[], int] = lambda: 0, stopped: Callable[[], bool] = lambda: False) -> None:
    skopeo.copy_to("docker://ghcr.io/a/b:1", tmp_path, 1, stopped, tick)


def test_what_it_prints_is_the_manifest(play: Callable[[str], None]) -> None:
    play('echo "$*"')
    assert skopeo.read_raw("docker://ghcr.io/a/b:1", 3, lambda: False) == (
        b"inspect --raw --retry-times 2 docker://ghcr.io/a/b:1\n"
    )


def test_its_last_words_and_what_to_do(play: Callable[[str], None], tmp_path: Path) -> None:
    play('echo \'time="x" level=fatal msg="unauthorized: authentication required"\' >&2; exit 1')
    with pytest.raises(
        UserError, match=r"ghcr\.io/a/b:1 cannot be had: unauthorized: authentication required"
    ) as failed:
        copy(tmp_path)
    assert failed.value.hint == "sign in first: skopeo login REGISTRY"


def test_a_full_disk(play: Callable[[str], None], tmp_path: Path) -> None:
    play("echo 'write /x: no space left on device' >&2; exit 1")
    with pytest.raises(OSError, match="No space left") as failed:
        copy(tmp_path)
    assert failed.value.errno == errno.ENOSPC


def test_a_connection_over_which_nothing_comes(
    play: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skopeo, "STALLED_S", 0.3)
    play("exec sleep 60")
    with pytest.raises(UserError, match=r"ghcr\.io/a/b:1: nothing came for"):
        copy(tmp_path)
    # As long as bytes come, it may take its time.
    play("sleep 1")
    count = iter(range(1000))
    copy(tmp_path, tick=lambda: next(count))


def test_called_off_it_ends_at_once(play: Callable[[str], None], tmp_path: Path) -> None:
    play(f"echo $$ > {tmp_path}/pid; exec sleep 60")
    with pytest.raises(Stopped):
        copy(tmp_path, stopped=(tmp_path / "pid").exists)
    pid = (tmp_path / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}").exists()
