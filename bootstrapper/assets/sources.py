"""Where one URL may be had from: the admin's own sources first, then the publisher's. Pure.

A source is a directory (a mirror, a USB disk) or a base URL, laid out like our assets or like the publishers' servers
(HOST/PATH): both are asked.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from bootstrapper.errors import UserError


def parse_source(text: str) -> str:
    """A source as the admin gave it. Raises UserError for what is neither a URL nor a directory's path."""
    scheme = urlsplit(text).scheme
    if "://" in text and scheme not in ("http", "https", "file"):
        raise UserError(f"--source {text}: {scheme}:// cannot be read from", "give https://…, http://… or a directory")
    if "://" in text and scheme != "file" and not urlsplit(text).hostname:
        raise UserError(f"--source {text} names no host", "give https://HOST/PATH, or a directory")
    return (text if "://" in text else f"file://{text}").rstrip("/")


def list_places(name: str, url: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """URLs to ask, in this order, for what is called `name` here and is `url` at its publisher's ("": unknown)."""
    path = f"{urlsplit(url).netloc}{urlsplit(url).path}" if url else ""
    places = [f"{source}/{each}" for source in sources for each in (name, path) if each]
    return tuple(dict.fromkeys([*places, *([url] if url else [])]))


def list_provers(name: str, url: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """The same places for a checksum file, its publisher's own first: a source may only vouch where that is silent."""
    return tuple(dict.fromkeys([url, *list_places(name, url, sources)]))
