"""What is mirrored here: a file below `/assets` or a container image, where it comes from and what proves it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bootstrapper.cluster.model import Arch, Machine


class Kind(StrEnum):
    FILE = "file"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Proof:
    """How the item is proven genuine; what stands first is used first."""

    sha256: str | None = None
    """Known already, in hexadecimal: by the description, `assets.lock`, or what is built in. Of an image: the digest of
    its manifest or index, `sha256:…`."""
    sha512: str | None = None
    "What the description says."
    signature: str = ""
    "URL of a detached OpenPGP signature."
    key: str = ""
    """What signs: a name in `assets.signing`, or the path of a key file of the admin's. Empty: the signature is only
    kept for machines, and the checksum file proves."""
    checksums: str = ""
    "URL of the publisher's checksum file."
    first_seen: bool = False
    "`sha256` is that of the first download: nobody has published one."
    recorded: bool = False
    """`sha256` is what `fetch` wrote down of a file that the description proves otherwise: what is here is measured by
    it, and `fetch` itself goes by the description's own proof, which may have been changed since."""
    own: bool = False
    "The admin's own file, from beside the description: his word is the proof."
    signs: str = ""
    "Of a signature that machines need as well: the file it signs, with which it is fetched and proven."

    @property
    def words(self) -> str:
        if self.own:
            return "your own"
        if self.sha256 or self.sha512:
            return "pinned at first sight" if self.first_seen else "hash known"
        if self.signs:
            return "proven with what it signs" if self.key else "no checksum: pinned at first sight"
        if self.signature and (self.key or not self.checksums):
            return "signed"
        return "checksum published" if self.checksums else "no checksum: pinned at first sight"


@dataclass(frozen=True, slots=True)
class Item:
    name: str
    "Below `/assets`, or of an image `<upstream>/<name>:<tag>`."
    kind: Kind
    use: str
    "What it is for, in a word or two."
    url: str
    "The upstream's: https://…, or docker://… for an image. Empty: nobody has said where it comes from."
    proof: Proof = field(default_factory=Proof)
    machines: tuple[Machine, ...] = ()
    "Who needs it, in the order of the description; empty: the cluster as a whole (an add-on's image)."
    arches: tuple[Arch, ...] = ()
    "Of an image: the architectures to keep."
    size: int | None = None
    "Bytes, where known (`assets.lock`)."

    def needed_by(self) -> str:
        """Who needs it, for one line of text."""
        hosts = ", ".join(machine.host for machine in self.machines[:3])
        more = f" and {len(self.machines) - 3} more" if len(self.machines) > 3 else ""
        return f"{hosts}{more}" if hosts else "the cluster"
