"""Publishers' checksum files, in the shapes they come in: text in, a hash out. Pure.

A bare hash (Kubernetes), lines of hash and name (etcd's SHA256SUMS, `.sha256sum`), BSD's `SHA256 (NAME) = HASH`, and
JSON (Fedora CoreOS: an object with `path` or `location`, and `sha256`). Hashes shorter than SHA-256's prove nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bootstrapper.errors import UserError

LIMIT_BYTES = 4 << 20
"A checksum file is small; Fedora CoreOS's meta.json is the largest."


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    "`sha256` or `sha512`."
    value: str
    "In lower-case hexadecimal."


def find_checksum(text: str, file: str, where: str) -> Checksum:
    """The hash that `text` gives for `file` (a name, or a path), the strongest of several.

    `where` is the checksum file, for the message. Raises UserError where it names none, or two that differ.
    """
    found = set(_read(text, file))
    if not found:
        raise UserError(f"{where} has no SHA-256 or SHA-512 of {file}", "is it a checksum file, and of this release?")
    algorithm = max(each.algorithm for each in found)
    best = [each for each in found if each.algorithm == algorithm]
    if len(best) > 1:
        raise UserError(f"{where} has several {algorithm} of {file} that differ", "write the right one under `assets:`")
    return best[0]


def _read(text: str, file: str) -> Iterator[Checksum]:
    if text.lstrip().startswith("{"):
        try:
            yield from _read_json(json.loads(text), file)
        except (ValueError, RecursionError):
            return
        return
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    bare = len(lines) == 1 and _HEX.fullmatch(lines[0])
    if bare:
        yield _checksum(lines[0])
        return
    for line in lines:
        match = _LINE.fullmatch(line) or _BSD.fullmatch(line)
        if match and _names(match["name"], file):
            yield _checksum(match["value"])


def _read_json(value: object, file: str) -> Iterator[Checksum]:
    if isinstance(value, list):
        for each in value:
            yield from _read_json(each, file)
    elif isinstance(value, dict):
        name = value.get("path", value.get("location"))
        digest = value.get("sha256")
        if isinstance(name, str) and isinstance(digest, str) and _names(name, file) and _HEX.fullmatch(digest):
            yield _checksum(digest)
        for each in value.values():
            yield from _read_json(each, file)


def _names(name: str, file: str) -> bool:
    """Whether a name in a list, perhaps with directories, is `file`: of Debian's many `linux`, the one on its path."""
    plain = name.removeprefix("./")
    return plain == file or plain.endswith(f"/{file}")


def _checksum(value: str) -> Checksum:
    return Checksum("sha256" if len(value) == 64 else "sha512", value.lower())


_HEX = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}")
_LINE = re.compile(r"(?P<value>[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})\s+\*?(?P<name>\S+)")
_BSD = re.compile(r"SHA(?:256|512) \((?P<name>\S+)\) = (?P<value>[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})")
