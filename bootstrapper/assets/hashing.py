"""A file's hashes, at the speed of the disk or of the hash, in constant memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

BLOCK = 1 << 20
"Bytes at a time: larger ones are no faster, and leave the processor's cache."


class Stopped(Exception):
    """The work was called off between two blocks."""


def hash_file(
    path: Path,
    algorithms: tuple[str, ...] = ("sha256",),
    tell: Callable[[int], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> dict[str, str]:
    """Algorithm -> hash in hexadecimal, all of them in one pass.

    `tell` hears of each block's bytes; `stopped` is asked before each. Raises OSError, Stopped.
    """
    digests = [hashlib.new(name, usedforsecurity=True) for name in algorithms]
    block = bytearray(BLOCK)
    view = memoryview(block)
    with path.open("rb", buffering=0) as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := opened.readinto(block):
            if stopped is not None and stopped():
                raise Stopped
            for digest in digests:
                digest.update(view[:count])
            if tell is not None:
                tell(count)
    return {name: digest.hexdigest() for name, digest in zip(algorithms, digests, strict=True)}
