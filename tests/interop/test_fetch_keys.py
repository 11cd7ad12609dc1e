"""Keys of the admin's that `fetch` proves by: under `assets:`, also when another takes its place, and by `--key`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from gpg_keys import Signing, make_signers
from rack import load_templates, make_cluster, make_machine

from bootstrapper.assets.fetch import Fetcher
from bootstrapper.assets.fetch_plan import Outcome, Plan, Result, Watcher
from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.transfer import Client
from bootstrapper.cluster.model import AssetSource
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import AssetLock

pytestmark = pytest.mark.interop

IMAGE = "flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
SIGNATURE, KEY = f"{IMAGE}.sig", f"{IMAGE}.key.asc"
CONTENT = b"an image of our own"


@dataclass
class Site:
    """A publisher's directory, and the description's, with the key beside it."""

    top: Path
    lock: AssetLock = field(default_factory=AssetLock)
    said: list[str] = field(default_factory=list)

    def publish(self, name: str, content: bytes) -> str:
        path = self.top / "publisher" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return f"file://{path}"

    def run(self, items: list[Item], **plan: object) -> dict[str, Result]:
        self.said = []
        fetcher = Fetcher(
            Plan(self.top / "assets", self.top, Client(lambda: 0.0), tries=1, **plan),  # type: ignore[arg-type]
            Watcher(say=self.said.append),
            lambda lock: None,
            self.lock,
        )
        results = fetcher.run(items)
        self.lock = fetcher.lock
        return {result.item.name: result for result in results}

    def fetch_own(self) -> dict[str, Result]:
        """The image that the description names, its signature and its key."""
        source = AssetSource(
            f"file://{self.top}/publisher/image", None, None, f"file://{self.top}/publisher/image.sig", "ours.asc"
        )
        cluster = replace(make_cluster(make_machine()), assets={IMAGE: source}, file=str(self.top / "rack.yaml"))
        items = [each for each in build_catalogue(cluster, load_templates(), self.lock) if each.name.startswith(IMAGE)]
        assert [each.name for each in items] == [IMAGE, SIGNATURE, KEY]
        return self.run(items)

    def here(self) -> dict[str, bytes]:
        names = (IMAGE, SIGNATURE, KEY)
        return {name: (self.top / "assets" / name).read_bytes() for name in names}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def signing() -> Iterator[Callable[..., Signing]]:
    with make_signers() as make:
        yield make


def outcomes(results: dict[str, Result]) -> list[str]:
    return [str(results[name].outcome) for name in (IMAGE, SIGNATURE, KEY)]


def test_another_key_of_the_admin_s_is_taken_up_with_what_it_signed(
    site: Site, signing: Callable[..., Signing]
) -> None:
    old, new = signing(), signing()
    site.publish("image", CONTENT)
    site.publish("image.sig", old.sign(CONTENT))
    old.public(site.top / "ours.asc")
    assert outcomes(site.fetch_own()) == ["fetched", "fetched", "fetched"]
    assert outcomes(site.fetch_own()) == ["present", "present", "present"]
    first = site.here()
    # The same image, signed anew: nothing but the key and the signature changes.
    fresh = new.sign(CONTENT)
    site.publish("image.sig", fresh)
    new.public(site.top / "ours.asc")
    assert outcomes(site.fetch_own()) == ["present", "fetched", "fetched"]
    assert f"{KEY}: {site.top}/ours.asc is another key now: it is fetched again" in site.said
    ours = (site.top / "ours.asc").read_bytes()
    assert site.here() == {IMAGE: CONTENT, SIGNATURE: fresh, KEY: ours} and ours != first[KEY]
    assert site.lock.files[KEY] == hashlib.sha256(ours).hexdigest()
    assert site.lock.files[SIGNATURE] == hashlib.sha256(fresh).hexdigest()
    assert outcomes(site.fetch_own()) == ["present", "present", "present"]


def test_a_key_that_did_not_sign_what_is_here_changes_nothing(site: Site, signing: Callable[..., Signing]) -> None:
    old, stranger = signing(), signing()
    site.publish("image", CONTENT)
    site.publish("image.sig", old.sign(CONTENT))
    old.public(site.top / "ours.asc")
    site.fetch_own()
    before, lock = site.here(), site.lock
    stranger.public(site.top / "ours.asc")
    results = site.fetch_own()
    assert outcomes(results) == ["failed", "failed", "failed"]
    assert results[KEY].message == f"{KEY}: {site.top}/ours.asc did not sign {IMAGE}; what was here stays"
    assert (site.here(), site.lock) == (before, lock)


def test_where_the_key_was_not_brought_along_the_one_that_is_here_counts(
    site: Site, signing: Callable[..., Signing]
) -> None:
    ours = signing()
    site.publish("image", CONTENT)
    site.publish("image.sig", ours.sign(CONTENT))
    ours.public(site.top / "ours.asc")
    site.fetch_own()
    (site.top / "ours.asc").unlink()
    assert site.fetch_own()[KEY].outcome is Outcome.PRESENT
    (site.top / "assets" / KEY).write_bytes(b"changed")
    assert site.fetch_own()[KEY].outcome is Outcome.FAILED


def test_a_key_that_is_given_is_for_what_it_signed(site: Site, signing: Callable[..., Signing]) -> None:
    """Fedora CoreOS publishes signatures and checksums: Flatcar's next key must not keep it from being proven."""
    flatcar, fedora = signing(), signing()
    key = flatcar.public(site.top / "next.asc")
    url = site.publish("coreos.xz", CONTENT)
    url_sig = site.publish("coreos.xz.sig", fedora.sign(CONTENT))
    sums = site.publish("coreos.xz.sha256", hashlib.sha256(CONTENT).hexdigest().encode())
    name = "fedora-coreos/44/x86_64/coreos.xz"
    image = Item(name, Kind.FILE, "image", url, Proof(signature=url_sig, checksums=sums))
    beside = Item(f"{name}.sig", Kind.FILE, "signature", url_sig, Proof(signs=name))
    results = site.run([image, beside], keys=(key,))
    assert [result.message for result in results.values()] == ["", ""]
    assert [result.first_seen for result in results.values()] == [False, True]
    # One that did sign it proves it, and the signature beside it.
    (site.top / "publisher/coreos.xz.sha256").unlink()
    again = Site(site.top / "again")
    results = again.run([image, beside], keys=(key, fedora.public(site.top / "fedora.asc")))
    assert [(result.outcome, result.first_seen) for result in results.values()] == [(Outcome.FETCHED, False)] * 2
    # What it signed must be that.
    site.publish("coreos.xz", b"forged")
    forged = Site(site.top / "forged").run([image], keys=(str(site.top / "fedora.asc"),))
    assert "its signature is wrong" in forged[name].message
