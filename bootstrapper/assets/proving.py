"""Whether a file is what its publisher, or the admin, says it is: what stands first in its `Proof` is used first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bootstrapper.assets import checksums
from bootstrapper.assets.fetch_plan import Plan
from bootstrapper.assets.hashing import hash_file
from bootstrapper.assets.item import Item
from bootstrapper.assets.signing import Forged, UnknownSigner, load_key, verify_signature, warn_of_expiry
from bootstrapper.assets.sources import list_places, list_provers
from bootstrapper.assets.transfer import Broken, Refused, local_path, read_small
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import FILE_NAME, KEY_SUFFIX

SIGNATURE_BYTES = 64 << 10

Answer = TypeVar("Answer")
Order = Callable[[str, str, tuple[str, ...]], tuple[str, ...]]
"(name, url, sources) -> places to ask, in this order."


class Insist(Protocol):
    """Asks again and again while it may help. Raises Broken at last."""

    def __call__(self, ask: Callable[[], Answer]) -> Answer: ...


@dataclass(frozen=True)
class Prover:
    """For files of which no hash is known yet; with one, `compare` is all there is to do."""

    plan: Plan
    say: Callable[[str], None]
    "What the admin should hear of."
    insist: Insist
    stopped: Callable[[], bool]

    def prove(self, item: Item, path: Path, sha256: str, sha512: str | None) -> bool:
        """Whether `path`, whose hashes are these, is `item`. True: at first sight only, nobody else vouches for it.

        Raises Forged for what is not genuine, UserError for what cannot be proven now, Stopped.
        """
        proof = item.proof
        if proof.sha512 is not None:
            found = sha512 or self._hash(path)
            compare(item, "sha512", proof.sha512, found)
        elif proof.signs:
            return self._prove_signature_file(item, path)
        elif proof.signature and (proof.key or not proof.checksums):
            signature, _ = self._read_beside(item, proof.signature, SIGNATURE_BYTES, list_places)
            self._check_signature(item, path, signature, proof.key)
        elif proof.own:
            self._prove_own_key(item, path, sha256)
        elif proof.checksums:
            if self._is_signed_by_given(item, path):
                return False
            return self._prove_by_list(item, path, sha256)
        else:
            self.say(
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
        found = sha256 if checksum.algorithm == "sha256" else self._hash(path)
        compare(item, checksum.algorithm, checksum.value, found)
        if prover == where:
            return False
        self.say(
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
            self.say(f"{item.name}: {warning}")

    def _read_beside(self, item: Item, url: str, limit: int, order: Order) -> tuple[bytes, str]:
        """A signature or checksum file, and the place that gave it: its publisher, or a source that has it as well."""
        beside = f"{item.name.rpartition('/')[0]}/{url.rpartition('/')[2]}"
        faults = []
        for place in order(beside, url, self.plan.sources):
            try:
                return self.insist(lambda place=place: (read_small(self.plan.client, place, limit), place))  # type: ignore[misc]
            except (Refused, Broken) as fault:
                faults.append(f"{place}: {fault}")
        raise UserError(
            f"{item.name} cannot be proven: {'; '.join(faults)}",
            "what came of it is kept aside and not served: run it again when its proof can be had",
        )

    def _hash(self, path: Path) -> str:
        return hash_file(path, ("sha512",), stopped=self.stopped)["sha512"]


def compare(item: Item, algorithm: str, wanted: str, found: str, pinned: bool = False) -> None:
    """Raises Forged. `pinned`: `wanted` is of the first download."""
    if wanted != found:
        raise Forged(
            f"{item.name} is not genuine: expected {algorithm} {wanted}, found {found}",
            "its hash was pinned at first sight: find out why it changed; --pin takes the new one"
            if pinned
            else "what came was deleted; ask another source, or find out who changed it before you trust the new hash",
        )
