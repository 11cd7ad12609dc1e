"""`assets.lock`, beside the description: the SHA-256 of every file that configurations name (design.md section 2).

TOML, so that it can be read in a difference and written by hand until `fetch` writes it:

    version = 1
    [files]
    "flannel/0.28.9/amd64/flanneld-amd64" = "sha256:…"

Known releases need no entry; an entry wins over what is built in. `assets:` of the description wins over both: it is
what the admin wrote.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field

from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.known_hashes import KNOWN_HASHES

FILE_NAME = "assets.lock"
VERSION = 1


@dataclass(frozen=True, slots=True)
class AssetLock:
    files: Mapping[str, str] = field(default_factory=dict)
    "Name below `/assets` -> SHA-256 in hexadecimal."

    def find(self, cluster: Cluster, name: str) -> str | None:
        """The hash of the file, by the most deliberate source that knows it."""
        named = cluster.assets.get(name)
        if named is not None and named.sha256 is not None:
            return named.sha256
        return self.files.get(name) or KNOWN_HASHES.get(name)


def parse_lock(text: str, file: str = FILE_NAME) -> AssetLock:
    """Raises UserError, naming the file and the entry, for anything that is not a lock of this version."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file} is not TOML: {error}") from error
    if document.get("version") != VERSION:
        raise UserError(
            f"{file}: expected `version = {VERSION}`, found {document.get('version')!r}",
            "was it written by another release of bootstrapper?",
        )
    files = document.get("files", {})
    if not isinstance(files, dict):
        raise UserError(f"{file}: `files` is no table", 'write [files], then lines of "NAME" = "sha256:…"')
    hashes = {}
    for name, value in files.items():
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise UserError(f'{file}: {name}: expected "sha256:" and 64 hexadecimal digits, found {value!r}')
        if not _NAME.fullmatch(name) or ".." in name.split("/"):
            raise UserError(f"{file}: {name!r} is no name below /assets", "COMPONENT/VERSION/ARCH/FILE")
        hashes[name] = value.removeprefix("sha256:")
    return AssetLock(hashes)


def write_lock(lock: AssetLock) -> str:
    """The text that `parse_lock` reads back, in one order, so that a difference shows what changed."""
    lines = [f'"{name}" = "sha256:{lock.files[name]}"' for name in sorted(lock.files)]
    return "\n".join([f"version = {VERSION}", "", "[files]", *lines]) + "\n"


_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)+")
