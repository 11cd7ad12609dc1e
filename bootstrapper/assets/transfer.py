"""One file from one URL to a partial file on the disk, going on where an earlier run ended.

Nothing here proves anything: what arrives is a `.part` until `fetch` has verified it. What can be wrong with a server
is either `Broken` (ask again, go on from there), or `Refused` (this place has it not; ask the next).
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, LocationValueError, SSLError

from bootstrapper import __version__
from bootstrapper.assets.hashing import Stopped

CHUNK = 1 << 18
REDIRECTS = 10
SLOW_WINDOW_S = 60.0
SLOW_BYTES = 16 << 10
"A server that sends less than this in a window is given up on, and asked again."
LIMIT_BYTES = 64 << 30
"No file of ours is larger; a server that sends without end is stopped here."


class Refused(Exception):
    """This place will not give the file, however often it is asked."""


class Broken(Exception):
    """The connection or the server failed; asking again may help."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        "What the server asked us to wait (Retry-After)."


@dataclass(frozen=True)
class Client:
    """How to ask: proxies from the environment, certificates from the system."""

    now: Callable[[], float]
    "Monotonic clock, seconds."
    connect_s: float = 15.0
    read_s: float = 60.0
    jobs: int = 4
    pools: dict[str, urllib3.PoolManager] = field(default_factory=dict)

    def pool_for(self, url: str) -> urllib3.PoolManager:
        """By proxy: HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which, in either spelling."""
        parts = urlsplit(url)
        proxy = "" if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme, "")
        if proxy not in self.pools:
            more: dict[str, Any] = {
                "timeout": urllib3.Timeout(connect=self.connect_s, read=self.read_s),
                "maxsize": self.jobs,
                "ssl_context": ssl.create_default_context(),
                "retries": False,
            }
            if proxy:
                proxy = proxy if "://" in proxy else f"http://{proxy}"
            self.pools[proxy] = urllib3.ProxyManager(proxy, **more) if proxy else urllib3.PoolManager(**more)
        return self.pools[proxy]

    def open(self, url: str, headers: dict[str, str], method: str = "GET") -> tuple[urllib3.BaseHTTPResponse, str]:
        """The answer, and the URL that gave it. A redirect from https to http is refused, as is a chain of them."""
        headers = {"User-Agent": f"bootstrapper/{__version__}", "Accept-Encoding": "identity", **headers}
        for _ in range(REDIRECTS + 1):
            try:
                pool = self.pool_for(url)
                answer = pool.request(method, url, headers=headers, redirect=False, preload_content=False)
            except (LocationParseError, LocationValueError) as error:
                raise Refused(f"{url} is no URL: {error}") from error
            except SSLError as error:
                raise Refused(f"its certificate is not trusted: {error}") from error
            except HTTPError as error:
                if isinstance(getattr(error, "reason", None), SSLError):
                    raise Refused(f"its certificate is not trusted: {error}") from error
                raise Broken(_plain(error)) from error
            location = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or location is None:
                return answer, url
            answer.close()
            url = _follow(url, location)
        raise Refused(f"it redirects more than {REDIRECTS} times, at last to {url}")


def _follow(url: str, location: str) -> str:
    target = urljoin(url, location)
    scheme = urlsplit(target).scheme
    if scheme not in ("http", "https") or (urlsplit(url).scheme == "https" and scheme != "https"):
        raise Refused(
            f"it redirects to {target}, and {scheme or 'nothing'} is not followed from {urlsplit(url).scheme}"
        )
    return target


def find_size(client: Client, places: Iterable[str]) -> int | None:
    """Bytes, as the first place that knows says; None: nobody says, or can be asked."""
    for place in places:
        try:
            if place.startswith("file://"):
                return local_path(place).stat().st_size
            answer, _ = client.open(place, {}, "HEAD")
        except (OSError, Refused, Broken):
            continue
        with closing(answer):
            length = answer.headers.get("Content-Length", "")
            if answer.status == 200 and length.isascii() and length.isdigit():
                return int(length)
    return None


def read_small(client: Client, url: str, limit: int) -> bytes:
    """A signature or a checksum file. Raises Refused, Broken."""
    if url.startswith("file://"):
        path = local_path(url)
        try:
            with path.open("rb") as opened:
                content = opened.read(limit + 1)
        except OSError as error:
            raise Refused(str(error.strerror)) from error
    else:
        answer, _ = client.open(url, {})
        with closing(answer):
            _check_status(answer)
            try:
                content = answer.read(limit + 1)
            except HTTPError as error:
                raise Broken(_plain(error)) from error
    if len(content) > limit:
        raise Refused(f"it is larger than {limit} bytes")
    return content


def transfer(
    client: Client, url: str, part: Path, tell: Callable[[int, int | None], None], stopped: Callable[[], bool],
    limit: int = LIMIT_BYTES,
) -> bool:  # fmt: skip
    """Fill `part`; True when it went on from what was there. `tell` hears (bytes so far, bytes in all or None).

    Beside `part` its origin is kept, since only a part of the same file can be gone on with. Raises Refused, Broken,
    Stopped, OSError (a full disk).
    """
    if url.startswith("file://"):
        return _copy(local_path(url), part, tell, stopped)
    note = part.with_name(f"{part.name}.from")
    start, validator = _resume(part, note, url)
    headers = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
    answer, _ = client.open(url, headers)
    with closing(answer):
        if answer.status == 416 and start:
            if _total(answer) == start:
                return True
            part.unlink()
            raise Broken("what was here of it is longer than it is: from the start")
        _check_status(answer)
        if answer.status != 206:
            start = 0
        elif _start(answer) != start:
            part.unlink(missing_ok=True)
            raise Broken("it answered with another part than was asked for")
        length = answer.headers.get("Content-Length", "")
        whole = start + int(length) if length.isascii() and length.isdigit() else None
        if whole is not None and whole > limit:
            raise Refused(f"it would be {whole} bytes, and {limit} are the most")
        if start == 0:
            note.write_text(json.dumps({"url": url, "validator": _validator(answer)}))
        _write(part, start, _blocks(client, answer), whole, limit, tell, stopped)
    size = part.stat().st_size
    if whole is not None and size < whole:
        raise Broken(f"it ended after {size} of {whole} bytes")
    return start > 0


def _resume(part: Path, note: Path, url: str) -> tuple[int, str]:
    """Bytes that are here of the same file, and what proves it to the server; (0, "") without such proof."""
    try:
        kept = json.loads(note.read_text())
        size = part.stat().st_size
        if size and kept["url"] == url and kept["validator"]:
            return size, str(kept["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _validator(answer: urllib3.BaseHTTPResponse) -> str:
    """RFC 9110 13.1.5: a strong ETag, or the date; a weak ETag does not say that the bytes are the same."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _write(
    part: Path, start: int, blocks: Iterator[bytes], whole: int | None, limit: int,
    tell: Callable[[int, int | None], None], stopped: Callable[[], bool],
) -> None:  # fmt: skip
    """Append at `start`; whatever ends it, what was written is on the disk, for the next run to go on from."""
    done = start
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(part, flags, 0o600), "wb", buffering=0) as opened:
        opened.truncate(start)
        opened.seek(start)
        try:
            for block in blocks:
                if stopped():
                    raise Stopped
                done += len(block)
                if done > limit:
                    raise Refused(f"it sends more than {limit} bytes")
                view = memoryview(block)
                while view:
                    view = view[opened.write(view) :]
                tell(done, whole)
        finally:
            os.fsync(opened.fileno())


def _blocks(client: Client, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    began, count = client.now(), 0
    try:
        while block := answer.read1(CHUNK):
            yield block
            count += len(block)
            if client.now() - began > SLOW_WINDOW_S:
                if count < SLOW_BYTES:
                    raise Broken(f"only {count} bytes came in {SLOW_WINDOW_S:.0f} s")
                began, count = client.now(), 0
    except HTTPError as error:
        raise Broken(_plain(error)) from error


def _copy(source: Path, part: Path, tell: Callable[[int, int | None], None], stopped: Callable[[], bool]) -> bool:
    try:
        opened = source.open("rb", buffering=0)
    except OSError as error:
        raise Refused(str(error.strerror)) from error
    with opened:
        status = os.fstat(opened.fileno())
        if not source.is_file():
            raise Refused("it is not a file")
        _write(part, 0, iter(lambda: opened.read(1 << 20), b""), status.st_size, LIMIT_BYTES, tell, stopped)
    return False


def local_path(url: str) -> Path:
    """Of a `file://` URL."""
    return Path(unquote(url.removeprefix("file://")) if "%" in url else url.removeprefix("file://"))


def _check_status(answer: urllib3.BaseHTTPResponse) -> None:
    if answer.status in (200, 206):
        return
    words = f"it answered {answer.status}{' ' + answer.reason[:80] if answer.reason else ''}"
    if answer.status in (408, 425, 429) or answer.status >= 500:
        wait = answer.headers.get("Retry-After", "")
        raise Broken(words, float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 0.0)
    raise Refused(words)


def _start(answer: urllib3.BaseHTTPResponse) -> int:
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _total(answer: urllib3.BaseHTTPResponse) -> int:
    match = re.fullmatch(r"bytes \*/([0-9]{1,18})", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _plain(error: Exception) -> str:
    """urllib3's words without its objects' addresses."""
    for name in ("reason", "original_error"):
        inner = getattr(error, name, None)
        error = inner if isinstance(inner, Exception) else error
    if error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    text = str(error)
    return re.sub(r"<[^>]*>:? ?|HTTPS?Connection(?:Pool)?\([^)]*\):? ?", "", text)[:300]


_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:[0-9]{1,18}|\*)")
