"""What of a server's answers is followed, and what an admin is told of a broken one. Real servers: tests/interop."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError, ProtocolError, ProxyError

from bootstrapper.assets.transfer import Client, Refused, _follow, _plain, read_small, transfer


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://a/x/y", "/z", "http://a/z"),
        ("http://a/x/y", "z", "http://a/x/z"),
        ("http://a/x", "https://b/z", "https://b/z"),
        ("https://a/x", "https://b/z", "https://b/z"),
        ("https://a/x", "//b/z", "https://b/z"),
    ],
)
def test_redirects_that_are_followed(url: str, location: str, target: str) -> None:
    assert _follow(url, location) == target


@pytest.mark.parametrize("location", ["http://a/x", "file:///etc/shadow", "ftp://a/x", "javascript:alert(1)"])
def test_redirects_that_are_not(location: str) -> None:
    with pytest.raises(Refused, match="is not followed from https"):
        _follow("https://a/x", location)


def test_words_for_people() -> None:
    refused = NewConnectionError(None, "Failed to establish a new connection: [Errno 111] Connection refused")  # type: ignore[arg-type]
    assert _plain(ProxyError("Unable to connect to proxy", refused)).endswith("[Errno 111] Connection refused")
    cut = ProtocolError("Connection aborted.", ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    unnamed = NewConnectionError(HTTPSConnection("nas"), "Failed to resolve 'nas'")
    assert _plain(unnamed) == "Failed to resolve 'nas'"
    assert _plain(cut) == f"[Errno {errno.ECONNRESET}] Connection reset by peer"


def test_a_local_file(tmp_path: Path) -> None:
    client, heard = Client(lambda: 0.0), []
    (tmp_path / "100%+.bin").write_bytes(b"content")
    url = f"file://{tmp_path}/100%+.bin"
    part = tmp_path / "x.part"
    assert transfer(client, url, part, lambda done, whole: heard.append((done, whole)), lambda: False) is False
    assert part.read_bytes() == b"content" and heard == [(7, 7)]
    assert read_small(client, url, 100) == b"content"
    with pytest.raises(Refused, match="larger than 3 bytes"):
        read_small(client, url, 3)
    for bad in (f"file://{tmp_path}/gone", f"file://{tmp_path}"):
        with pytest.raises(Refused):
            transfer(client, bad, part, lambda *_: None, lambda: False)
