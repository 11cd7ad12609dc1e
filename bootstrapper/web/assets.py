"""`/assets/`: the files machines download, with HEAD, Range, ETag and sendfile. Plain WSGI, in front of Flask.

A path is opened part by part below the root, each part without following links (openat with O_NOFOLLOW): whatever a
name says, it cannot leave the directory, also when somebody swaps a link in meanwhile (reference B4). Only regular
files are served; directories are never listed, hidden names are never found.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from email.utils import formatdate, parsedate_to_datetime
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrapper.web.counts import Counts
from bootstrapper.web.downloads import Downloads, Watch
from bootstrapper.web.ranges import UNSATISFIABLE, parse_range
from bootstrapper.web.replies import missing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

PREFIX = "/assets/"
BLOCK = 1 << 20
"For servers without sendfile (TLS): bytes read at a time."
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
SECRET_SUFFIXES = (".key", ".pem", ".p12")


class AssetFiles:
    def __init__(self, root: Path, counts: Counts, downloads: Downloads | None = None) -> None:
        self._root = root
        self._counts = counts
        self._downloads = downloads

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        descriptor = None
        name = environ["PATH_INFO"].removeprefix(PREFIX)
        if method in ("GET", "HEAD"):
            descriptor = open_beneath(self._root, name)
        if descriptor is None:
            self._counts.add('http_assets{result="missing"}')
            if self._downloads is not None:
                self._downloads.missing(environ, name)
            return missing()(environ, start_response)
        file = AssetFile(descriptor, "rb")
        try:
            return self._send(file, os.fstat(descriptor), environ, start_response)
        except BaseException:
            file.close()
            raise

    def _send(
        self, file: AssetFile, status: os.stat_result, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        size = status.st_size
        etag = f'"{status.st_mtime_ns:x}-{size:x}-{status.st_ino:x}"'
        modified = int(status.st_mtime)
        headers = [
            ("Content-Type", _content_type(environ["PATH_INFO"])),
            ("Last-Modified", formatdate(modified, usegmt=True)),
            ("ETag", etag),
            ("Accept-Ranges", "bytes"),
        ]
        code, start, length = _choose(environ, etag, modified, size)
        if code in ("304 Not Modified", "412 Precondition Failed"):
            length = 0
        elif code.startswith("416"):
            headers.append(("Content-Range", f"bytes */{size}"))
        elif code.startswith("206"):
            headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{size}"))
        if not code.startswith("304"):
            headers.append(("Content-Length", str(length)))
        start_response(code, headers)
        if environ["REQUEST_METHOD"] == "HEAD" or length == 0:
            file.close()
            return []
        self._counts.add('http_assets{result="sent"}')
        file.seek(start)
        if self._downloads is not None:
            name = environ["PATH_INFO"].removeprefix(PREFIX)
            file.watch = self._downloads.watch(environ, name, start, length, size)
        wrapper = environ.get("wsgi.file_wrapper")
        if wrapper is None:
            return _Reader(file, length)
        chunks: Iterable[bytes] = wrapper(file, BLOCK)
        return chunks


class AssetFile(FileIO):
    """Unbuffered: a buffered reader would take a block ahead of sendfile for nothing."""

    watch: Watch | None = None
    "For a server with sendfile, which alone sees how far the client is: `moved(count)` and `ended()`."


class _Reader:
    """A part of a file in blocks, where the server has no sendfile."""

    def __init__(self, file: AssetFile, length: int) -> None:
        self._file = file
        self._left = length

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> bytes:
        block = self._file.read(min(BLOCK, self._left)) if self._left else b""
        if not block:
            raise StopIteration
        self._left -= len(block)
        if self._file.watch is not None:
            self._file.watch.moved(len(block))
        return block

    def close(self) -> None:
        if self._file.watch is not None:
            self._file.watch.ended()
        self._file.close()


def _choose(environ: dict[str, Any], etag: str, modified: int, size: int) -> tuple[str, int, int]:
    """Status line, first byte and length, by RFC 9110 sections 13.2.2 and 14.2."""
    whole = (0, size)
    match = environ.get("HTTP_IF_MATCH")
    if match is not None and not _names(match, etag, weak=False):
        return ("412 Precondition Failed", *whole)
    since = _date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
    if match is None and since is not None and modified > since:
        return ("412 Precondition Failed", *whole)
    none_match = environ.get("HTTP_IF_NONE_MATCH")
    if none_match is not None and _names(none_match, etag, weak=True):
        return ("304 Not Modified", *whole)
    since = _date(environ.get("HTTP_IF_MODIFIED_SINCE"))
    if none_match is None and since is not None and modified <= since:
        return ("304 Not Modified", *whole)
    asked = environ.get("HTTP_RANGE")
    if_range = environ.get("HTTP_IF_RANGE")
    if asked is None or (if_range is not None and if_range != etag and _date(if_range) != modified):
        return ("200 OK", *whole)
    found = parse_range(asked, size)
    if found is None:
        return ("200 OK", *whole)
    if found is UNSATISFIABLE:
        return ("416 Range Not Satisfiable", 0, 0)
    return ("206 Partial Content", found.start, len(found))


def _names(header: str, etag: str, *, weak: bool) -> bool:
    """Whether an If-Match or If-None-Match names `etag`."""
    tags = [tag.strip() for tag in header.split(",")]
    return "*" in tags or etag in tags or (weak and f"W/{etag}" in tags)


def _date(text: str | None) -> int | None:
    try:
        return None if text is None else int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def open_beneath(root: Path, name: str) -> int | None:
    """A descriptor of the regular file `name` below `root`, or None."""
    parts = name.split("/")
    if any(not part or part[0] == "." or len(part) > 255 or "\\" in part for part in parts):
        return None
    if name.endswith(SECRET_SUFFIXES):
        return None
    try:
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                inner = os.open(part, FLAGS | os.O_DIRECTORY, dir_fd=directory)
                os.close(directory)
                directory = inner
            descriptor = os.open(parts[-1], FLAGS, dir_fd=directory)
        finally:
            os.close(directory)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _content_type(path: str) -> str:
    return CONTENT_TYPES.get(path.rpartition(".")[2], "application/octet-stream")


CONTENT_TYPES = {
    "efi": "application/efi",  # edk2's HTTP boot goes by type first, then by suffix (reference A6.2)
    "iso": "application/vnd.efi-iso",
    "img": "application/vnd.efi-img",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
}
