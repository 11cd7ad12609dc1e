"""The admin's file, read as text and written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from bootstrapper.errors import UserError
from bootstrapper.web.admin.faults import Unfit

OTHER = "the server's user must be able to write in {folder} (docs/admin-api.md)"
_ROOM = "make room on the disk of {folder}, and save it again"
HINTS = {
    errno.EBUSY: "mount the directory that it is in, {folder}, instead of the file alone (docs/admin-api.md)",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EIO: "see the kernel's log: the disk of {folder} may be ill",
}


def read_description(path: Path) -> str:
    """Raises Unfit for one that is no text, or gone."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise Unfit(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise Unfit(f"{path} cannot be read: {error.strerror}", "see its owner and mode") from error


def find_obstacle(path: Path) -> str:
    """Why `write_whole` would not work, and what to do; empty when it would. It puts a new file in the old one's place:
    the directory counts, and a file that is a mount of its own (a container's) keeps its place. Writing into that one
    instead would not be whole or not at all, so it is not done."""
    real = path.resolve()
    if _is_mount(real):
        return f"{real} is a mount of its own: {HINTS[errno.EBUSY].format(folder=real.parent)}"
    if not os.access(real.parent, os.W_OK | os.X_OK):
        return f"the server's user may not write in {real.parent} (docs/admin-api.md)"
    return ""


def _is_mount(file: Path) -> bool:
    """Also of a file of the same filesystem, which no device number tells."""
    try:
        return _find_mount(file) != _find_mount(file.parent)
    except (OSError, IndexError):  # gone, or no /proc
        return False


def _find_mount(path: Path) -> str:
    """The number of the mount that `path` is of (proc_pid_fdinfo(5))."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return Path(f"/proc/self/fdinfo/{descriptor}").read_text().partition("mnt_id:")[2].split()[0]
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """At every moment the old text or the new, on disk when it returns. Keeps mode and, where allowed, owner.

    A link is followed: what it points at is replaced. Raises UserError.
    """
    real = path.resolve()
    temporary = real.with_name(f".{real.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                _copy_access(real, descriptor)
                os.fsync(descriptor)
            temporary.replace(real)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        directory = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise UserError(
            f"{real} cannot be written: {error.strerror}",
            HINTS.get(error.errno or 0, OTHER).format(folder=real.parent),
        ) from error


def _copy_access(old: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        status = old.stat()
        with suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, status.st_mode & 0o777)
