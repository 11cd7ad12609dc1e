"""`assets.lock`, beside the description: the hash of every file and image that machines are told of.

TOML, so that it can be read in a difference and written by hand until `fetch` writes it:

    version = 1

    [files]
    "flannel/0.28.9/amd64/flanneld-amd64" = "sha256:…"

    [images]
    "registry.k8s.io/pause:3.10.1" = "sha256:…"

    [sizes]
    "flannel/0.28.9/amd64/flanneld-amd64" = 41943040

    [first-seen]
    "flannel/0.28.9/amd64/flanneld-amd64" = "2026-11-21"

An image's hash is the digest of its manifest, of the index where it has one. `first-seen` marks what nobody has
published a checksum of: its hash is that of the first download, and proves only that it has not changed since.

Known releases need no entry; an entry wins over what is built in. `assets:` of the description wins over both: it is
what the admin wrote.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from bootstrapper.cluster.model import AssetSource, Cluster
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.known_hashes import KNOWN_HASHES

FILE_NAME = "assets.lock"
VERSION = 1
KEY_SUFFIX = ".key.asc"
"Behind a file's name: the public key of the admin's that its signature is checked with on the machine."

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class AssetLock:
    files: Mapping[str, str] = field(default_factory=dict)
    "Name below `/assets` -> SHA-256 in hexadecimal."
    images: Mapping[str, str] = field(default_factory=dict)
    "Image with its registry and tag -> digest, `sha256:…`."
    sizes: Mapping[str, int] = field(default_factory=dict)
    "Name of a file or an image -> bytes: what `fetch --list` adds up."
    first_seen: Mapping[str, str] = field(default_factory=dict)
    "Name -> the day when its hash was taken from the first download, for want of a published one."

    def find(self, cluster: Cluster, name: str) -> str | None:
        """The hash of the file, by the most deliberate source that knows it."""
        named = find_source(cluster, name)
        if named is not None and named.sha256 is not None:
            return named.sha256.lower()
        return self.files.get(name) or KNOWN_HASHES.get(name)


def parse_lock(text: str, file: str = FILE_NAME) -> AssetLock:
    """Raises UserError, naming the file and the entry, for anything that is not a lock of this version."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            f"{file} is not TOML: {error}",
            "take it from version control; or remove it, and `bootstrapper fetch` hashes everything anew",
        ) from error
    if document.get("version") != VERSION:
        raise UserError(
            f"{file}: expected `version = {VERSION}`, found {document.get('version')!r}",
            "was it written by another release of bootstrapper?",
        )

    def table(key: str, example: str, read_name: Callable[[str], None], read: Callable[[str, object], Value]) -> dict[
        str, Value
    ]:  # fmt: skip
        entries = document.get(key, {})
        if not isinstance(entries, dict):
            raise UserError(f"{file}: `{key}` is no table", f"write [{key}], then lines of {example}")
        found = {}
        for name, value in entries.items():
            found[name] = read(name, value)
            read_name(name)
        return found

    def digest(name: str, value: object) -> str:
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise UserError(f'{file}: {name}: expected "sha256:" and 64 hexadecimal digits, found {value!r}')
        return value

    def size(name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(f"{file}: {name}: expected a number of bytes, found {value!r}")
        return value

    def day(name: str, value: object) -> str:
        if not isinstance(value, str) or not _DAY.fullmatch(value):
            raise UserError(f"{file}: {name}: expected a day such as 2026-11-21, found {value!r}")
        return value

    def file_name(name: str) -> None:
        if not is_file_name(name):
            raise UserError(f"{file}: {name!r} is no name below /assets", "COMPONENT/VERSION/ARCH/FILE")

    def image_name(name: str) -> None:
        if not is_image_name(name):
            raise UserError(f"{file}: {name!r} is no image", "REGISTRY/NAME:TAG, such as registry.k8s.io/pause:3.10.1")

    def either(name: str) -> None:
        if not is_image_name(name):
            file_name(name)

    files = table("files", '"NAME" = "sha256:…"', file_name, digest)
    return AssetLock(
        files={name: value.removeprefix("sha256:") for name, value in files.items()},
        images=table("images", '"IMAGE:TAG" = "sha256:…"', image_name, digest),
        sizes=table("sizes", '"NAME" = BYTES', either, size),
        first_seen=table("first-seen", '"NAME" = "2026-11-21"', either, day),
    )


def write_lock(lock: AssetLock) -> str:
    """The text that `parse_lock` reads back, in one order, so that a difference shows what changed."""
    tables: Mapping[str, Mapping[str, str]] = {
        "files": {name: f'"sha256:{value}"' for name, value in lock.files.items()},
        "images": {name: f'"{value}"' for name, value in lock.images.items()},
        "sizes": {name: str(value) for name, value in lock.sizes.items()},
        "first-seen": {name: f'"{value}"' for name, value in lock.first_seen.items()},
    }
    lines = [f"version = {VERSION}"]
    for key, entries in tables.items():
        if entries or key == "files":
            lines += ["", f"[{key}]", *(f'"{name}" = {entries[name]}' for name in sorted(entries))]
    return "\n".join(lines) + "\n"


def find_source(cluster: Cluster, name: str) -> AssetSource | None:
    """What `assets:` says of the file `name`: under its whole name, or under its component's (the first part of its
    name) when the URL ends in the file's own name."""
    whole = cluster.assets.get(name)
    named = cluster.assets.get(name.partition("/")[0])
    if whole is None and named is not None and named.url.rpartition("/")[2] == name.rpartition("/")[2]:
        return named
    return whole


def is_file_name(name: str) -> bool:
    """Whether `name` can stand below `/assets`: at least one directory, and no part that leads elsewhere or hides."""
    return bool(_NAME.fullmatch(name)) and not any(part.startswith(".") for part in name.split("/"))


def is_image_name(name: str) -> bool:
    """Whether `name` is an image with its registry's host and a tag, a digest or both."""
    return bool(_IMAGE.fullmatch(name)) and len(name) <= 400


_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NAME = re.compile(r"[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)+")
_IMAGE = re.compile(
    r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?"
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
)
