"""What `doctor` says of files that were brought here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_site import IMAGE, make_site

from bootstrapper.doctor.content import check_content
from bootstrapper.doctor.finding import Described, Grade


def test_a_replaced_key_is_said_until_it_is_taken_up(tmp_path: Path) -> None:
    here = tmp_path / "assets" / f"{IMAGE}.key.asc"
    here.parent.mkdir(parents=True)
    here.write_bytes(b"old")
    own = tmp_path / "ours.asc"
    warned = (
        f"{own} is another key than the one that machines get ({IMAGE}.key.asc)",
        "`bootstrapper fetch` takes it up if it signed the image",
    )
    for content, expected in ((b"old", []), (b"new", [warned])):
        own.write_bytes(content)
        found = [each for each in check_content(make_site(tmp_path)) if "another key" in each.message]
        assert [(each.message, each.hint) for each in found] == expected
        assert all(each.grade is Grade.WARN for each in found)
    own.unlink()
    assert not [each for each in check_content(make_site(tmp_path)) if "another key" in each.message]


def find_closed(site: Described) -> list[tuple[Grade, str, str]]:
    found = [each for each in check_content(site) if "may not be read" in each.message]
    return [(each.grade, each.message, each.hint) for each in found]


def test_the_user_that_serves_reads_the_lock_the_description_and_the_files(
    open_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_path / "rack.yaml").write_text("")
    (open_path / "assets.lock").write_text("")
    kernel = open_path / "elsewhere/flatcar/amd64-usr/4593.2.5/flatcar_production_pxe.vmlinuz"
    kernel.parent.mkdir(parents=True)
    kernel.write_text("")
    monkeypatch.chdir(open_path)
    state = open_path / "state"
    state.mkdir()
    site = replace(make_site(open_path), state=state, description=Path("rack.yaml"), assets=Path("elsewhere"))
    assert find_closed(site) == []
    (open_path / "rack.yaml").chmod(0o600)
    (open_path / "assets.lock").chmod(0o600)
    kernel.parent.chmod(0o700)
    user = "may not be read by the user bootstrapper, as whom"
    assert find_closed(site) == [
        (
            Grade.FAIL,
            f"{open_path}/assets.lock {user} files are compared with it",
            f"chmod a+r {open_path}/assets.lock",
        ),
        (
            Grade.WARN,
            f"{open_path}/rack.yaml {user} `serve` reads it again when it is saved",
            f"chmod a+r {open_path}/rack.yaml",
        ),
        (Grade.FAIL, f"{kernel.parent} {user} files are served", f"chmod -R a+rX {open_path}/elsewhere"),
    ]
    # What is above it, however its path was given.
    for name in ("rack.yaml", "assets.lock"):
        (open_path / name).chmod(0o644)
    kernel.parent.chmod(0o755)
    open_path.chmod(0o700)
    assert [hint for _, _, hint in find_closed(site)] == [f"chmod a+x {open_path}"] * 3
    # `serve` hands what is below its state to its user.
    inside = replace(site, assets=Path("state/../state/assets"), state=open_path)
    assert find_closed(inside) == []


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Unlike tmp_path, nobody is kept out above it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path
