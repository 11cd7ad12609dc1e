"""What the lab looks at before it makes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from rack import ONE_MACHINE

from bootstrapper.cli import main
from bootstrapper.description import read_lock, read_text
from bootstrapper.errors import UserError
from bootstrapper.lab import kernel, rack
from bootstrapper.lab.rack import link_description
from bootstrapper.nodeconfig.asset_lock import AssetLock


def test_the_test_system_is_not_measured_by_the_real_images_hashes(tmp_path: Path) -> None:
    description, lab = tmp_path / "etc/rack.yaml", tmp_path / "state/lab"
    for directory in (description.parent, lab):
        directory.mkdir(parents=True)
    description.write_text(ONE_MACHINE)
    name = "flatcar/amd64-usr/4593.2.5/flatcar_production_pxe.vmlinuz"
    (description.parent / "assets.lock").write_text(f'version = 1\n\n[files]\n"{name}" = "sha256:{"0" * 64}"\n')
    for _ in range(2):  # the second time with --keep
        link = link_description(description, lab)
        assert (read_text(link), read_lock(link)) == (ONE_MACHINE, AssetLock())
    description.write_text("saved again")
    assert read_text(link) == "saved again"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--only", "nobody"), "no such machine: nobody"),
        (("--assets", "/nonexistent"), "Directory '/nonexistent' does not exist"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(rack, "require", lambda programs: None)
    (tmp_path / "rack.yaml").write_text(ONE_MACHINE)
    ran = CliRunner().invoke(main, ["lab", str(tmp_path / "rack.yaml"), "--state", str(tmp_path / "state"), *words])
    assert message in ran.output and ran.exit_code in (1, 2)
    assert not (tmp_path / "state").exists()


def test_a_description_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(rack, "require", lambda programs: None)
    ran = CliRunner().invoke(main, ["lab", str(tmp_path / "none.yaml")])
    assert f"bootstrapper: {tmp_path}/none.yaml cannot be read: No such file or directory\n" in ran.output


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_real_package", lambda: "linux-image-cloud")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="/file/cache cannot be made: Not a directory"):
        kernel.find_package(tmp_path / "file/cache")
