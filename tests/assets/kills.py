"""An end at any write: each rename of a file into its place is where a kill may come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def kill_after(last: int, put: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """`put_in_place` for `last` files, and the end at the next one."""
    left = last

    def put_or_end(fresh: Path, place: Path) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        put(fresh, place)

    return put_or_end
