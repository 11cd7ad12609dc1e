"""`fetch`: every file of the catalogue onto the disk, proven before it has a name. Several at a time.

A file goes from `.parts/` (hidden, never served) to its name by a rename, once its hash or signature is right. A kill
at any point leaves parts to go on from, and files that are whole; nothing in between.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from bootstrapper.assets.fetch_plan import Outcome, Plan, Result, Watcher
from bootstrapper.assets.hashing import Stopped, hash_file
from bootstrapper.assets.holding import explain_disk
from bootstrapper.assets.index import FILE_NAME, Index, load_index
from bootstrapper.assets.item import Item
from bootstrapper.assets.proving import Prover, compare
from bootstrapper.assets.signing import Forged, UnknownSigner
from bootstrapper.assets.sources import list_places
from bootstrapper.assets.systems import KEY
from bootstrapper.assets.transfer import Broken, Refused, transfer
from bootstrapper.assets.writing import READABLE, make_directories, put_in_place, write_atomically
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock

PARTS = ".parts"

Answer = TypeVar("Answer")


@dataclass
class Fetcher:
    plan: Plan
    watcher: Watcher
    save_lock: Callable[[AssetLock], None]
    "Writes `assets.lock`; called when it has changed, one call at a time."
    lock: AssetLock = field(default_factory=AssetLock)
    index: Index = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _fatal: UserError | None = None

    def __post_init__(self) -> None:
        self.index = load_index(self.plan.root / FILE_NAME)
        self._prover = Prover(self.plan, self.watcher.say, self._try, self._stop.is_set)

    def run(self, items: Sequence[Item]) -> list[Result]:
        """All of them; signatures that machines need come after what they sign, and own keys after what they prove.
        Raises UserError for a full disk."""
        results = []
        for phase in range(3):
            results += self._run_phase([each for each in items if _find_phase(each) == phase])
        order = {item.name: index for index, item in enumerate(items)}
        return sorted(results, key=lambda result: order[result.item.name])

    def stop(self) -> None:
        """End soon, at a place from which the next run goes on."""
        self._stop.set()

    def _run_phase(self, items: Sequence[Item]) -> list[Result]:
        results = []
        with ThreadPoolExecutor(self.plan.jobs) as pool:
            futures = [pool.submit(self._handle, item) for item in items]
            try:
                for future in as_completed(futures):
                    results.append(future.result())
            except BaseException:
                self.stop()
                raise
        if self._fatal is not None:
            raise self._fatal
        return results

    def _handle(self, item: Item) -> Result:
        try:
            if self._stop.is_set():
                raise Stopped
            result = self._find_present(item) or self._fetch(item)
        except UserError as error:
            result = Result(item, Outcome.FAILED, message=error.message, hint=error.hint or "")
        except Stopped:
            result = Result(item, Outcome.STOPPED)
        except OSError as error:
            self._fatal = explain_disk(error, self.plan.root)
            self.stop()
            result = Result(item, Outcome.FAILED, message=self._fatal.message, hint=self._fatal.hint or "")
        self.watcher.end(result)
        return result

    # -- what is there already ------------------------------------------------
    def _find_present(self, item: Item) -> Result | None:
        """What is there and right; None: it must be fetched."""
        path = self.plan.root / item.name
        if not path.is_file() or path.is_symlink() or self._is_pinned_anew(item):
            return None
        seen = path.lstat()
        known = None if self.plan.verify else self.index.find(self.plan.root, item.name)
        if known is None:
            self.watcher.begin(item)
            known = self._hash(item, path, ("sha256",))["sha256"]
        wanted = self._wanted(item)
        if wanted is None:
            return self._prove_present(item, path, known, seen)
        if wanted != known:
            self.watcher.say(f"{item.name} is not what it should be (sha256 {known}): it is fetched again")
            return None
        self._record(item, known, False, seen)
        return Result(item, Outcome.PRESENT, known, seen.st_size)

    def _prove_present(self, item: Item, path: Path, sha256: str, seen: os.stat_result) -> Result | None:
        """A file of which no hash is known here: it is asked of its publisher, and the file is not fetched again."""
        try:
            first_seen = self._prove(item, path, sha256, None)
        except (Forged, UnknownSigner) as error:
            if not isinstance(error, Forged) and not item.proof.signs:
                raise
            self.watcher.say(f"{error.message}: it is fetched again")
            return None
        self._record(item, sha256, first_seen, seen)
        return Result(item, Outcome.PRESENT, sha256, seen.st_size, first_seen)

    def _is_pinned_anew(self, item: Item) -> bool:
        return self.plan.pin and item.proof.first_seen

    def _wanted(self, item: Item) -> str | None:
        return None if self._is_pinned_anew(item) or item.proof.recorded else item.proof.sha256

    # -- fetching -------------------------------------------------------------
    def _fetch(self, item: Item) -> Result:
        places = list_places(item.name, item.url, () if item.use == KEY else self.plan.sources)
        if not places:
            raise UserError(
                f"{item.name}: nobody has said where it comes from",
                f'write "{item.name}": {{url: …, sha256: …}} under `assets:` of the description',
            )
        self.watcher.begin(item)
        part = self._part(item)
        faults: list[str] = []
        hint = "is the address right, and the way there open?"
        for place in places:
            try:
                return self._fetch_from(item, place, part)
            except Refused as fault:
                faults.append(f"{place}: {fault}")
            except Broken as fault:
                tries = f" ({self.plan.tries} tries)" if self.plan.tries > 1 else ""
                faults.append(f"{place}: {fault}{tries}")
            except Forged as error:
                if place == places[-1] and not faults:
                    raise
                faults.append(error.message)
                hint = error.hint or hint
                if place != places[-1]:
                    self.watcher.say(f"{error.message}: the next source is asked")
        raise UserError(f"{item.name} cannot be had: {'; '.join(faults)}", hint)

    def _fetch_from(self, item: Item, place: str, part: Path) -> Result:
        resumed = self._try(lambda: self._transfer(item, place, part))
        try:
            sha256, first_seen = self._verify(item, part, place)
        except Forged:
            if not resumed:
                raise
            self.watcher.say(f"{item.name}: what an earlier run left does not fit: from the start")
            self._try(lambda: self._transfer(item, place, part))
            sha256, first_seen = self._verify(item, part, place)
        path = self.plan.root / item.name
        make_directories(path.parent)
        part.chmod(READABLE)
        seen = part.stat()
        # The lock first: after a kill in between, the next run knows what this file must be.
        self._record(item, sha256, first_seen, seen, in_place=False)
        put_in_place(part, path)
        _forget(part)
        self._record(item, sha256, first_seen, seen)
        return Result(item, Outcome.FETCHED, sha256, seen.st_size, first_seen)

    def _transfer(self, item: Item, place: str, part: Path) -> bool:
        checked = False

        def tell(done: int, whole: int | None) -> None:
            nonlocal checked
            if whole is not None and not checked:
                self._check_room(item, part, whole)
            checked = True
            self.watcher.progress(item, done, whole)

        return transfer(self.plan.client, place, part, tell, self._stop.is_set)

    def _check_room(self, item: Item, part: Path, size: int) -> None:
        here = part.stat().st_size if part.exists() else 0
        if shutil.disk_usage(part.parent).free < size - here:
            raise OSError(errno.ENOSPC, f"{item.name} needs {(size - here) // 1_000_000} MB more")

    def _try(self, ask: Callable[[], Answer]) -> Answer:
        """Again and again, waiting longer each time, while it may help. Raises Broken at last."""
        wait = self.plan.wait_s
        for left in range(self.plan.tries - 1, -1, -1):
            try:
                return ask()
            except Broken as fault:
                if left == 0:
                    raise
                self._stop.wait(min(max(wait, fault.wait_s), 60.0))
                wait *= 2
                if self._stop.is_set():
                    raise Stopped from fault
        raise AssertionError("the last try returns or raises")

    # -- proving --------------------------------------------------------------
    def _verify(self, item: Item, part: Path, place: str) -> tuple[str, bool]:
        """SHA-256, and whether only this download vouches for it.

        What is wrong is deleted (Forged). What cannot be proven now is kept aside, for the next run (UserError).
        """
        algorithms = ("sha256", "sha512") if item.proof.sha512 else ("sha256",)
        found = self._hash(item, part, algorithms)
        try:
            return found["sha256"], self._prove(item, part, found["sha256"], found.get("sha512"))
        except Forged as error:
            _forget(part)
            raise Forged(f"{error.message} (from {place})", error.hint) from error

    def _prove(self, item: Item, path: Path, sha256: str, sha512: str | None) -> bool:
        """By the hash that is known, or else as `Prover.prove`. True: at first sight only."""
        wanted = self._wanted(item)
        if wanted is None:
            return self._prover.prove(item, path, sha256, sha512)
        compare(item, "sha256", wanted, sha256, item.name in self.lock.first_seen)
        return False

    def _hash(self, item: Item, path: Path, algorithms: tuple[str, ...]) -> Mapping[str, str]:
        return hash_file(path, algorithms, stopped=self._stop.is_set)

    # -- writing down ---------------------------------------------------------
    def _record(
        self, item: Item, sha256: str, first_seen: bool, seen: os.stat_result, *, in_place: bool = True
    ) -> None:
        """In `assets.lock`, and in the index once the file is in place; each only when that changes it.

        `seen` is of the file before it was hashed: what changed since has no entry in the index.
        """
        with self._writing:
            if in_place and self.index.find(self.plan.root, item.name) != sha256:
                self.index.put(self.plan.root, item.name, sha256, seen)
                self.index.save()
            pinned = dict(self.lock.first_seen)
            if first_seen:
                pinned[item.name] = time.strftime("%Y-%m-%d", time.gmtime(self.plan.wall()))
            elif self.lock.files.get(item.name) != sha256:
                pinned.pop(item.name, None)
            fresh = replace(
                self.lock,
                files={**self.lock.files, item.name: sha256},
                sizes={**self.lock.sizes, item.name: seen.st_size},
                first_seen=pinned,
            )
            if fresh != self.lock:
                self.save_lock(fresh)
                self.lock = fresh

    def _part(self, item: Item) -> Path:
        directory = self.plan.root / PARTS
        make_directories(directory)
        digest = hashlib.sha256(item.name.encode()).hexdigest()[:16]
        return directory / f"{digest}-{item.name.rpartition('/')[2][:80]}.part"


def _find_phase(item: Item) -> int:
    return 2 if item.use == KEY else 1 if item.proof.signs else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.from").unlink(missing_ok=True)


def save_lock_to(path: Path, text: Callable[[AssetLock], str]) -> Callable[[AssetLock], None]:
    """A `save_lock` for `Fetcher` that writes `path`."""
    return lambda lock: write_atomically(path, text(lock).encode())
