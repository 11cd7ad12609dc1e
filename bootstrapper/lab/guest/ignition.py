"""Applies the parts of an Ignition 3.x configuration that matter here: files, directories, links, units, host name.

Remote files, users and disks are passed over with a line on the console: a test system has no use for them.
"""

from __future__ import annotations

import base64
import gzip
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def decode_data_url(url: str) -> bytes:
    """`data:[type][;base64],content` (RFC 2397). Raises ValueError for any other scheme."""
    if not url.startswith("data:") or "," not in url:
        raise ValueError(f"not a data URL: {url[:60]}")
    head, _, body = url[5:].partition(",")
    if head.endswith(";base64"):
        return base64.b64decode(urllib.parse.unquote_to_bytes(body))
    return urllib.parse.unquote_to_bytes(body)


def apply_ignition(config: Mapping[str, Any], root: Path) -> tuple[list[str], list[str]]:
    """Write everything below `root`. Returns (units to start, what was passed over).

    Raises ValueError for a version that this cannot read.
    """
    version = str(config.get("ignition", {}).get("version", ""))
    if not version.startswith("3."):
        raise ValueError(f"Ignition version {version or 'missing'}: 3.x is expected")
    storage, passed = config.get("storage", {}), []
    for directory in storage.get("directories", []):
        path = _below(root, directory["path"])
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(directory.get("mode", 0o755))
    for file in storage.get("files", []):
        contents = file.get("contents", {})
        source = contents.get("source", "data:,")
        if not source.startswith("data:"):
            passed.append(f"file {file['path']} from {source}")
            continue
        data = decode_data_url(source)
        if contents.get("compression") == "gzip":
            data = gzip.decompress(data)
        write_file(_below(root, file["path"]), data, file.get("mode", 0o644))
    for link in storage.get("links", []):
        path = _below(root, link["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(link["target"])
    enabled = []
    for unit in config.get("systemd", {}).get("units", []):
        if write_unit(root, unit["name"], unit.get("contents"), unit.get("dropins", []), "contents"):
            passed.append(f"unit {unit['name']} is changed, not brought")
        if unit.get("enabled") and not unit.get("mask"):
            enabled.append(unit["name"])
    if config.get("passwd"):
        passed.append("passwd: the test system has no users")
    return enabled, passed


def write_file(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)
    path.chmod(mode)


def write_unit(root: Path, name: str, text: str | None, drop_ins: list[dict[str, str]], key: str) -> bool:
    """A unit and its drop-ins; True when only drop-ins came, for a unit that the system has."""
    directory = "etc/systemd/network" if name.endswith((".network", ".netdev", ".link")) else "etc/systemd/system"
    if text is not None:
        write_file(root / directory / name, text.encode(), 0o644)
    for drop_in in drop_ins:
        write_file(root / directory / f"{name}.d" / drop_in["name"], str(drop_in.get(key, "")).encode(), 0o644)
    return text is None and bool(drop_ins)


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")
