"""The admin's file, read as text and written whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from bootstrapper.errors import UserError
from bootstrapper.web.admin.faults import Unfit


def read_description(path: Path) -> str:
    """Raises Unfit for one that is no text, or gone."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise Unfit(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise Unfit(f"{path} cannot be read: {error.strerror}", "see its owner and mode") from error


def may_write(path: Path) -> bool:
    """Whether `write_whole` would work: it puts a new file in the old one's place, so the directory counts."""
    return os.access(path.resolve().parent, os.W_OK | os.X_OK)


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
            f"the server's user must be able to write in {real.parent} (docs/admin-api.md)",
        ) from error


def _copy_access(old: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        status = old.stat()
        with suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, status.st_mode & 0o777)
