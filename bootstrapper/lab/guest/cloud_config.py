"""Applies the parts of a cloud-config (coreos-cloudinit's keys) that matter here: host name, files, units."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from bootstrapper.lab.guest.ignition import write_file, write_unit


def apply_cloud_config(text: str, root: Path) -> list[str]:
    """Write everything below `root`; returns the units to start. Raises ValueError for anything but a cloud-config."""
    if not text.startswith("#cloud-config"):
        raise ValueError("the first line is not #cloud-config")
    config = yaml.safe_load(text)
    if not isinstance(config, Mapping):
        raise ValueError("the cloud-config is not a mapping")
    if config.get("hostname"):
        write_file(root / "etc/hostname", f"{config['hostname']}\n".encode(), 0o644)
    for file in config.get("write_files") or []:
        data = decode_content(file.get("content", ""), file.get("encoding", ""))
        write_file(root / file["path"].lstrip("/"), data, parse_mode(file.get("permissions", "0644")))
    started = []
    for unit in (config.get("coreos") or {}).get("units") or []:
        write_unit(root, unit["name"], unit.get("content"), unit.get("drop_ins") or [], "content")
        if unit.get("command") in ("start", "restart", "reload-or-restart") or unit.get("enable"):
            started.append(unit["name"])
    return started


def parse_mode(value: object) -> int:
    """`"0644"` and the integer that YAML 1.1 makes of an unquoted 0644 are the same mode."""
    return value if isinstance(value, int) else int(str(value), 8)


def decode_content(content: object, encoding: str) -> bytes:
    data = content if isinstance(content, bytes) else str(content).encode()
    for name in encoding.replace("gz+", "gz,").replace("gzip+", "gz,").split(",")[::-1]:
        data = DECODERS[name.strip()](data)
    return data


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "text/plain": bytes,
    "b64": base64.b64decode,
    "base64": base64.b64decode,
    "gz": gzip.decompress,
    "gzip": gzip.decompress,
}
