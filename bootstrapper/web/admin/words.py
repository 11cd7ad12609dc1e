"""Text that a client of the network chose, made fit to be shown."""

from __future__ import annotations

import unicodedata

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"They turn text around: a line could look like another one."


def clean(text: str, most: int = 500) -> str:
    """At most `most` characters, on one line, without any that steer a terminal or turn text around."""
    return "".join(char if _is_plain(char) else " " for char in text[:most])


def _is_plain(char: str) -> bool:
    return (char.isascii() and char.isprintable()) or (char not in BIDI and unicodedata.category(char)[0] not in "CZ")
