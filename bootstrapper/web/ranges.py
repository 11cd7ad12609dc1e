"""The Range header, RFC 9110 section 14.2: one range of bytes. Several are answered with the whole file, as allowed."""

from __future__ import annotations

import re

RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.ASCII | re.IGNORECASE)
UNSATISFIABLE = range(0)


def parse_range(header: str, size: int) -> range | None:
    """The bytes asked for of a file of `size`; None: not understood, send it all; UNSATISFIABLE: there are none."""
    matched = RANGE.fullmatch(header)
    if matched is None:
        return None
    if matched[3] is not None:
        length = min(int(matched[3]), size)
        return range(size - length, size) if length else UNSATISFIABLE
    first = int(matched[1])
    last = min(int(matched[2]), size - 1) if matched[2] else size - 1
    if matched[2] and int(matched[2]) < first:
        return None
    return range(first, last + 1) if first <= last else UNSATISFIABLE
