"""Images on their way into the registry's storage, with skopeo's two calls played by a directory of layouts.

skopeo itself, and containerd at the other end, are in tests/interop/test_registry_pull.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kills import Killed, kill_after
from oci_layout import make_layout

from bootstrapper.assets import images
from bootstrapper.assets.fetch_plan import Outcome, Plan, Result, Watcher
from bootstrapper.assets.image_check import find_image_problem
from bootstrapper.assets.images import fetch_images
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.assets.transfer import Client
from bootstrapper.cluster.model import Arch
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock

NAME = "registry.k8s.io/pause:3.10.1"
BOTH = (Arch.AMD64, Arch.ARM64)


class Upstream:
    """One image upstream, one computer that fetches it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.layout = folder / "layout"
        self.storage = Storage(folder / "assets" / REGISTRY)
        self.plan = Plan(folder / "assets", folder, Client(lambda: 0.0), tries=1, wall=lambda: 1795262400.0)
        self.lock = AssetLock()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.spoil: Callable[[Path], None] = lambda directory: None
        monkeypatch.setattr(images, "find_skopeo", lambda: "/usr/bin/skopeo")
        monkeypatch.setattr(images, "read_raw", self.read_raw)
        monkeypatch.setattr(images, "copy_to", self.copy_to)

    def blob(self, digest: str) -> bytes:
        return (self.layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def read_raw(self, reference: str, tries: int, stopped: Callable[[], bool]) -> bytes:
        self.asked.append(reference)
        digest = reference.partition("@")[2]
        if not digest:
            digest = json.loads((self.layout / "index.json").read_text())["manifests"][0]["digest"]
        try:
            return self.blob(digest)
        except FileNotFoundError:
            raise UserError(f"{reference} cannot be had: manifest unknown") from None

    def copy_to(
        self, reference: str, directory: Path, tries: int, stopped: Callable[[], bool], tick: Callable[[], int]
    ) -> None:
        self.asked.append(reference)
        data = self.blob(reference.partition("@")[2])
        (directory / "manifest.json").write_bytes(data)
        document = json.loads(data)
        for each in (document["config"], *document["layers"]):
            (directory / each["digest"].removeprefix("sha256:")).write_bytes(self.blob(each["digest"]))
        self.spoil(directory)
        tick()

    def fetch(self, arches: tuple[Arch, ...] = BOTH, **changes: object) -> Result:
        item = Item(
            NAME, Kind.IMAGE, "image", f"docker://{NAME}", Proof(sha256=self.lock.images.get(NAME)), arches=arches
        )
        self.item = item

        def save(lock: AssetLock) -> None:
            self.lock = lock

        plan = replace(self.plan, **changes)  # type: ignore[arg-type]
        (result,) = fetch_images([item], plan, Watcher(say=self.said.append), save, self.lock)
        return result

    def problem(self) -> str | None:
        return find_image_problem(self.storage, self.item)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    return Upstream(tmp_path, monkeypatch)


@pytest.mark.parametrize("docker", [False, True])
def test_the_needed_platforms_come_and_the_index_stays_as_it_is(upstream: Upstream, docker: bool) -> None:
    digest = make_layout(upstream.layout, "pause", docker=docker)
    result = upstream.fetch()
    assert (result.outcome, result.sha256, result.first_seen) == (Outcome.FETCHED, digest, True)
    assert upstream.lock.images == {NAME: digest}
    assert upstream.lock.first_seen == {NAME: "2026-11-21"}
    assert upstream.problem() is None
    # Index; manifest, configuration and layer of two of the three platforms
    blobs = dict(upstream.storage.list_blobs())
    assert len(blobs) == 1 + 2 * 3
    assert upstream.lock.sizes[NAME] == sum(blobs.values()) == result.size
    assert all(upstream.storage.hash_blob(blob) for blob in blobs)
    upstream.asked.clear()
    assert upstream.fetch().outcome is Outcome.PRESENT
    assert upstream.fetch(verify=True).outcome is Outcome.PRESENT
    assert upstream.asked == []
    assert upstream.lock.first_seen == {NAME: "2026-11-21"}


def test_an_image_of_one_architecture_is_not_whole_for_another(upstream: Upstream) -> None:
    make_layout(upstream.layout, "pause", platforms=("linux/amd64",), index=False)
    assert upstream.fetch((Arch.AMD64,)).outcome is Outcome.FETCHED
    assert upstream.problem() is None
    both = replace(upstream.item, arches=BOTH)
    assert find_image_problem(upstream.storage, both) == "is not made for arm64; it is for amd64"


def test_a_configuration_that_is_no_json_is_named(upstream: Upstream) -> None:
    digest = make_layout(upstream.layout, "pause", platforms=("linux/amd64",), index=False)
    upstream.fetch((Arch.AMD64,))
    config = json.loads(upstream.blob(digest))["config"]
    upstream.storage.blob_path(config["digest"]).write_bytes(b"{" * config["size"])
    assert upstream.problem() == f"has a configuration that is not JSON: {config['digest']}"


def test_another_architecture_later_brings_only_that(upstream: Upstream) -> None:
    make_layout(upstream.layout, "pause")
    upstream.fetch((Arch.AMD64,))
    upstream.asked.clear()
    result = upstream.fetch(BOTH)
    assert result.outcome is Outcome.FETCHED
    assert len(upstream.asked) == 1 and upstream.problem() is None


def test_a_locked_digest_is_asked_for_and_a_moved_tag_ignored(upstream: Upstream) -> None:
    first = make_layout(upstream.layout, "pause")
    upstream.fetch()
    upstream.layout = upstream.folder / "moved"
    second = make_layout(upstream.layout, "moved")
    assert upstream.fetch().outcome is Outcome.PRESENT
    upstream.storage.blob_path(first).unlink()
    failed = upstream.fetch()
    assert failed.outcome is Outcome.FAILED and "manifest unknown" in failed.message
    assert upstream.asked[-1] == f"docker://registry.k8s.io/pause@{first}"
    # --pin takes the new one, knowingly
    assert upstream.fetch(pin=True).sha256 == second
    assert upstream.lock.images == {NAME: second}
    assert upstream.fetch().outcome is Outcome.PRESENT
    assert upstream.problem() is None


def test_wrong_bytes_are_refused_and_leave_nothing_visible(upstream: Upstream) -> None:
    digest = make_layout(upstream.layout, "pause")
    upstream.lock = AssetLock(images={NAME: digest})
    true = upstream.blob
    upstream.blob = lambda digest: true(digest) + b" "  # type: ignore[method-assign]
    failed = upstream.fetch()
    assert failed.outcome is Outcome.FAILED
    assert f"{NAME} is not genuine: expected {digest}, found sha256:" in failed.message
    assert not upstream.storage.root.exists() or list(upstream.storage.list_links()) == []
    upstream.blob = true  # type: ignore[method-assign]

    def change_layer(directory: Path) -> None:
        layer = max(directory.glob("?" * 64), key=lambda path: path.stat().st_size)
        layer.write_bytes(b"x" * layer.stat().st_size)

    upstream.spoil = change_layer
    failed = upstream.fetch()
    assert "is not genuine: what came is" in failed.message
    assert upstream.problem() is not None
    assert list(upstream.storage.list_links()) == []
    upstream.spoil = lambda directory: next(iter(sorted(directory.glob("?" * 64)))).unlink()
    assert "did not come" in upstream.fetch().message
    upstream.spoil = lambda directory: None
    assert upstream.fetch().outcome is Outcome.FETCHED
    assert upstream.problem() is None


def test_an_image_without_an_index(upstream: Upstream) -> None:
    digest = make_layout(upstream.layout, "pause", platforms=("linux/amd64",), index=False)
    failed = upstream.fetch(BOTH)
    assert failed.message == f"{NAME} is not made for arm64; it is for amd64"
    assert list(upstream.storage.list_links()) == []
    assert upstream.fetch((Arch.AMD64,)).sha256 == digest
    assert upstream.problem() is None


def test_an_image_for_other_architectures(upstream: Upstream) -> None:
    make_layout(upstream.layout, "pause", platforms=("linux/amd64", "windows/amd64"))
    failed = upstream.fetch(BOTH)
    assert failed.message == f"{NAME} is not made for arm64; it is for linux/amd64, windows/amd64"


def test_what_rots_is_found_and_fetched_again(upstream: Upstream) -> None:
    make_layout(upstream.layout, "pause")
    upstream.fetch()
    for digest, size in list(upstream.storage.list_blobs()):
        path = upstream.storage.blob_path(digest)
        good = path.read_bytes()
        path.write_bytes(b"x" * size)
        result = upstream.fetch(verify=True)
        assert result.outcome is Outcome.FETCHED, result.message
        assert path.read_bytes() == good
    assert upstream.problem() is None


def test_without_skopeo_it_says_what_to_do(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise UserError("no skopeo", "install it")

    make_layout(upstream.layout, "pause")
    upstream.fetch()
    monkeypatch.setattr(images, "find_skopeo", missing)
    assert upstream.fetch().outcome is Outcome.PRESENT
    next(upstream.storage.root.rglob("current/link")).unlink()
    failed = upstream.fetch()
    assert (failed.outcome, failed.message, failed.hint) == (Outcome.FAILED, f"{NAME}: no skopeo", "install it")


def test_an_end_at_any_write_leaves_no_half_image(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rename is a place where it may end: what is visible then is whole, and the next run gets there."""
    from bootstrapper.assets import registry_storage, writing

    digest = make_layout(upstream.layout, "pause")
    real = writing.put_in_place
    for last in range(60):
        put = kill_after(last, real)
        folder = upstream.folder / str(last)
        upstream.storage = Storage(folder / REGISTRY)
        upstream.lock = AssetLock()
        monkeypatch.setattr(registry_storage, "put_in_place", put)
        monkeypatch.setattr(writing, "put_in_place", put)
        try:
            upstream.fetch(root=folder)
        except Killed:
            visible = [path.read_text() for path in upstream.storage.root.rglob("current/link")]
            assert visible == [] or (visible == [digest] and upstream.problem() is None)
            monkeypatch.setattr(registry_storage, "put_in_place", real)
            monkeypatch.setattr(writing, "put_in_place", real)
            assert upstream.fetch(root=folder).outcome in (Outcome.FETCHED, Outcome.PRESENT)
            assert upstream.problem() is None
        else:
            assert last > 10
            return
    pytest.fail("it never ended")


def test_a_lock_written_before_the_tag_is_not_forgotten(upstream: Upstream) -> None:
    digest = make_layout(upstream.layout, "pause")
    upstream.lock = AssetLock(images={NAME: digest})
    assert upstream.fetch().first_seen is False
    assert upstream.lock.first_seen == {}
    assert hashlib.sha256(upstream.blob(digest)).hexdigest() in digest
