"""The archive that the Linux kernel unpacks as its first file system: cpio's "newc" form (the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst). Made here, so that equal input gives equal bytes."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    path: str
    "Without a leading slash."
    mode: int
    "With the file type's bits."
    data: bytes = b""
    "A file's content, a link's target."
    device: tuple[int, int] = (0, 0)


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, data)


def link(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int) -> Entry:
    return Entry(path, stat.S_IFCHR | 0o600, device=(major, minor))


def build_newc(entries: Iterable[Entry]) -> bytes:
    """The archive, with every missing parent directory put in front of what needs it. Later entries of a path win."""
    wanted = {entry.path: entry for entry in entries}
    parts: list[bytes] = []
    seen: set[str] = set()
    for path in sorted(wanted):
        names = path.split("/")
        for depth in range(1, len(names)):
            parent = "/".join(names[:depth])
            if parent not in wanted and parent not in seen:
                parts.append(_record(directory(parent), len(parts) + 1))
                seen.add(parent)
        parts.append(_record(wanted[path], len(parts) + 1))
    parts.append(_record(Entry("TRAILER!!!", 0), 0))
    return b"".join(parts)


def _record(entry: Entry, inode: int) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
