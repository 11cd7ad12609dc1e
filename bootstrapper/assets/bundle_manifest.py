"""What a bundle says of itself: every file that the rack needs, by path and hash, and which of them it carries.

    {"bundle": 1, "made_at": "2026-11-21T13:00:00Z", "cluster": "prod", "since": "",
     "entries": [{"path": "assets/flatcar/…", "size": 512000000, "sha256": "…"}, …], "carried": ["…", …]}

A bundle is a directory or a tar archive with `manifest.json`, `manifest.sig` and `blobs/SHA256`, in this order: what
it carries is named by its hash, so that no name in an archive can lead anywhere. Paths are below `assets/`, save two:
the description and its `assets.lock`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from bootstrapper.assets.registry_storage import LAYOUT, REGISTRY
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import FILE_NAME, is_file_name

VERSION = 1
MANIFEST, SIGNATURE, BLOBS = "manifest.json", "manifest.sig", "blobs"
DESCRIPTION, LOCK, ASSETS = "cluster-desc.yaml", FILE_NAME, "assets/"
MANIFEST_BYTES = 256 << 20
"A manifest is read whole; a rack of many descriptions has some 10,000 entries of 200 bytes."


@dataclass(frozen=True, slots=True)
class Entry:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    made_at: str
    cluster: str
    entries: tuple[Entry, ...]
    carried: frozenset[str]
    "SHA-256 of what is in this bundle; all else was in an earlier one."
    since: str = ""
    "`identify` of the earlier manifest."


def write_manifest(manifest: Manifest) -> bytes:
    document = {
        "bundle": VERSION,
        "made_at": manifest.made_at,
        "cluster": manifest.cluster,
        "since": manifest.since,
        "entries": [
            {"path": each.path, "size": each.size, "sha256": each.sha256}
            for each in sorted(manifest.entries, key=lambda entry: entry.path)
        ],
        "carried": sorted(manifest.carried),
    }
    return json.dumps(document, indent=0).encode() + b"\n"


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Raises UserError, naming `where`, for what this release did not write; a signature proves who did, not what."""
    try:
        document = json.loads(data)
        if document["bundle"] != VERSION:
            raise ValueError(f"version {document['bundle']!r:.20}, expected {VERSION}")
        entries = tuple(_entry(each) for each in document["entries"])
        carried = frozenset(_hash(each) for each in document["carried"])
        made_at, cluster, since = (_text(document[key]) for key in ("made_at", "cluster", "since"))
        _check_whole(entries, carried)
        return Manifest(made_at, cluster, entries, carried, since)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{where} is no bundle's manifest: {error!s:.200}", "was it made by another release of bootstrapper?"
        ) from error


def identify(data: bytes) -> str:
    """By which a later bundle names the one that it builds on."""
    return hashlib.sha256(data).hexdigest()


def is_path(path: str) -> bool:
    """Whether a bundle may put a file there."""
    if path in (DESCRIPTION, LOCK):
        return True
    name = path.removeprefix(ASSETS)
    if name == path:
        return False
    if name.startswith(f"{REGISTRY}/"):
        return bool(_IN_REGISTRY.fullmatch(name)) and len(name) < 1000
    return is_file_name(name)


def _entry(value: object) -> Entry:
    if not isinstance(value, dict):
        raise ValueError("an entry is no object")
    path, size = value["path"], value["size"]
    if not isinstance(path, str) or not is_path(path):
        raise ValueError(f"it would put a file at {path!r:.120}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"{path}: size {size!r:.40}")
    return Entry(path, size, _hash(value["sha256"]))


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise ValueError(f"{value!r:.80} is no plain text")
    return value


def _hash(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{value!r:.80} is no SHA-256")
    return value


def _check_whole(entries: Iterable[Entry], carried: frozenset[str]) -> None:
    paths: set[str] = set()
    sizes: dict[str, int] = {}
    for entry in entries:
        if entry.path in paths:
            raise ValueError(f"{entry.path} is there twice")
        if sizes.setdefault(entry.sha256, entry.size) != entry.size:
            raise ValueError(f"{entry.path}: two sizes for one hash")
        paths.add(entry.path)
    if not {DESCRIPTION, LOCK} <= paths:
        raise ValueError(f"it lacks {DESCRIPTION} or {LOCK}")
    if not carried <= sizes.keys():
        raise ValueError("it carries what none of its files is")


_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}"
_IN_REGISTRY = re.compile(rf"{REGISTRY}/{LAYOUT}/(?:blobs|repositories)(?:/{_PART})+/(?:data|link)")
