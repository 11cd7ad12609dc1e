"""What no description needs goes; what any lock names stays, whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner
from oci_layout import make_layout, store_layout

from bootstrapper.assets.holding import hold
from bootstrapper.assets.image_check import find_image_problem
from bootstrapper.assets.item import Item, Kind
from bootstrapper.assets.prune import Needed, Waste, check_root, find_waste, forget_unneeded, remove
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.cli_assets import assets, find_needed
from bootstrapper.cluster.model import Arch
from bootstrapper.description import read_lock
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock, write_lock

PAUSE, OLD, PROXY = "registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.9", "docker.io/library/haproxy:3.2"


NOTHING = "0 files (0 B) that no description needs, and 1 line of assets.lock"


class Disk:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "assets"
        self.folder = folder
        self.storage = Storage(self.root / REGISTRY)
        self.images = {name: self.image(name, name) for name in (PAUSE, OLD, PROXY)}
        for name in ("etcd/1/amd64/etcd", "etcd/2/amd64/etcd", "mine/by/hand"):
            self.file(name)

    def image(self, name: str, text: str) -> Item:
        layout = self.folder / "layouts" / hashlib.sha256(text.encode()).hexdigest()
        make_layout(layout, text)
        return store_layout(self.storage, name, layout, (Arch.AMD64, Arch.ARM64))

    def file(self, name: str, content: bytes = b"x") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def lock(self, files: Iterable[str] = (), images: Iterable[str] = ()) -> AssetLock:
        digests = {name: str(self.images[name].proof.sha256) for name in images}
        return AssetLock(files=dict.fromkeys(files, "0" * 64), images=digests)

    def prune(self, *locks: AssetLock, items: Iterable[Item] = ()) -> tuple[Waste, ...]:
        needed = Needed()
        for lock in locks:
            needed.add(items, lock)
        waste = find_waste(self.root, needed)
        remove(waste, self.root)
        assert find_waste(self.root, needed) == ()
        return waste

    def files(self) -> set[str]:
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        return {name for name in found if not name.startswith(REGISTRY)}

    def whole(self) -> set[str]:
        return {name for name, item in self.images.items() if find_image_problem(self.storage, item) is None}


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_files_that_nobody_names_go(disk: Disk) -> None:
    disk.file(".index.json")
    disk.prune(disk.lock(["etcd/2/amd64/etcd"], [PAUSE, OLD, PROXY]))
    assert disk.files() == {"etcd/2/amd64/etcd", ".index.json"}
    assert not (disk.root / "mine").exists() and not (disk.root / "etcd/1").exists()
    assert disk.whole() == {PAUSE, OLD, PROXY}


def test_what_the_catalogue_names_stays_without_a_lock(disk: Disk) -> None:
    items = [Item("etcd/1/amd64/etcd", Kind.FILE, "program", ""), Item(PAUSE, Kind.IMAGE, "image", "")]
    disk.prune(AssetLock(), items=items)
    assert disk.files() == {"etcd/1/amd64/etcd"}
    assert disk.whole() == {PAUSE}


@pytest.mark.parametrize("kept", [(), (PAUSE,), (OLD,), (PROXY, OLD), (PAUSE, OLD, PROXY)])
def test_images_go_with_all_that_only_they_consisted_of(disk: Disk, kept: tuple[str, ...]) -> None:
    before = dict(disk.storage.list_blobs())
    waste = disk.prune(disk.lock([], kept))
    assert disk.whole() == set(kept)
    after = dict(disk.storage.list_blobs())
    # Each image has an index and, for three platforms, a manifest, a configuration and a layer.
    assert (len(before), len(after)) == (30, 10 * len(kept))
    tags = [each.path for each in waste if each.path.name == "link" and "tags" in each.path.parts]
    others = [each.path for each in waste if REGISTRY in each.path.parts and each.path not in tags]
    order = [each.path for each in waste]
    assert all(order.index(tag) < order.index(other) for tag in tags for other in others)


def test_what_two_images_share_stays_for_the_other(disk: Disk) -> None:
    layout = disk.folder / "layouts" / hashlib.sha256(PAUSE.encode()).hexdigest()
    disk.images["ghcr.io/copy/pause:1"] = store_layout(disk.storage, "ghcr.io/copy/pause:1", layout)
    disk.prune(disk.lock([], ["ghcr.io/copy/pause:1"]))
    assert "ghcr.io/copy/pause:1" in disk.whole()
    assert PAUSE not in disk.whole()
    assert len(dict(disk.storage.list_blobs())) == 10


def test_two_descriptions_with_one_tag_pinned_differently(disk: Disk) -> None:
    first = disk.lock([], [PAUSE])
    layout = disk.folder / "moved"
    make_layout(layout, "the tag has moved")
    disk.images[PAUSE] = store_layout(disk.storage, PAUSE, layout)
    second = disk.lock([], [PAUSE])
    assert first.images != second.images
    disk.prune(first, second)
    for lock in (first, second):
        assert disk.storage.read_manifest(lock.images[PAUSE]) is not None
    assert len(dict(disk.storage.list_blobs())) == 20
    disk.prune(second)
    assert disk.storage.read_manifest(first.images[PAUSE]) is None
    assert disk.whole() == {PAUSE}


def test_parts_of_downloads_that_somebody_needs_stay(disk: Disk) -> None:
    needed = hashlib.sha256(b"etcd/1/amd64/etcd").hexdigest()[:16]
    disk.file(f".parts/{needed}-etcd.part")
    disk.file(".parts/0123456789abcdef-gone.part")
    disk.prune(disk.lock(["etcd/1/amd64/etcd"]))
    assert disk.files() == {"etcd/1/amd64/etcd", f".parts/{needed}-etcd.part"}


def test_a_link_out_of_the_directory_goes_and_not_what_it_leads_to(disk: Disk) -> None:
    outside = disk.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    (disk.root / "linked").symlink_to(outside)
    disk.prune(AssetLock())
    assert (outside / "file").read_text() == "kept"
    assert not (disk.root / "linked").is_symlink()


def test_nothing_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert find_waste(tmp_path / "none", Needed()) == ()


def test_a_lock_forgets_what_its_description_no_longer_names() -> None:
    lock = AssetLock(
        files={"etcd/1/amd64/etcd": "1", "etcd/2/amd64/etcd": "2"},
        images={PAUSE: "3", OLD: "4"},
        sizes={OLD: 5, PAUSE: 6},
        first_seen={"etcd/1/amd64/etcd": "2026-11-21"},
    )
    items = [Item("etcd/2/amd64/etcd", Kind.FILE, "program", ""), Item(PAUSE, Kind.IMAGE, "image", "")]
    assert forget_unneeded(items, lock) == AssetLock({"etcd/2/amd64/etcd": "2"}, {PAUSE: "3"}, {PAUSE: 6}, {})


def test_descriptions_in_one_directory_share_what_their_lock_keeps(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "cluster-desc.example.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text.replace("  version: 3.6.14", "  version: 3.6.13"))
    newer, older = (
        "etcd/3.6.14/amd64/etcd-v3.6.14-linux-amd64.tar.gz",
        "etcd/3.6.13/amd64/etcd-v3.6.13-linux-amd64.tar.gz",
    )
    lock = AssetLock({newer: "1" * 64, older: "2" * 64, "etcd/1/amd64/etcd": "3" * 64})
    (tmp_path / "assets.lock").write_text(write_lock(lock))
    needed, fresh = find_needed([tmp_path / "a.yaml", tmp_path / "b.yaml"], None, True)
    assert fresh == {tmp_path / "assets.lock": AssetLock({newer: "1" * 64, older: "2" * 64})}
    assert {newer, older} <= needed.files and "etcd/1/amd64/etcd" not in needed.files


@pytest.mark.parametrize(
    ("words", "said", "kept"),
    [
        (("--dry-run",), f"{NOTHING}: nothing was removed", 2),
        (("--yes",), f"removed {NOTHING}", 1),
    ],
)
def test_a_lock_forgets_also_where_no_file_is_left_to_remove(
    tmp_path: Path, words: tuple[str, ...], said: str, kept: int
) -> None:
    text = (Path(__file__).parents[2] / "cluster-desc.example.yaml").read_text()
    (tmp_path / "rack.yaml").write_text(text)
    newer = "etcd/3.6.14/amd64/etcd-v3.6.14-linux-amd64.tar.gz"
    (tmp_path / "assets.lock").write_text(write_lock(AssetLock({newer: "1" * 64, "etcd/1/amd64/etcd": "3" * 64})))
    with hold(tmp_path / "assets"):
        pass
    command = ["prune", str(tmp_path / "rack.yaml"), "--assets", str(tmp_path / "assets"), "--forget", *words]
    ran = CliRunner().invoke(assets, command, catch_exceptions=False)
    assert ran.output.splitlines()[-1] == said
    assert len(read_lock(tmp_path / "rack.yaml").files) == kept


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("notes/rack.txt",), "was not filled by `fetch` or `bundle import`, and nothing is removed from it"),
        (("state.db", ".fetch.lock"), "holds a server's state, and nothing is removed from it"),
        (("pki/authority.pem", ".index.json"), "holds a server's state, and nothing is removed from it"),
        ((".index.json",), None),
        (("registry/docker/registry/v2/repositories/x",), None),
    ],
)
def test_only_a_directory_that_was_filled_here_is_emptied(
    tmp_path: Path, names: tuple[str, ...], message: str | None
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    if message is None:
        check_root(tmp_path)
    else:
        with pytest.raises(UserError, match=message):
            check_root(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(names)
