"""Where a file may be had from, and what has been hashed already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootstrapper.assets.hashing import Stopped, hash_file
from bootstrapper.assets.index import Index, load_index
from bootstrapper.assets.sources import list_places, parse_source
from bootstrapper.assets.writing import write_atomically
from bootstrapper.errors import UserError


def test_sources_as_an_admin_writes_them() -> None:
    assert parse_source("/media/usb/") == "file:///media/usb"
    assert parse_source("file:///media/usb") == "file:///media/usb"
    assert parse_source("https://mirror.test/x/") == "https://mirror.test/x"
    for bad in ("ftp://mirror.test/", "https:///x"):
        with pytest.raises(UserError):
            parse_source(bad)


def test_the_admin_s_sources_come_first_in_both_layouts() -> None:
    assert list_places("etcd/3/amd64/e.tgz", "https://github.com/x/e.tgz", ("file:///usb", "http://nas")) == (
        "file:///usb/etcd/3/amd64/e.tgz",
        "file:///usb/github.com/x/e.tgz",
        "http://nas/etcd/3/amd64/e.tgz",
        "http://nas/github.com/x/e.tgz",
        "https://github.com/x/e.tgz",
    )
    assert list_places("a/b", "", ()) == ()


def test_a_file_is_known_until_it_changes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    index = Index(tmp_path / ".index.json")
    index.put(tmp_path, "a", "ab")
    index.save()
    again = load_index(tmp_path / ".index.json")
    assert again.find(tmp_path, "a") == "ab" and again.find(tmp_path, "a") == "ab"
    os.utime(tmp_path / "a", ns=(1, 1))
    assert again.find(tmp_path, "a") is None
    with pytest.raises(FileNotFoundError):
        again.find(tmp_path, "b")
    for spoilt in (b"", b"{}", b"[]", b'{"files": {"a": [1]}}', b"\xff"):
        (tmp_path / ".index.json").write_bytes(spoilt)
        assert load_index(tmp_path / ".index.json").entries == {}


def test_hashes_in_one_pass(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    heard: list[int] = []
    assert hash_file(tmp_path / "a", ("sha256",), heard.append) == {
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }
    assert heard == [3]
    assert set(hash_file(tmp_path / "a", ("sha256", "sha512"))) == {"sha256", "sha512"}
    with pytest.raises(Stopped):
        hash_file(tmp_path / "a", stopped=lambda: True)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OSError, match="No such file"):
        write_atomically(tmp_path / "gone" / "a", b"1")
