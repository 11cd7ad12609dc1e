"""A bundle goes out, comes in, and is refused for any byte, name or signer that is not right."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from kills import Killed, kill_after
from oci_layout import make_layout, store_layout
from rack import ONE_MACHINE

from bootstrapper.assets import bundle_import
from bootstrapper.assets.bundle_export import check_room, collect, make_manifest, write_archive, write_directory
from bootstrapper.assets.bundle_import import Imported, Target, import_bundle
from bootstrapper.assets.bundle_keys import (
    load_or_make,
    load_trusted,
    read_key_option,
    remember,
    sign,
    verify,
)
from bootstrapper.assets.bundle_manifest import Entry, Manifest, identify, is_path, parse_manifest, write_manifest
from bootstrapper.assets.image_check import find_image_problem
from bootstrapper.assets.index import load_index
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.cli_bundle import bundle
from bootstrapper.errors import UserError

NAMES = ("etcd/3.6.14/amd64/etcd.tar.gz", "flatcar/amd64-usr/4593.2.5/image.bin.bz2")
IMAGE = "registry.k8s.io/pause:3.10.1"
DESCRIPTION, LOCK = b"version: 1\n", b"version = 1\n"


class Site:
    """The computer that exports, and the one that imports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.assets = folder / "out"
        self.key = load_or_make(folder / "keys/bundle.key")
        self.items = [self.add(name, name.encode() * 1000) for name in NAMES]
        make_layout(folder / "layout", "pause")
        self.items.append(store_layout(Storage(self.assets / REGISTRY), IMAGE, folder / "layout"))
        self.target = Target(
            folder / "in", folder / "etc/rack.yaml", frozenset({self.key.fingerprint}), lambda description, lock: None
        )

    def add(self, name: str, content: bytes) -> Item:
        path = self.assets / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return Item(name, Kind.FILE, "program", "", Proof(sha256=hashlib.sha256(content).hexdigest()))

    def export(
        self, name: str = "rack.tar", since: bytes | None = None, description: bytes = DESCRIPTION
    ) -> tuple[Path, bytes]:
        found = collect(self.assets, self.items, description, LOCK)
        manifest = make_manifest(found, "prod", "2026-11-21T13:00:00Z", since)
        path = self.folder / name
        write = write_archive if name.endswith(".tar") else write_directory
        return path, write(path, found, manifest, self.key, lambda count: None)

    def import_(self, path: Path, **changes: object) -> Imported:
        return import_bundle(path, replace(self.target, **changes), lambda count: None)  # type: ignore[arg-type]

    def arrived(self) -> dict[str, bytes]:
        root = self.target.assets
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and not str(path.relative_to(root)).startswith((".", REGISTRY))
        }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("name", ["rack.tar", "rack"])
def test_all_that_goes_out_comes_in(site: Site, name: str) -> None:
    path, _ = site.export(name)
    done = site.import_(path)
    assert site.arrived() == {name: name.encode() * 1000 for name in NAMES}
    assert find_image_problem(Storage(site.target.assets / REGISTRY), site.items[-1]) is None
    assert site.target.description.read_bytes() == DESCRIPTION
    assert site.target.description.with_name("assets.lock").read_bytes() == LOCK
    assert (done.manifest.cluster, done.signer, done.kept) == ("prod", site.key.fingerprint, None)
    assert not (site.target.assets / ".import").exists()
    index = load_index(site.target.assets / ".index.json")
    known = {item.name: index.find(site.target.assets, item.name) for item in site.items[:2]}
    assert known == {item.name: item.proof.sha256 for item in site.items[:2]}
    again = site.import_(path)
    assert (again.fresh, again.bytes) == (0, 0)


def test_the_windows_part_of_an_image_is_left_behind(site: Site) -> None:
    """Only what the machines' architectures need is carried: of three platforms one, and the index as it is."""
    path, _ = site.export()
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert names[:2] == ["manifest.json", "manifest.sig"]
    # Two files, lock, description; index, manifest, configuration, layer; a link's text for each of these four
    assert len(names) == 2 + 4 + 4 + 4


def test_a_second_export_into_the_same_directory_is_a_bundle(site: Site) -> None:
    path, _ = site.export("rack")
    gone, spoilt = (hashlib.sha256(name.encode() * 1000).hexdigest() for name in NAMES)
    del site.items[0]
    good = (path / "blobs" / spoilt).read_bytes()
    (path / "blobs" / spoilt).write_bytes(bytes(len(good)))
    site.export("rack")
    assert not (path / "blobs" / gone).exists()
    assert (path / "blobs" / spoilt).read_bytes() == good
    # One file, lock, description; four blobs of the image and six links
    assert site.import_(path).fresh == 13
    assert site.arrived() == {NAMES[1]: NAMES[1].encode() * 1000}


def test_a_description_that_was_closed_stays_closed(site: Site) -> None:
    place = site.target.description
    place.parent.mkdir()
    place.write_bytes(b"old")
    place.chmod(0o600)
    done = site.import_(site.export()[0])
    assert done.kept is not None
    modes = {file.name: file.stat().st_mode & 0o777 for file in (place, done.kept, place.with_name("assets.lock"))}
    assert modes == {"rack.yaml": 0o600, "rack.yaml.before": 0o600, "assets.lock": 0o644}
    assert place.read_bytes() == DESCRIPTION and done.kept.read_bytes() == b"old"


def test_a_file_that_changes_while_it_is_hashed_has_no_entry_in_the_index(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = site.export()
    site.import_(path)
    (site.target.assets / ".index.json").unlink()
    changed = site.target.assets / NAMES[0]
    real = bundle_import.hash_file

    def hash_file(file: Path) -> dict[str, str]:
        found = real(file)
        if file == changed:
            file.write_bytes(b"other")
        return found

    monkeypatch.setattr(bundle_import, "hash_file", hash_file)
    site.import_(path)
    assert list(load_index(site.target.assets / ".index.json").entries) == [NAMES[1]]


def test_whoever_serves_may_read_what_root_imported(site: Site) -> None:
    """Root's umask may be 077, and the description on another disk than the files."""
    path, _ = site.export()
    before = os.umask(0o077)
    try:
        site.import_(path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "link", refuse_link)
            site.import_(path, description=site.folder / "elsewhere/rack.yaml")
    finally:
        os.umask(before)
    for top in (site.target.assets, site.target.description.parent, site.folder / "elsewhere"):
        assert find_closed(top) == []


def refuse_link(*_: object) -> None:
    raise OSError(errno.EXDEV, "another disk")


def find_closed(top: Path) -> list[Path]:
    """What others may not read or enter."""
    paths = [top, *top.rglob("*")]
    return [path for path in paths if path.stat().st_mode & 0o555 != (0o555 if path.is_dir() else 0o444)]


def test_a_key_that_cannot_be_remembered_says_that_the_bundle_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as refused:
        remember(tmp_path / "file/trusted", ["sha256:aa"])
    assert refused.value.hint == "the bundle is in place; name its key again next time"


def test_only_a_bundle_that_is_not_there_is_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"there is no bundle .*/none\.tar"):
        site.import_(site.folder / "none.tar")
    path, _ = site.export()

    def lose(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/lost")

    monkeypatch.setattr(bundle_import, "_take", lose)
    with pytest.raises(UserError, match=r"^/lost: No such file or directory$"):
        site.import_(path)


def test_a_bundle_of_what_changed(site: Site) -> None:
    first, manifest = site.export()
    site.items.append(site.add("runc/1.4.3/amd64/runc.amd64", b"runc"))
    second, text = site.export("second.tar", since=manifest, description=b"version: 1\n# more\n")
    assert parse_manifest(text, "it").since == identify(manifest)
    with tarfile.open(second) as archive:
        assert len(archive.getnames()) == 2 + 2
    with pytest.raises(UserError, match=r"what it builds on is not here: .* more") as refused:
        site.import_(second)
    assert identify(manifest)[:16] in refused.value.hint
    site.import_(first)
    done = site.import_(second)
    assert done.fresh == 2
    assert site.arrived()["runc/1.4.3/amd64/runc.amd64"] == b"runc"
    assert done.kept is not None and done.kept.read_bytes() == DESCRIPTION


def test_every_changed_byte_is_found_and_named(site: Site) -> None:
    path, _ = site.export("rack")
    manifest = parse_manifest((path / "manifest.json").read_bytes(), "it")
    paths = {entry.sha256: entry.path for entry in manifest.entries}
    for blob in sorted((path / "blobs").iterdir()):
        good = blob.read_bytes()
        blob.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        with pytest.raises(UserError) as refused:
            site.import_(path)
        named = [each.path for each in manifest.entries if each.sha256 == blob.name]
        assert any(each in refused.value.message for each in named), (paths[blob.name], refused.value.message)
        assert "was changed" in refused.value.message
        blob.write_bytes(good)
        blob.write_bytes(good + b"x")
        with pytest.raises(UserError, match="is not genuine: it has"):
            site.import_(path)
        blob.write_bytes(good)
    assert site.arrived() == {}
    assert not site.target.description.exists()
    site.import_(path)


def test_a_changed_byte_anywhere_in_an_archive(site: Site) -> None:
    """Whatever it hits (a header, the manifest, a blob, padding): refused, or without any effect on what arrives."""
    path, _ = site.export()
    good = path.read_bytes()
    for at in range(0, len(good), 2999):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        target = site.folder / f"at{at}"
        try:
            site.import_(path, assets=target, description=target / "rack.yaml")
        except UserError:
            assert not (target / "rack.yaml").exists()
        else:
            for item in site.items[:2]:
                assert (target / item.name).read_bytes() == item.name.encode() * 1000


def test_a_cut_archive_is_refused(site: Site) -> None:
    path, _ = site.export()
    good = path.read_bytes()
    for length in (0, 100, 512, 5000, len(good) // 2, len(good) - 12000):
        path.write_bytes(good[:length])
        with pytest.raises(UserError):
            site.import_(path)
        assert not site.target.description.exists()


def pack(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def link(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "make",
    [
        lambda: tarfile.TarInfo("../../etc/passwd"),
        lambda: tarfile.TarInfo("/etc/passwd"),
        lambda: tarfile.TarInfo("blobs/../../x"),
        lambda: tarfile.TarInfo(f"blobs/{'0' * 64}"),
        lambda: tarfile.TarInfo("x" * 300),
        lambda: link(f"blobs/{'0' * 64}", tarfile.SYMTYPE, "/etc/passwd"),
        lambda: link(f"blobs/{'0' * 64}", tarfile.LNKTYPE, "manifest.json"),
        lambda: link("blobs", tarfile.DIRTYPE),
        lambda: link("blobs/device", tarfile.CHRTYPE),
        lambda: link("blobs/pipe", tarfile.FIFOTYPE),
    ],
)
def test_what_no_bundle_holds(site: Site, make: Callable[[], tarfile.TarInfo]) -> None:
    directory, _ = site.export("rack")
    manifest, signature = ((directory / name).read_bytes() for name in ("manifest.json", "manifest.sig"))
    path = site.folder / "hostile.tar"
    plain = [(tarfile.TarInfo("manifest.json"), manifest), (tarfile.TarInfo("manifest.sig"), signature)]
    path.write_bytes(pack(*plain, (make(), b"")))
    before = sorted(site.folder.rglob("*"))
    with pytest.raises(UserError):
        site.import_(path)
    left = [each for each in sorted(site.folder.rglob("*")) if each not in before and ".import" not in str(each)]
    assert left in ([], [site.target.assets])


def test_links_and_pipes_in_a_directory(site: Site) -> None:
    import os

    path, _ = site.export("rack")
    blob = next(iter(sorted((path / "blobs").iterdir())))
    elsewhere = site.folder / "elsewhere"
    blob.rename(elsewhere)
    blob.symlink_to(elsewhere)
    with pytest.raises(UserError, match="cannot be read"):
        site.import_(path)
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(UserError, match="is no plain file"):
        site.import_(path)
    blob.unlink()
    with pytest.raises(UserError, match="the bundle ends before"):
        site.import_(path)


def test_who_signed(site: Site) -> None:
    path, _ = site.export("rack")
    with pytest.raises(UserError, match="signed by a key that is not trusted here: sha256:") as refused:
        site.import_(path, trusted=frozenset())
    assert "--key" in refused.value.hint
    (path / "manifest.sig").unlink()
    with pytest.raises(UserError, match=r"manifest\.sig is missing"):
        site.import_(path)
    (path / "manifest.sig").write_bytes(b"{}")
    with pytest.raises(UserError, match="signature is damaged"):
        site.import_(path)
    other = load_or_make(site.folder / "other.key")
    (path / "manifest.sig").write_bytes(sign(other, (path / "manifest.json").read_bytes()))
    with pytest.raises(UserError, match="not trusted"):
        site.import_(path)
    (path / "manifest.sig").write_bytes(sign(site.key, b"another manifest"))
    with pytest.raises(UserError, match="changed after it was signed"):
        site.import_(path)


def test_keys_are_made_once_and_named_by_fingerprint(tmp_path: Path) -> None:
    key = load_or_make(tmp_path / "bundle.key")
    again = load_or_make(tmp_path / "bundle.key")
    assert (key.fresh, again.fresh, key.fingerprint) == (True, False, again.fingerprint)
    assert (tmp_path / "bundle.key").stat().st_mode & 0o777 == 0o600
    assert read_key_option(str(tmp_path / "bundle.pub")) == key.fingerprint
    assert read_key_option(key.fingerprint.upper()) == key.fingerprint
    with pytest.raises(UserError, match="neither a fingerprint nor a file"):
        read_key_option("sha256:12")
    assert verify(b"text", sign(key, b"text"), {key.fingerprint}) == key.fingerprint
    known = tmp_path / "config/trusted"
    assert load_trusted(known) == frozenset()
    remember(known, {key.fingerprint, "sha256:1"})
    assert load_trusted(known) == {key.fingerprint, "sha256:1"}


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "bundle.key").write_text("no key")
    with pytest.raises(UserError, match="is no private key"):
        load_or_make(tmp_path / "bundle.key")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("cluster-desc.yaml", True),
        ("assets.lock", True),
        ("assets/etcd/3.6.14/amd64/etcd.tar.gz", True),
        ("assets/registry/docker/registry/v2/blobs/sha256/ab/abc/data", True),
        ("assets/registry/docker/registry/v2/repositories/ghcr.io/a/_manifests/tags/v1/current/link", True),
        ("assets/../etc/passwd", False),
        ("/etc/passwd", False),
        ("assets//etc/passwd", False),
        ("assets/.index.json", False),
        ("assets/a/.b", False),
        ("assets/registry/config.yml", False),
        ("assets/registry/docker/registry/v2/blobs/../../../x/data", False),
        ("assets/registry/docker/registry/v2/blobs/sha256/.x/data", False),
        ("other", False),
        ("", False),
    ],
)
def test_where_a_bundle_may_put_files(path: str, allowed: bool) -> None:
    assert is_path(path) is allowed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(bundle=2), "version 2"),
        (lambda d: d["entries"].append({"path": "assets/../x", "size": 1, "sha256": "0" * 64}), "would put a file at"),
        (lambda d: d["entries"].append(dict(d["entries"][0])), "is there twice"),
        (lambda d: d["entries"][0].update(size=-1), "size -1"),
        (lambda d: d["entries"][0].update(sha256="x"), "no SHA-256"),
        (lambda d: d["entries"].pop(), "it lacks"),
        (lambda d: d["carried"].append("1" * 64), "carries what none"),
        (lambda d: d.update(cluster="a\nb"), "no plain text"),
        (lambda d: d.pop("since"), "since"),
    ],
)
def test_a_signed_manifest_may_still_be_wrong(change: Callable[[dict[str, object]], None], message: str) -> None:
    entries = tuple(Entry(path, 1, "0" * 64) for path in ("assets.lock", "cluster-desc.yaml"))
    text = write_manifest(Manifest("2026-11-21T13:00:00Z", "prod", entries, frozenset({"0" * 64})))
    assert parse_manifest(text, "it").entries == entries
    document = json.loads(text)
    change(document)
    with pytest.raises(UserError, match=message):
        parse_manifest(json.dumps(document).encode(), "it")


def test_an_export_of_what_is_not_whole_is_refused(site: Site) -> None:
    file = site.assets / NAMES[0]
    file.write_bytes(file.read_bytes().replace(b"etcd", b"ETCD"))
    with pytest.raises(UserError, match=r"is not what assets\.lock says"):
        site.export()
    assert not list(site.folder.glob("*.tar")) + list(site.folder.glob(".*.part"))
    file.unlink()
    next((site.assets / REGISTRY).rglob("current/link")).unlink()
    with pytest.raises(UserError, match=f"not everything is here: {NAMES[0]} .*; {IMAGE} is not in") as refused:
        site.export()
    assert "fetch" in refused.value.hint


def test_a_description_that_cannot_be_served_stops_it(site: Site) -> None:
    path, _ = site.export()

    def check(description: bytes, lock: bytes) -> None:
        raise UserError(f"no: {description.decode()!r}")

    with pytest.raises(UserError, match="no: 'version: 1"):
        site.import_(path, check=check)
    assert site.arrived() == {}


def test_too_little_room_is_said_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = site.export()
    monkeypatch.setattr(bundle_import, "SPARE", 1 << 60)
    with pytest.raises(UserError, match="MB free, and the bundle needs") as refused:
        site.import_(path)
    assert "assets prune" in refused.value.hint


def test_a_kill_at_any_write_and_the_next_run_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place where it renames is a place where it may end: after each, nothing is half, and it gets there."""
    path, _ = site.export()
    real = bundle_import.put_in_place
    for last in range(100):
        target = site.folder / f"in{last}"
        description = target / "etc/rack.yaml"
        monkeypatch.setattr(bundle_import, "put_in_place", kill_after(last, real))
        try:
            site.import_(path, assets=target, description=description)
        except Killed:
            assert not description.exists()
            for file in target.rglob("current/link"):
                assert file.read_text().startswith("sha256:")
                assert find_image_problem(Storage(target / REGISTRY), site.items[-1]) is None
            monkeypatch.setattr(bundle_import, "put_in_place", real)
            site.import_(path, assets=target, description=description)
            assert description.read_bytes() == DESCRIPTION
        else:
            assert last > 20
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize(("filled", "message"), [(True, "not everything is here"), (False, "there is no directory")])
def test_an_export_that_is_refused_makes_neither_key_nor_directory(tmp_path: Path, filled: bool, message: str) -> None:
    (tmp_path / "rack.yaml").write_text(ONE_MACHINE)
    if filled:
        (tmp_path / "assets").mkdir()
    command = ["export", str(tmp_path / "rack.yaml"), str(tmp_path / "out.tar"), "--assets", str(tmp_path / "assets")]
    ran = CliRunner().invoke(bundle, [*command, "--key", str(tmp_path / "bundle.key")])
    assert message in str(ran.exception)
    assert (tmp_path / "assets").exists() is filled
    assert not list(tmp_path.glob("bundle.*")) and not (tmp_path / "out.tar").exists()


def test_a_bundle_that_has_no_room_is_refused_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    found = collect(site.assets, site.items, DESCRIPTION, LOCK)
    manifest = make_manifest(found, "prod", "2026-11-21T13:00:00Z", None)
    need = sum({entry.sha256: entry.size for entry in manifest.entries}.values())
    usage = shutil.disk_usage(site.folder)
    check_room(site.folder / "rack.tar", False, manifest)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=need - 1))
    for target, as_directory in ((site.folder / "rack.tar", False), (site.folder / "new/rack", True)):
        with pytest.raises(UserError, match=r"has .* kB free, and the bundle needs .* kB") as refused:
            check_room(target, as_directory, manifest)
        assert refused.value.message.startswith(f"{site.folder} has ")
    # What an earlier run has put there needs no more.
    path, _ = site.export("rack")
    check_room(path, True, manifest)
    with pytest.raises(UserError, match=f"there is no directory {site.folder}/none"):
        check_room(site.folder / "none/rack.tar", False, manifest)


def test_a_manifest_that_is_none_is_named(site: Site) -> None:
    found = collect(site.assets, site.items, DESCRIPTION, LOCK)
    with pytest.raises(UserError, match=r"^--since old\.json is no bundle's manifest: "):
        make_manifest(found, "prod", "2026-11-21T13:00:00Z", b"{}", "--since old.json")


def test_a_disk_that_gets_full_meanwhile_keeps_no_half_of_a_bundle(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left on device"):
        site.export()
    assert not [path.name for path in site.folder.iterdir() if "rack.tar" in path.name]
