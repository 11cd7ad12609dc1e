"""What has arrived of a request, until all of it is there: only then is it worth a thread.

With a thread for each connection that has merely begun to speak, a few clients that say half a request and wait keep
everybody else out. No socket in here.
"""

from __future__ import annotations

import re

HEAD_BYTES = 16 * 1024
"A longer head is refused unread. Ours are below 2 KiB, browsers' below 8 KiB."
BODY_BYTES = 16 * 1024

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*(?=\r\n)", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)


class Refused(Exception):
    """A request that is not read to its end. Its text is the status line's: `431 Request Header Fields Too Large`."""


class Intake:
    """The bytes of one connection's next request. `most` is how long a body may be, in bytes."""

    def __init__(self, most: int = BODY_BYTES) -> None:
        self._most = most
        self._bytes = bytearray()
        self._size: int | None = None  # of the whole request, once its head is there
        self.expects = False
        """The client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1); whoever says it sets
        this back."""

    @property
    def empty(self) -> bool:
        return not self._bytes

    @property
    def whole(self) -> bool:
        """A request is there from its first byte to its last; more may have arrived behind it."""
        return self._size is not None and len(self._bytes) >= self._size

    def feed(self, data: bytes) -> None:
        """Raises Refused: a head without an end, a body without a length (RFC 9110 section 15.5.12) or too long."""
        before = max(0, len(self._bytes) - len(_END) + 1)
        self._bytes += data
        if self._size is not None:
            return
        end = self._bytes.find(_END, before)
        if end < 0:
            if len(self._bytes) > HEAD_BYTES:
                raise Refused("431 Request Header Fields Too Large")
            return
        if end > HEAD_BYTES:
            raise Refused("431 Request Header Fields Too Large")
        self._read_head(end + 2)

    def _read_head(self, end: int) -> None:
        """Whatever else is wrong with a head is for the parser to say: here it has no body."""
        head = bytes(self._bytes[:end])
        if _CODED.search(head):
            raise Refused("411 Length Required")
        lengths = _LENGTH.findall(head)
        if len(lengths) == 1 and len(lengths[0]) > 18:  # int() takes its time with very long ones
            raise Refused("413 Content Too Large")
        length = int(lengths[0]) if len(lengths) == 1 else 0
        if length > self._most:
            raise Refused("413 Content Too Large")
        size = end + 2 + length
        if length and _EXPECT.search(head):
            # Answered here, so it is nothing for the parser to answer again.
            without = _EXPECT.sub(b"", head)
            self._bytes[:end] = without
            size -= len(head) - len(without)
            self.expects = len(self._bytes) < size
        self._size = size

    def take(self) -> bytes:
        """All that arrived; what follows is the next request."""
        data = bytes(self._bytes)
        self._bytes.clear()
        self._size = None
        self.expects = False
        return data
