"""Bytes in words, decimal, as disks are sold."""

from __future__ import annotations

UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def size_words(size: float | None) -> str:
    """`1.5 GB`; `?` for what nobody knows."""
    if size is None:
        return "?"
    for unit, scale in UNITS:
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:.0f} B"
