"""`fetch`: every file of the catalogue onto the disk, proven before it has a name. Several at a time.

A file goes from `.parts/` (hidden, never served) to its name by a rename, once its hash or signature is right. A kill
at any point leaves parts to go on from, and files that are whole; nothing in between.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from bootstrapper.assets import checksums
from bootstrapper.assets.hashing import Stopped, hash_file
from bootstrapper.assets.index import FILE_NAME as INDEX
from bootstrapper.assets.index import Index, load_index
from bootstrapper.assets.item import Item
from bootstrapper.assets.signing import Forged, UnknownSigner, load_key, verify_signature, warn_of_expiry
from bootstrapper.assets.sources import list_places, list_provers
from bootstrapper.assets.systems import KEY
from bootstrapper.assets.transfer import Broken, Client, Refused, local_path, read_small, transfer
from bootstrapper.assets.writing import READABLE, make_directories, put_in_place, write_atomically
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import FILE_NAME, KEY_SUFFIX, AssetLock

PARTS = ".parts"
HELD = ".fetch.lock"
"Locked by whoever changes what is here."
SIGNATURE_BYTES = 64 << 10

Answer = TypeVar("Answer")
Order = Callable[[str, str, tuple[str, ...]], tuple[str, ...]]
"(name, url, sources) -> places to ask, in this order."


class Outcome(StrEnum):
    PRESENT = "present"
    "It was there, and is what it should be."
    FETCHED = "fetched"
    FAILED = "failed"
    STOPPED = "stopped"
    "Called off; the next run goes on from there."


@dataclass(frozen=True, slots=True)
class Result:
    item: Item
    outcome: Outcome
    sha256: str = ""
    size: int = 0
    first_seen: bool = False
    "Nothing but this download vouches for it."
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Plan:
    """What the command line said, and what the world is."""

    root: Path
    "The assets directory."
    beside: Path
    "The description's directory, where keys are."
    client: Client
    sources: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    "More keys that may sign: paths."
    jobs: int = 4
    tries: int = 5
    wait_s: float = 1.0
    "Before the second try; doubled before each further one."
    verify: bool = False
    "Hash what is there again, whatever the index says."
    pin: bool = False
    "Take anew what was pinned at first sight."
    wall: Callable[[], float] = time.time


@dataclass
class Watcher:
    """Who hears of what happens; each is called from several threads."""

    begin: Callable[[Item], None] = lambda item: None
    progress: Callable[[Item, int, int | None], None] = lambda item, done, whole: None
    say: Callable[[str], None] = lambda line: None
    end: Callable[[Result], None] = lambda result: None


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
        self.index = load_index(self.plan.root / INDEX)

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
            self._fatal = _explain_disk(error, self.plan.root)
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
        """True: at first sight only. Raises Forged for what is not genuine, UserError for what cannot be proven now."""
        proof, wanted = item.proof, self._wanted(item)
        if wanted is not None:
            _compare(item, "sha256", wanted, sha256, item.name in self.lock.first_seen)
        elif proof.sha512 is not None:
            found = sha512 or self._hash(item, path, ("sha512",))["sha512"]
            _compare(item, "sha512", proof.sha512, found)
        elif proof.signs:
            return self._prove_signature_file(item, path)
        elif proof.signature and (proof.key or not proof.checksums):
            signature, _ = self._read_beside(item, proof.signature, SIGNATURE_BYTES, list_places)
            self._check_signature(item, path, signature, proof.key)
        elif item.use == KEY:
            self._prove_own_key(item, path, sha256)
        elif proof.checksums:
            if self._is_signed_by_given(item, path):
                return False
            return self._prove_by_list(item, path, sha256)
        else:
            self.watcher.say(
                f"NOT PROVEN: nobody publishes a checksum of {item.name}; "
                f"its hash now, {sha256}, is pinned in assets.lock"
            )
            return True
        return False

    def _prove_by_list(self, item: Item, path: Path, sha256: str) -> bool:
        """By the publisher's checksum file. True: only a source had one, and whoever changed the file changed that."""
        where = item.proof.checksums
        content, prover = self._read_beside(item, where, checksums.LIMIT_BYTES, list_provers)
        text = content.decode(errors="replace")
        above = where.rpartition("/")[0] + "/"
        file = item.url.removeprefix(above) if item.url.startswith(above) else item.name.rpartition("/")[2]
        checksum = checksums.find_checksum(text, file, where)
        found = sha256 if checksum.algorithm == "sha256" else self._hash(item, path, ("sha512",))["sha512"]
        _compare(item, checksum.algorithm, checksum.value, found)
        if prover == where:
            return False
        self.watcher.say(
            f"NOT PROVEN: {where} cannot be had, and a checksum from {prover} is as good as that source; "
            f"the hash of {item.name} now, {sha256}, is pinned in assets.lock"
        )
        return True

    def _prove_signature_file(self, item: Item, path: Path) -> bool:
        """A signature that machines get as well: it must be one of the file it stands beside."""
        signed = self.plan.root / item.proof.signs
        if not signed.is_file():
            raise UserError(
                f"{item.name}: {item.proof.signs}, which it signs, is not here", "see what was wrong with that"
            )
        try:
            if not (item.proof.key or self.plan.keys):
                return True
            self._check_signature(item, signed, path.read_bytes(), item.proof.key)
        except UnknownSigner:
            if item.proof.key:
                raise
            return True  # the keys given are for something else
        return False

    def _is_signed_by_given(self, item: Item, path: Path) -> bool:
        """Whether a key of `--key` proves a file that has a published checksum as well: one that is for other files
        must not keep this from being proven."""
        if not (item.proof.signature and self.plan.keys):
            return False
        try:
            signature, _ = self._read_beside(item, item.proof.signature, SIGNATURE_BYTES, list_places)
            self._check_signature(item, path, signature, "")
        except Forged:
            raise
        except UserError:
            return False
        return True

    def _prove_own_key(self, item: Item, path: Path, sha256: str) -> None:
        """The admin's own file beside the description: what stands there now counts, once it proves what is here."""
        own = local_path(item.url)
        try:
            if own.read_bytes() != path.read_bytes():
                raise Forged(f"{item.name}: {own} is another key now")
        except FileNotFoundError:  # the rest was carried here without it
            if sha256 != item.proof.sha256:
                raise Forged(f"{item.name} is not the key that {FILE_NAME} names") from None
        except OSError as error:
            raise UserError(f"the key {own} cannot be read: {error.strerror}", "give an OpenPGP public key") from error
        if sha256 == item.proof.sha256:
            return
        name = item.name.removesuffix(KEY_SUFFIX)
        signed, signature = self.plan.root / name, self.plan.root / f"{name}.sig"
        if not (signed.is_file() and signature.is_file()):
            raise UserError(f"{item.name}: {name} and its signature are not both here", "see what was wrong with them")
        try:
            verify_signature(signed, signature.read_bytes(), [path.read_bytes()], name)
        except UnknownSigner as error:
            raise UserError(
                f"{item.name}: {own} did not sign {name}; what was here stays",
                "put the key there that did, or fetch an image that this one signed",
            ) from error

    def _check_signature(self, item: Item, path: Path, signature: bytes, key: str) -> None:
        names = [name for name in (key, *self.plan.keys) if name]
        if not names:
            raise UserError(
                f"{item.name} is signed, and nobody has said by whom", "give the signer's key with --key FILE"
            )
        keys = [load_key(name, Path() if name in self.plan.keys else self.plan.beside) for name in names]
        signer = verify_signature(path, signature, keys, item.name)
        warning = warn_of_expiry(signer, self.plan.wall())
        if warning is not None:
            self.watcher.say(f"{item.name}: {warning}")

    def _read_beside(self, item: Item, url: str, limit: int, order: Order) -> tuple[bytes, str]:
        """A signature or checksum file, and the place that gave it: its publisher, or a source that has it as well."""
        beside = f"{item.name.rpartition('/')[0]}/{url.rpartition('/')[2]}"
        faults = []
        for place in order(beside, url, self.plan.sources):
            try:
                return self._try(lambda place=place: (read_small(self.plan.client, place, limit), place))  # type: ignore[misc]
            except (Refused, Broken) as fault:
                faults.append(f"{place}: {fault}")
        raise UserError(
            f"{item.name} cannot be proven: {'; '.join(faults)}",
            "what came of it is kept aside and not served: run it again when its proof can be had",
        )

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


def _compare(item: Item, algorithm: str, wanted: str, found: str, pinned: bool = False) -> None:
    if wanted != found:
        raise Forged(
            f"{item.name} is not genuine: expected {algorithm} {wanted}, found {found}",
            "its hash was pinned at first sight: find out why it changed; --pin takes the new one"
            if pinned
            else "what came was deleted; ask another source, or find out who changed it before you trust the new hash",
        )


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.from").unlink(missing_ok=True)


def _explain_disk(error: OSError, root: Path) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(root).free
        return UserError(
            f"the disk of {root} is full ({free // 1_000_000} MB free): {error.strerror}",
            "make room and run it again: it goes on from what is there",
        )
    return UserError(
        f"{error.filename or root} cannot be written: {error.strerror}",
        "see who owns it, and run it again: it goes on from what is there",
    )


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """The assets directory, made if need be, for one that changes it at a time. Raises UserError."""
    try:
        make_directories(root)
        descriptor = os.open(root / HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _explain_disk(error, root) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another fetch works on {root}", "wait until it is done") from error
        yield
    finally:
        os.close(descriptor)


def save_lock_to(path: Path, text: Callable[[AssetLock], str]) -> Callable[[AssetLock], None]:
    """A `save_lock` for `Fetcher` that writes `path`."""
    return lambda lock: write_atomically(path, text(lock).encode())
