"""What the lab keeps between runs, and when it goes: a change of the sources makes another test system each time."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

KEPT = 2
"Of each kind: the newest, and one for whoever goes back and forth between two versions of this program."
STALE_S = 86_400.0
"No making takes a day: what is as old was left by one that was killed."


def mark_used(path: Path) -> None:
    """For `forget_unused`. A cache that may only be read is as good."""
    with suppress(OSError):
        os.utime(path)


def forget_unused(cache: Path, kept: str, now: float) -> None:
    """Remove what was used longest ago of the kind of `kept`, a name in `cache` that is in use; `now` is wall clock.

    A lab that runs has hard links of its own. What cannot be removed is another user's, and stays.
    """
    same = [path for path in cache.iterdir() if find_kind(path.name) == find_kind(kept) and path.name != kept]
    used = sorted(((_used_at(path), path) for path in same), reverse=True)
    stale = [path for path in cache.glob("making-*") if now - _used_at(path) > STALE_S]
    _remove([*(path for _, path in used[KEPT - 1 :]), *stale])


def find_kind(name: str) -> str | None:
    """`systemd` of systemd-0123456789abcdef, `debian` of debian-bookworm-01234567.tar, an empty word of the small
    system's; None: not ours to remove."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return "debian" if match["tar"] else match["kind"] or ""


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


_NAME = re.compile(r"(?:(?P<kind>systemd)-)?[0-9a-f]{16}|(?P<tar>debian-[a-z]+-[0-9a-f]{8}\.tar)")
