"""Whose word `fetch` takes for a file, and what it keeps when nobody can be asked. Real servers: tests/interop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from oci_layout import make_layout, store_layout
from rack import ONE_MACHINE

from bootstrapper import cli_fetch
from bootstrapper.assets.fetch import PARTS, Fetcher, save_lock_to
from bootstrapper.assets.fetch_plan import Outcome, Plan, Result, Watcher
from bootstrapper.assets.holding import hold, hold_lock
from bootstrapper.assets.index import load_index
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.assets.transfer import Client
from bootstrapper.assets.writing import make_directories
from bootstrapper.cli import main
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock, write_lock

NAME = "tool/1.0/amd64/tool"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"SHA-256 of `abc`, of FIPS 180-2."
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@dataclass
class Site:
    """A publisher, a source and the assets: directories."""

    top: Path

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            (self.top / name).write_text(content)

    def tool(self, **proof: str) -> Item:
        return Item(NAME, Kind.FILE, "program", f"file://{self.top}/publisher/tool", Proof(**proof))  # type: ignore[arg-type]

    def listed(self) -> Item:
        return self.tool(checksums=f"file://{self.top}/publisher/tool.sha256")

    def fetch(self, item: Item, **plan: object) -> tuple[Result, AssetLock, list[str]]:
        said: list[str] = []
        fetcher = Fetcher(
            Plan(
                root=self.top / "assets", beside=self.top, client=Client(lambda: 0.0),
                sources=(f"file://{self.top}/source",), wall=lambda: 1_795_262_400.0, **plan,  # type: ignore[arg-type]
            ),
            Watcher(say=said.append),
            lambda lock: None,
        )  # fmt: skip
        (result,) = fetcher.run([item])
        return result, fetcher.lock, said

    def parts(self) -> list[bytes]:
        return [path.read_bytes() for path in (self.top / "assets" / PARTS).glob("*.part")]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_changed_file_with_a_changed_checksum_is_not_believed(site: Site) -> None:
    site.write({f"source/{NAME}": "", f"source/{NAME}.sha256": EMPTY})
    site.write({"publisher/tool": "abc", "publisher/tool.sha256": ABC})
    result, lock, said = site.fetch(site.listed())
    assert result == Result(site.listed(), Outcome.FETCHED, ABC, 3)
    assert lock == AssetLock({NAME: ABC}, {}, {NAME: 3}, {})
    assert said == [
        f"{NAME} is not genuine: expected sha256 {ABC}, found {EMPTY} (from file://{site.top}/source/{NAME}): "
        "the next source is asked"
    ]


def test_a_hash_that_was_written_down_does_not_outlive_the_description_s_own_proof(site: Site) -> None:
    site.write({f"assets/{NAME}": "", "publisher/tool": "abc"})
    sha512 = (
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    proof = Proof(sha256=EMPTY, sha512=sha512, recorded=True)
    item = Item(NAME, Kind.FILE, "your own", f"file://{site.top}/publisher/tool", proof)
    result, lock, _ = site.fetch(item)
    assert result == Result(item, Outcome.FETCHED, ABC, 3)
    assert lock.files == {NAME: ABC}


def test_a_checksum_that_only_a_source_has_is_pinned_at_first_sight(site: Site) -> None:
    site.write({f"source/{NAME}": "abc", f"source/{NAME}.sha256": ABC})
    result, lock, said = site.fetch(site.listed())
    assert result == Result(site.listed(), Outcome.FETCHED, ABC, 3, first_seen=True)
    assert lock == AssetLock({NAME: ABC}, {}, {NAME: 3}, {NAME: "2026-11-21"})
    assert said == [
        f"NOT PROVEN: file://{site.top}/publisher/tool.sha256 cannot be had, and a checksum from "
        f"file://{site.top}/source/{NAME}.sha256 is as good as that source; "
        f"the hash of {NAME} now, {ABC}, is pinned in assets.lock"
    ]


@pytest.mark.parametrize("kind", ["checksums", "signature"])
def test_what_cannot_be_proven_now_is_kept_aside(site: Site, kind: str) -> None:
    site.write({"publisher/tool": "abc"})
    beside = f"file://{site.top}/publisher/tool.proof"
    result, lock, _ = site.fetch(site.tool(**{kind: beside}))
    assert (result.outcome, result.message.partition(": ")[0]) == (Outcome.FAILED, f"{NAME} cannot be proven")
    assert result.hint == "what came of it is kept aside and not served: run it again when its proof can be had"
    assert site.parts() == [b"abc"] and not (site.top / "assets" / NAME).exists() and lock == AssetLock()


def test_a_file_is_kept_when_its_key_is_missing(site: Site) -> None:
    site.write({"publisher/tool": "abc", "publisher/tool.sig": "signature"})
    result, _, _ = site.fetch(site.tool(signature=f"file://{site.top}/publisher/tool.sig", key="key.asc"))
    assert result.message == f"the key {site.top}/key.asc cannot be read: No such file or directory"
    assert site.parts() == [b"abc"] and not (site.top / "assets" / NAME).exists()


def test_what_is_not_genuine_is_deleted(site: Site) -> None:
    site.write({"publisher/tool": "abc", "publisher/tool.sha256": EMPTY})
    result, _, _ = site.fetch(site.listed())
    assert f"{NAME} is not genuine: expected sha256 {EMPTY}, found {ABC}" in result.message
    assert site.parts() == [] and not (site.top / "assets" / NAME).exists()


def test_a_file_that_changes_while_it_is_hashed_has_no_entry_in_the_index(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write({f"assets/{NAME}": "abc"})
    path = site.top / "assets" / NAME
    entries = []
    for change in (False, True):

        def hash_it(*_: object, change: bool = change, **__: object) -> Mapping[str, str]:
            if change:
                os.utime(path, ns=(7, 7))
            return {"sha256": ABC}

        monkeypatch.setattr("bootstrapper.assets.fetch.hash_file", hash_it)
        result, _, _ = site.fetch(site.tool(sha256=ABC), verify=True)
        assert result.outcome is Outcome.PRESENT
        entries.append(list(load_index(site.top / "assets" / ".index.json").entries))
    assert entries == [[NAME], []]


def test_the_lock_is_read_once_no_other_fetch_can_write_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write({"cluster-desc.yaml": ONE_MACHINE})
    held = []

    def read_lock(description: Path) -> AssetLock:
        with pytest.raises(UserError, match="another fetch works on"), hold(site.top / "assets"):
            pass
        held.append(description)
        raise UserError("read")

    monkeypatch.setattr(cli_fetch, "read_lock", read_lock)
    description = site.top / "cluster-desc.yaml"
    ran = CliRunner().invoke(cli_fetch.fetch, [str(description), "--assets", str(site.top / "assets")])
    assert (held, str(ran.exception)) == ([description], "read")


def test_whoever_serves_may_read_what_root_fetched(site: Site) -> None:
    """Root's umask may be 077: nobody else needs to see what is not proven yet, and everybody the rest."""
    site.write({"publisher/tool": "abc"})
    before = os.umask(0o077)
    try:
        lock = site.top / "etc/assets.lock"
        make_directories(lock.parent)
        save_lock_to(lock, write_lock)(AssetLock())
        site.fetch(site.tool(sha256=ABC))
        layout = site.top / "layout"
        make_layout(layout, "pause")
        store_layout(Storage(site.top / "assets" / REGISTRY), "registry.k8s.io/pause:3.10.1", layout)
    finally:
        os.umask(before)
    paths = [path for top in ("etc", "assets") for path in (site.top / top, *(site.top / top).rglob("*"))]
    closed = [path for path in paths if path.stat().st_mode & 0o555 != (0o555 if path.is_dir() else 0o444)]
    assert closed == []
    assert len(paths) > 20 and (site.top / "assets" / REGISTRY) in paths


def test_a_lock_that_cannot_be_written_is_named(site: Site) -> None:
    site.write({"publisher/tool": "abc"})

    def save(lock: AssetLock) -> None:
        raise PermissionError(13, "Permission denied", "/etc/rack/assets.lock")

    plan = Plan(site.top / "assets", site.top, Client(lambda: 0.0))
    with pytest.raises(UserError, match=r"^/etc/rack/assets\.lock cannot be written: Permission denied$"):
        Fetcher(plan, Watcher(), save).run([site.tool(sha256=ABC)])


def test_what_was_called_off_has_not_failed(site: Site) -> None:
    fetcher = Fetcher(Plan(site.top / "assets", site.top, Client(lambda: 0.0)), Watcher(), lambda lock: None)
    fetcher.stop()
    assert fetcher.run([site.tool(sha256=ABC)]) == [Result(site.tool(sha256=ABC), Outcome.STOPPED)]


def test_a_key_that_is_none_is_refused_before_anything_is_fetched(site: Site) -> None:
    site.write({"cluster-desc.yaml": ONE_MACHINE, "next.asc": "no key"})
    places = [str(site.top / "cluster-desc.yaml"), "--assets", str(site.top / "assets")]
    ran = CliRunner().invoke(cli_fetch.fetch, [*places, "--key", str(site.top / "next.asc")])
    assert str(ran.exception).startswith(f"--key {site.top}/next.asc: the key is no OpenPGP public key")
    assert not (site.top / "assets").exists()


def test_the_sum_of_sizes_that_nobody_knows(site: Site) -> None:
    site.write({"cluster-desc.yaml": ONE_MACHINE})
    ran = CliRunner().invoke(cli_fetch.fetch, [str(site.top / "cluster-desc.yaml"), "--list"])
    assert ran.output.splitlines()[-1] == "11 files, 5 images: all of unknown size (--sizes asks)"
    site.write({"assets.lock": 'version = 1\n\n[files]\n\n[sizes]\n"registry.k8s.io/pause:3.10.1" = 2000\n'})
    ran = CliRunner().invoke(cli_fetch.fetch, [str(site.top / "cluster-desc.yaml"), "--list"])
    assert ran.output.splitlines()[-1] == "11 files, 5 images: 2.0 kB, and 15 of unknown size (--sizes asks)"


def test_one_at_a_time_writes_a_lock_that_two_descriptions_share(site: Site) -> None:
    """Each keeps the whole lock in memory: what the other had written would be lost."""
    site.write({"rack.yaml": ONE_MACHINE, "assets.lock": "version = 1\n", "other/.fetch.lock": ""})
    description, other = str(site.top / "rack.yaml"), str(site.top / "other")
    with hold(site.top / "assets"), hold_lock(site.top):
        for command in (["fetch", description, "--assets", other, "--only", "files"],
                        ["assets", "prune", description, "--assets", other, "--forget", "--yes"]):  # fmt: skip
            ran = CliRunner().invoke(main, command)
            assert ran.output == (
                f"bootstrapper: another fetch writes {site.top}/assets.lock\n  hint: wait until it is done\n"
            )
    with hold_lock(site.top / "not there yet"):
        pass
