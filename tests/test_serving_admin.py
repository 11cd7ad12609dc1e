"""What the wiring gives the admin plane: its token, its names, a check as the command's."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bootstrapper.assets.readiness import FILE_NAME, write_readiness
from bootstrapper.boot.readiness import Readiness
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates
from bootstrapper.errors import UserError
from bootstrapper.pki.tokens import is_token
from bootstrapper.servers.admin_sockets import parse_place
from bootstrapper.serving_admin import AdminRoom, find_hosts, load_admin_token

EXAMPLE = Path(__file__).parent.parent / "cluster-desc.example.yaml"


def make_room(folder: Path) -> AdminRoom:
    cluster = load(EXAMPLE.read_text())
    return AdminRoom(folder / "x.yaml", folder, folder / "assets", lambda: load_templates(None), cluster, "AUTHORITY\n")


def test_a_token_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    token = load_admin_token(tmp_path)
    assert is_token(token)
    assert load_admin_token(tmp_path) == token
    path = tmp_path / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(UserError, match="can be read by others"):
        load_admin_token(tmp_path)


@pytest.mark.parametrize("text", ["", "\n", "short", "x" * 44, "é" * 43])
def test_a_file_without_a_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "admin.token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UserError, match=r"admin\.token"):
        load_admin_token(tmp_path)


def test_names_that_a_browser_may_use() -> None:
    cluster = load(EXAMPLE.read_text())
    assert find_hosts(None, cluster) == frozenset()
    assert find_hosts(parse_place("127.0.0.1:8480"), cluster) == frozenset()
    assert find_hosts(parse_place("10.10.14.253:8480"), cluster) == {"10.10.14.253", "bootstrapper.prod.example.com"}


def test_a_check_is_the_commands_and_raises_nothing(tmp_path: Path) -> None:
    room = make_room(tmp_path)
    assert room.check(EXAMPLE.read_text()).problems == ()
    assert [each.path for each in room.check(EXAMPLE.read_text().replace("10.10.14.12", "10.10.14.11")).problems]
    (tmp_path / "assets.lock").write_text("no lock")
    assert "assets.lock" in room.check(EXAMPLE.read_text()).problems[0].message


def test_what_machines_wait_for_is_what_the_looking_process_found(tmp_path: Path) -> None:
    room, cluster = make_room(tmp_path), load(EXAMPLE.read_text())
    assert room.find_missing(cluster) == {}
    write_readiness(tmp_path / FILE_NAME, Readiness({"00:25:90:c0:f7:80": ("a/b",)}))
    assert room.find_missing(cluster) == {"00:25:90:c0:f7:80": ("a/b",)}
