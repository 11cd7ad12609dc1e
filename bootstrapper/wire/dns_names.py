"""Domain names as they travel: length-prefixed labels, lower case, uncompressed, as `bytes`.

That form is the key of every look-up: comparing it is comparing names (RFC 4343), and a suffix of it that starts at a
label is the parent. Lowering the case of a whole name is safe since no length octet (0-63) is an ASCII letter.
"""

from __future__ import annotations

from collections.abc import Iterator

from bootstrapper.errors import MalformedPacket

ROOT = b"\0"
MAX_LABEL = 63
MAX_NAME = 255
MAX_POINTERS = 64
"A name of 255 octets has fewer labels than twice this; more pointers are a loop or an attack (CVE-2026-2291's class)."


def parse_text(text: str) -> bytes:
    """`node1.example.com` (a dot at the end or not) -> wire form. Raises ValueError for a name DNS cannot hold."""
    name = text.rstrip(".").lower()
    labels = name.encode("ascii").split(b".") if name else []
    if any(not 0 < len(label) <= MAX_LABEL for label in labels):
        raise ValueError(f"expected labels of 1 to {MAX_LABEL} characters, got {text!r}")
    wire = b"".join(bytes((len(label),)) + label for label in labels) + ROOT
    if len(wire) > MAX_NAME:
        raise ValueError(f"expected a name of at most {MAX_NAME - 2} characters, got {text!r}")
    return wire


def labels_of(name: bytes) -> tuple[bytes, ...]:
    """The labels of a wire name, without the root."""
    labels = []
    at = 0
    while length := name[at]:
        labels.append(name[at + 1 : at + 1 + length])
        at += 1 + length
    return tuple(labels)


def parents_of(name: bytes) -> Iterator[bytes]:
    """`name` itself, then each parent; the root comes last."""
    at = 0
    while length := name[at]:
        yield name[at:]
        at += 1 + length
    yield ROOT


def text_of(name: bytes) -> str:
    """For people: without the dot at the end; odd octets as `\\000`, as in zone files (RFC 1035 section 5.1)."""
    shown = (
        "".join(chr(octet) if 0x21 <= octet < 0x7F and octet not in b".\\" else f"\\{octet:03d}" for octet in label)
        for label in labels_of(name)
    )
    return ".".join(shown) or "."


def skip_name(data: bytes, at: int) -> int:
    """The offset behind a name that may end in a compression pointer. Raises MalformedPacket."""
    while True:
        if at >= len(data):
            raise MalformedPacket("dns-short")
        length = data[at]
        if length >= 0xC0:
            if at + 2 > len(data):
                raise MalformedPacket("dns-short")
            return at + 2
        if length > MAX_LABEL:
            raise MalformedPacket("dns-label")
        at += 1 + length
        if not length:
            return at


def read_name(data: bytes, at: int) -> bytes:
    """The whole name at `at`, lower case, pointers followed. Every pointer must lead backwards. Raises
    MalformedPacket for loops, forward pointers, and names of more than 255 octets."""
    parts: list[bytes] = []
    size = 1
    limit = at
    "Where the present run of labels starts: a pointer must point before it, so that following them ends."
    for _ in range(MAX_POINTERS):
        while True:
            if at >= len(data):
                raise MalformedPacket("dns-short")
            length = data[at]
            if not 0 < length <= MAX_LABEL:
                break
            end = at + 1 + length
            size += 1 + length
            if end > len(data):
                raise MalformedPacket("dns-short")
            if size > MAX_NAME:
                raise MalformedPacket("dns-name")
            parts.append(data[at:end])
            at = end
        if not length:
            return b"".join(parts).lower() + ROOT
        if length < 0xC0:
            raise MalformedPacket("dns-label")
        if at + 2 > len(data):
            raise MalformedPacket("dns-short")
        target = (length & 0x3F) << 8 | data[at + 1]
        if target >= limit:
            raise MalformedPacket("dns-pointer")
        at = limit = target
    raise MalformedPacket("dns-pointer")
