"""A file that an admin names to be written: refused where writing it would destroy what nobody meant.

Whole or not at all means a rename, and root's rename replaces whatever has the name: `/dev/null`, too.
"""

from __future__ import annotations

import stat
from pathlib import Path

from bootstrapper.errors import UserError

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def check_outfile(file: Path, replace: bool) -> None:
    """Raises UserError for what is there and no regular file, and for a file unless `replace`. A link is judged by
    what it points at."""
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
    except FileNotFoundError:
        if file.is_symlink():
            raise UserError(f"{file} is a link to nothing", "give the name of a file") from None
        return
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}", "give the name of a file") from error
    if kind != stat.S_IFREG:
        raise UserError(
            f"{file} is {KINDS.get(kind, 'no file')}, and would be replaced; nothing was written",
            "give the name of a file",
        )
    if not replace:
        raise UserError(f"{file} exists already; nothing was written", "give a name that is free, or --force")
