"""A bundle as it came, archive or directory: hostile until proven. Only plain files with names it may have are read."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bootstrapper.assets.bundle_manifest import BLOBS, MANIFEST, MANIFEST_BYTES, SIGNATURE
from bootstrapper.errors import UserError

AGAIN = "get the bundle again"


@dataclass(frozen=True)
class Bundle:
    """`manifest` and `signature` as they stand there, then what it carries, each once, in whatever order."""

    manifest: bytes
    signature: bytes
    contents: Iterator[tuple[str, int, IO[bytes]]]
    "(SHA-256 that its name claims, size, the bytes), to be read before the next is asked for."


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Raises UserError for what is no bundle; so does reading its contents."""
    if not path.exists():
        raise UserError(f"there is no bundle {path}", "give the file or directory that `bundle export` made")
    try:
        if path.is_dir():
            yield _open_directory(path)
        else:
            with path.open("rb") as opened, tarfile.open(fileobj=opened, mode="r|", tarinfo=_PlainMember) as archive:
                yield _open_archive(path, archive)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path} is no bundle, or is damaged: {error}", AGAIN) from error


class _PlainMember(tarfile.TarInfo):
    """Refuses headers that extend others (long names, PAX): a bundle has none, and they are read into memory whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise UserError(f"the bundle holds {self.name!r:.120}, which is no plain file", AGAIN)
        found: tarfile.TarInfo = self._proc_builtin(tar)  # type: ignore[attr-defined]
        return found


def _open_archive(path: Path, archive: tarfile.TarFile) -> Bundle:
    def read_small(name: str) -> bytes:
        member = archive.next()
        if member is None or member.name != name:
            raise UserError(f"{path} is no bundle: {name} is not where it should be", AGAIN)
        return _read_small(archive.extractfile(member), member.size, f"{path}: {name}")

    def contents() -> Iterator[tuple[str, int, IO[bytes]]]:
        while (member := archive.next()) is not None:
            directory, _, sha256 = member.name.partition("/")
            opened = archive.extractfile(member)
            if directory != BLOBS or not is_hash(sha256) or opened is None:
                raise UserError(f"{path} holds {member.name!r:.120}, which no bundle has", AGAIN)
            yield sha256, member.size, opened

    return Bundle(read_small(MANIFEST), read_small(SIGNATURE), contents())


def _open_directory(path: Path) -> Bundle:
    def read_small(name: str) -> bytes:
        with _open_plain(path / name) as opened:
            return _read_small(opened, os.fstat(opened.fileno()).st_size, str(path / name))

    def contents() -> Iterator[tuple[str, int, IO[bytes]]]:
        if not (path / BLOBS).is_dir():
            raise UserError(f"{path / BLOBS} is missing: not a bundle, or half of one", AGAIN)
        for name in sorted(each.name for each in (path / BLOBS).iterdir()):
            if not is_hash(name):
                if name.startswith(".") and name.endswith(".part"):
                    continue  # of an export that was killed, and went on
                raise UserError(f"{path} holds {BLOBS}/{name!r:.120}, which no bundle has", AGAIN)
            with _open_plain(path / BLOBS / name) as opened:
                yield name, os.fstat(opened.fileno()).st_size, opened

    return Bundle(read_small(MANIFEST), read_small(SIGNATURE), contents())


def _open_plain(path: Path) -> IO[bytes]:
    """Without following a link, and without waiting for a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: not a bundle, or half of one", AGAIN) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "a bundle holds plain files only") from error
    opened = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        opened.close()
        raise UserError(f"{path} is no plain file", AGAIN)
    return opened


def _read_small(opened: IO[bytes] | None, size: int, what: str) -> bytes:
    if opened is None or size > MANIFEST_BYTES:
        raise UserError(f"{what} is larger than any manifest", AGAIN)
    data = opened.read(size)
    if len(data) != size:
        raise UserError(f"{what} ends early", AGAIN)
    return data


def is_hash(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")
