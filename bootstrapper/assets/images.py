"""`fetch`'s images: copied by skopeo, proven by digest, kept in the registry's storage as <upstream>/<name>.

Of an index only the needed architectures' manifests are copied; the index itself is kept as it is, since its digest is
what `assets.lock` and everybody else knows it by. What is complete is not copied again: after a kill, the platforms
that were finished are there, and the image is visible once all of it is.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from bootstrapper.assets.fetch_plan import Outcome, Plan, Result, Watcher
from bootstrapper.assets.hashing import Stopped
from bootstrapper.assets.image_check import Whole, find_arch_problem, find_image_problem, link_and_tag, load_whole
from bootstrapper.assets.item import Item
from bootstrapper.assets.manifests import Blob, Manifest, choose_children, digest_of, parse_manifest, split_name
from bootstrapper.assets.registry_storage import REGISTRY, Storage
from bootstrapper.assets.skopeo import copy_to, find_skopeo, read_raw
from bootstrapper.assets.writing import make_directories
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock

INCOMING = ".incoming"
"Below the registry's directory, and of its filesystem: what is copied and not yet proven."


def fetch_images(
    items: Sequence[Item], plan: Plan, watcher: Watcher, save_lock: Callable[[AssetLock], None], lock: AssetLock,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Result]:  # fmt: skip
    """All of them, several at a time. The caller holds the assets directory (`fetch.hold`). Raises UserError without
    skopeo, when there is anything to copy."""
    work = _Work(plan, watcher, save_lock, Storage(plan.root / REGISTRY), lock, stopped)
    shutil.rmtree(work.incoming, ignore_errors=True)
    with ThreadPoolExecutor(max(1, min(plan.jobs, 3))) as pool:
        futures = [pool.submit(work.handle, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            work.halt.set()
            raise
        finally:
            shutil.rmtree(work.incoming, ignore_errors=True)


@dataclass
class _Work:
    plan: Plan
    watcher: Watcher
    save_lock: Callable[[AssetLock], None]
    storage: Storage
    lock: AssetLock
    called_off: Callable[[], bool]
    halt: threading.Event = field(default_factory=threading.Event)
    writing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def incoming(self) -> Path:
        return self.storage.root / INCOMING

    def stopped(self) -> bool:
        return self.halt.is_set() or self.called_off()

    def handle(self, item: Item) -> Result:
        try:
            result = self._find_present(item) or self._fetch(item)
        except Stopped:
            result = Result(item, Outcome.STOPPED)
        except UserError as error:
            message = error.message if item.name in error.message else f"{item.name}: {error.message}"
            result = Result(item, Outcome.FAILED, message=message, hint=error.hint)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = "make room and run it again: it goes on from what is there" if full else "see who owns it"
            result = Result(
                item, Outcome.FAILED, message=f"{item.name}: {self.storage.root}: {error.strerror}", hint=hint
            )
        self.watcher.end(result)
        return result

    def _wanted(self, item: Item) -> str | None:
        """The digest it must have; None: nobody knows one yet."""
        pinned_anew = self.plan.pin and item.name in self.lock.first_seen
        return split_name(item.name).digest or (None if pinned_anew else item.proof.sha256)

    def _find_present(self, item: Item) -> Result | None:
        wanted = self._wanted(item)
        if wanted is None or find_image_problem(self.storage, item) is not None:
            return None
        whole = load_whole(self.storage, item)
        if self.plan.verify:
            self.watcher.begin(item)
            if bad := self._drop_bad(whole):
                self.watcher.say(f"{item.name}: {bad} is not what its name says: it is fetched again")
                return None
        self._record(item, whole, first_seen=False)
        return Result(item, Outcome.PRESENT, whole.digest, whole.size)

    def _drop_bad(self, whole: Whole) -> str:
        """The first blob that is damaged; all that are, are gone."""
        bad = ""
        for blob in whole.blobs:
            if not self.storage.hash_blob(blob.digest):
                self.storage.blob_path(blob.digest).unlink()
                bad = bad or blob.digest
        return bad

    def _fetch(self, item: Item) -> Result:
        if self.stopped():
            raise Stopped
        find_skopeo()
        self.watcher.begin(item)
        name, wanted = split_name(item.name), self._wanted(item)
        source = item.url.partition("@")[0]
        bare = source.rpartition(":")[0] if name.tag else source
        data = self._read_index(item, f"{bare}@{wanted}" if wanted else source, wanted)
        top = parse_manifest(data, item.name)
        if top.is_index:
            parts = [each.blob for each in choose_children(top, item.arches, item.name)]
        else:
            parts = [Blob(top.digest, top.size)]
        manifests = [self._copy(item, f"{bare}@{part.digest}", part) for part in parts]
        if top.is_index:
            self.storage.put_bytes(data)
            manifests.append(top)
        else:
            self._check_arch(item, top)
        whole = Whole(top.digest, tuple(manifests))
        first_seen = wanted is None
        # The lock first, as for files: after a kill in between, the next run knows what it must be.
        self._record(item, whole, first_seen)
        link_and_tag(self.storage, name, whole)
        return Result(item, Outcome.FETCHED, whole.digest, whole.size, first_seen)

    def _read_index(self, item: Item, reference: str, wanted: str | None) -> bytes:
        """From here when it is here. Raises UserError when what comes is not `wanted`."""
        if wanted is not None and self.storage.read_manifest(wanted) is not None:
            return self.storage.blob_path(wanted).read_bytes()
        data = read_raw(reference, self.plan.tries, self.stopped)
        found = digest_of(data)
        if wanted is not None and found != wanted:
            raise UserError(
                f"{item.name} is not genuine: expected {wanted}, found {found}",
                "ask another source, or find out who changed it before you trust the new digest",
            )
        return data

    def _copy(self, item: Item, reference: str, part: Blob) -> Manifest:
        """One platform's manifest and blobs, in the storage when this returns; not linked yet."""
        here = self.storage.read_manifest(part.digest)
        if here is not None and all(self.storage.has_blob(blob) for blob in here.blobs):
            return here
        make_directories(self.incoming)
        with tempfile.TemporaryDirectory(dir=self.incoming) as directory:
            place = Path(directory)

            def tick() -> int:
                done = sum(_size_of(file) for file in place.iterdir())
                self.watcher.progress(item, done, item.size)
                return done

            copy_to(reference, place, self.plan.tries, self.stopped, tick)
            data = (place / "manifest.json").read_bytes()
            if digest_of(data) != part.digest:
                message = f"{item.name} is not genuine: expected {part.digest}, found {digest_of(data)}"
                raise UserError(message, "ask another source for the image")
            manifest = parse_manifest(data, item.name)
            for blob in manifest.blobs:
                file = place / blob.digest.removeprefix("sha256:")
                if not self.storage.has_blob(blob) and file.exists():
                    self.storage.put_blob(file, blob)
                if not self.storage.has_blob(blob):
                    raise UserError(f"{item.name}: {blob.digest} did not come", "run it again")
            self.storage.put_bytes(data)
        return manifest

    def _check_arch(self, item: Item, manifest: Manifest) -> None:
        """An image without an index is for one architecture, which only its configuration names."""
        problem = find_arch_problem(self.storage, item, manifest)
        if problem is not None:
            raise UserError(f"{item.name} {problem}", "name another image")

    def _record(self, item: Item, whole: Whole, first_seen: bool) -> None:
        with self.writing:
            seen = dict(self.lock.first_seen)
            if first_seen and self.lock.images.get(item.name) != whole.digest:
                seen[item.name] = time.strftime("%Y-%m-%d", time.gmtime(self.plan.wall()))
            fresh = replace(
                self.lock,
                images={**self.lock.images, item.name: whole.digest},
                sizes={**self.lock.sizes, item.name: whole.size},
                first_seen=seen,
            )
            if fresh != self.lock:
                self.save_lock(fresh)
                self.lock = fresh


def _size_of(file: Path) -> int:
    """0 for one that was renamed just now."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
