"""The whole state in one sealed file, and back."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask, Refusal, Subject, apply_order
from bootstrapper.errors import UserError
from bootstrapper.state import sealed as sealing
from bootstrapper.state.backup import make_safe, read_backup, write_backup
from bootstrapper.state.sealed import CHUNK_BYTES, MAGIC, seal, unseal
from bootstrapper.state.sqlite import SqliteStore

WORDS = "correct horse battery staple"
SALT = bytes(range(16))
NODE1, NODE2, NODE3 = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "WORK", 2**4)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def sealed(plain: bytes) -> bytes:
    out = io.BytesIO()
    seal(io.BytesIO(plain), out, WORDS, SALT)
    return out.getvalue()


def opened(data: bytes, words: str = WORDS) -> bytes:
    return b"".join(unseal(io.BytesIO(data), words))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    (state / "pki" / "cluster").mkdir(parents=True)
    (state / "assets").mkdir()
    (state / "assets" / "image").write_text("big")
    (state / "pki" / "cluster" / "keys.json").write_text("KEYS")
    (state / "pki" / "authority.key").symlink_to("/etc/shadow")
    (state / "admin.token").write_text("TOKEN\n")
    store = SqliteStore(state / "state.db")
    store.save_history(NODE1, History(wanted=1, done=1, state=MachineState.JOINED))
    store.save_history(NODE2, History(wanted=3, done=2, wipe=True))
    store.save_history(NODE3, History(wanted=1, done=0, state=MachineState.INSTALLING))
    store.save_description("version: 1\n", 5.0)
    store.close()
    return state


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_what_is_sealed_comes_back(size: int) -> None:
    plain = bytes(range(256)) * (size // 256 + 1)
    assert opened(sealed(plain[:size])) == plain[:size]


def test_a_wrong_passphrase_and_another_file() -> None:
    with pytest.raises(UserError, match="the passphrase is wrong, or the file was changed"):
        opened(sealed(b"x"), "incorrect horse battery")
    with pytest.raises(UserError, match="this is no backup of bootstrapper"):
        opened(b"PK\x03\x04" + bytes(100))
    with pytest.raises(UserError, match="this is no backup"):
        opened(MAGIC)


def test_every_change_is_found() -> None:
    data = sealed(bytes(CHUNK_BYTES) + b"end")
    first = len(MAGIC) + 16
    second = first + 4 + CHUNK_BYTES + 16
    spoiled = {
        "a bit": data[:100] + bytes([data[100] ^ 1]) + data[101:],
        "the salt": data[: len(MAGIC)] + bytes(16) + data[first:],
        "cut after a chunk": data[:second],
        "cut in a chunk": data[:-1],
        "cut to its head": data[:first],
        "longer": data + b"x",
        "another order": data[:first] + data[second:] + data[first:second],
        "twice": data + data[second:],
    }
    for what, changed in spoiled.items():
        with pytest.raises(UserError):
            pytest.fail(f"{what}: {opened(changed)[:10]!r}")


def test_a_state_comes_back_whole_and_private(state: Path, tmp_path: Path) -> None:
    size = write_backup(state, tmp_path / "b", WORDS, SALT)
    assert size == (tmp_path / "b").stat().st_size
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert b"KEYS" not in (tmp_path / "b").read_bytes()
    restored = read_backup(tmp_path / "b", tmp_path / "new", WORDS, 100.0)
    assert (restored.revision, restored.machines, restored.held) == (1, 3, (NODE2,))
    found = sorted(str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*"))
    assert [name for name in found if not name.startswith("state.db-")] == [
        "admin.token",
        "pki",
        "pki/cluster",
        "pki/cluster/keys.json",
        "state.db",
    ]
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "new").rglob("*")} == {0}
    assert names(tmp_path) == ["b", "new", "state"], "nothing else is left behind"


def test_an_old_order_to_install_again_is_not_carried_out(state: Path, tmp_path: Path) -> None:
    write_backup(state, tmp_path / "b", WORDS, SALT)
    read_backup(tmp_path / "b", tmp_path / "new", WORDS, 100.0)
    store = SqliteStore(tmp_path / "new" / "state.db")
    histories = store.load_histories()
    store.close()
    assert histories[NODE1] == History(wanted=1, done=1, state=MachineState.JOINED)
    assert (histories[NODE2].open, histories[NODE2].wipe, histories[NODE2].state) == (False, False, MachineState.HELD)
    assert histories[NODE3].open, "a first install goes on: its disk tells whether it was done since"


def test_nothing_is_half_restored(state: Path, tmp_path: Path) -> None:
    write_backup(state, tmp_path / "b", WORDS, SALT)
    (tmp_path / "cut").write_bytes((tmp_path / "b").read_bytes()[:-1])
    with pytest.raises(UserError, match="was changed"):
        read_backup(tmp_path / "cut", tmp_path / "new", WORDS, 0.0)
    with pytest.raises(UserError, match="is not empty"):
        read_backup(tmp_path / "b", state, WORDS, 0.0)
    with pytest.raises(UserError, match="No such file"):
        read_backup(tmp_path / "nothing", tmp_path / "new", WORDS, 0.0)
    assert names(tmp_path) == ["b", "cut", "state"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "pki/../../evil", "other", "state.db/x"])
def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, name: str) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        out.addfile(tarfile.TarInfo(name))
    (tmp_path / "b").write_bytes(sealed(tar.getvalue()))
    with pytest.raises(UserError, match="no part of a state"):
        read_backup(tmp_path / "b", tmp_path / "new", WORDS, 0.0)
    assert names(tmp_path) == ["b"]


def test_a_directory_without_a_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no state of a server"):
        write_backup(tmp_path, tmp_path / "b", WORDS, SALT)


def test_a_state_directory_that_is_a_link_is_said_to_be_one(state: Path, tmp_path: Path) -> None:
    write_backup(state, tmp_path / "b", WORDS, SALT)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(UserError, match="is a link") as refused:
        read_backup(tmp_path / "b", tmp_path / "link", WORDS, 0.0)
    assert refused.value.hint == f"give the directory itself: --state {tmp_path}/empty"
    assert names(tmp_path) == ["b", "empty", "link", "state"]
    read_backup(tmp_path / "b", tmp_path / "empty", WORDS, 0.0)


def order(history: History, order: Order) -> History | Refusal:
    return apply_order(history, Ask(order), Subject(known=True, node=True), 9.0)


def test_a_disk_half_written_when_a_restore_closed_its_order_is_no_system_to_keep() -> None:
    restored = make_safe(History(3, 2, MachineState.INSTALLING, begun=True, order_id="x"), 8.0)
    again = order(restored, Order.REINSTALL)
    assert isinstance(again, History)
    assert (again.open, again.begun) == (True, True)
    assert isinstance(order(again, Order.CANCEL), Refusal)


def test_a_system_that_an_admin_vouched_for_after_a_restore_is_one_to_keep() -> None:
    released = order(make_safe(History(3, 2, MachineState.INSTALLING, begun=True, order_id="x"), 8.0), Order.RELEASE)
    assert isinstance(released, History)
    again = order(released, Order.REINSTALL)
    assert isinstance(again, History)
    kept = order(again, Order.CANCEL)
    assert isinstance(kept, History)
    assert (kept.open, kept.state) == (False, MachineState.INSTALLED)
