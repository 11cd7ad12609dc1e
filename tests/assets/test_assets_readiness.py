"""Looking at what is here, who waits for what, and how the other processes hear of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rack import NODE1_MAC, NODE4_MAC, make_machine

from bootstrapper.assets.index import Index, load_index
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.readiness import Looker, Need, ReadinessFile, judge, write_readiness
from bootstrapper.boot.readiness import Readiness

NODE1, NODE4 = make_machine(), make_machine(NODE4_MAC, "node4", None)
SHA256 = hashlib.sha256(b"content").hexdigest()
KERNEL = Item("flatcar/b/1/vmlinuz", Kind.FILE, "kernel", "u", Proof(SHA256), (NODE1, NODE4))
TOOL = Item("tool/1/amd64/tool", Kind.FILE, "program", "u", Proof(SHA256), (NODE1,))
PAUSE = Item("registry.k8s.io/pause:3.10", Kind.IMAGE, "image", "docker://x", Proof(f"sha256:{SHA256}"), (NODE1,))
ADDON = replace(PAUSE, name="registry.k8s.io/coredns/coredns:v1", machines=())
ITEMS = (KERNEL, TOOL, PAUSE, ADDON)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for item in (KERNEL, TOOL):
        (tmp_path / item.name).parent.mkdir(parents=True)
        (tmp_path / item.name).write_bytes(b"content")
    return tmp_path


def make_looker(root: Path, need: Need = Need.ALL, image: str | None = None) -> Looker:
    return Looker(root, load_index(root / ".index.json"), lambda item: image, need)


def test_everything_is_here(root: Path) -> None:
    assert make_looker(root).look(ITEMS) == {}
    assert load_index(root / ".index.json").find(root, TOOL.name) == SHA256


def test_what_is_not_right(root: Path) -> None:
    (root / KERNEL.name).unlink()
    (root / TOOL.name).write_bytes(b"forged!")
    found = hashlib.sha256(b"forged!").hexdigest()
    assert make_looker(root, image="is not in registry").look(ITEMS) == {
        KERNEL.name: f"is not in {root}",
        TOOL.name: f"is not genuine: expected sha256 {SHA256}, found {found}",
        PAUSE.name: "is not in registry",
        ADDON.name: "is not in registry",
    }
    unknown = replace(TOOL, proof=Proof())
    assert make_looker(root).look([unknown]) == {TOOL.name: "has no hash in assets.lock: run `bootstrapper fetch`"}


def test_only_what_boots_is_asked_for_where_that_is_ordered(root: Path) -> None:
    (root / TOOL.name).unlink()
    looker = make_looker(root, Need.BOOT, "is not in registry")
    assert looker.look(ITEMS) == {}
    assert looker.look([replace(KERNEL, proof=Proof())]) == {}
    assert "is not genuine" in looker.look([replace(KERNEL, proof=Proof("ab" * 32))])[KERNEL.name]
    (root / KERNEL.name).unlink()
    assert list(looker.look(ITEMS)) == [KERNEL.name]


def test_a_file_is_hashed_once_until_it_changes(root: Path) -> None:
    index = Index(root / ".index.json")
    index.put(root, TOOL.name, SHA256)
    status = (root / TOOL.name).stat()
    (root / TOOL.name).write_bytes(b"CONTENT")
    os.utime(root / TOOL.name, ns=(status.st_atime_ns, status.st_mtime_ns))
    looker = Looker(root, index, lambda item: None)
    assert looker.look([TOOL]) == {}, "the index says what it was, and nothing was hashed"
    os.utime(root / TOOL.name)
    assert list(looker.look([TOOL])) == [TOOL.name]


def test_a_file_that_changes_while_it_is_hashed_is_hashed_again(root: Path) -> None:
    index = Index(root / ".index.json")
    before = (root / TOOL.name).lstat()
    (root / TOOL.name).write_bytes(b"another content")
    index.put(root, TOOL.name, SHA256, before)
    assert index.find(root, TOOL.name) is None
    index.put(root, TOOL.name, SHA256, (root / TOOL.name).lstat())
    assert index.find(root, TOOL.name) == SHA256


def test_who_waits_for_what() -> None:
    problems = {TOOL.name: "gone", ADDON.name: "gone"}
    assert judge(ITEMS, problems, (NODE1, NODE4)) == Readiness({NODE1_MAC: (TOOL.name,), NODE4_MAC: ()})


def test_the_others_read_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "readiness.json"
    file = ReadinessFile(path)
    assert file.read() == Readiness()
    write_readiness(path, Readiness({NODE1_MAC: ("a/b",)}))
    assert file.read() == Readiness({NODE1_MAC: ("a/b",)})
    assert file.read() is file.read()
    write_readiness(path, Readiness({NODE1_MAC: ("a/b",), NODE4_MAC: ("a/b",)}))
    missing = file.read().missing
    assert missing == {NODE1_MAC: ("a/b",), NODE4_MAC: ("a/b",)} and missing[NODE1_MAC] is missing[NODE4_MAC]
    write_readiness(path, Readiness({NODE1_MAC: ()}))
    assert file.read().explain(NODE1_MAC) == ""
    for spoilt in (b"", b"[]", b"{}", b'{"lists": 3, "machines": {}}', b'{"lists": [], "machines": {"a": 1}}'):
        path.write_bytes(spoilt)
        assert file.read() == Readiness()
    path.unlink()
    assert file.read().explain(NODE1_MAC) == "waiting for files: they are being checked"
