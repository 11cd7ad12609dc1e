"""One download by TFTP, without its socket: datagrams and instants go in, datagrams come out.

Blocks are counted from 1 without end; only on the wire are they taken modulo 65536 (after 65535 comes 0, which is what
iPXE, U-Boot and most clients expect). The peer's address and port are the caller's to check (RFC 1350 section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bootstrapper.wire import tftp

FIRST_TIMEOUT_S = 1.0
"Short, since U-Boot stalls if nobody but itself ever sends again (msoulier/tftpy#41)."
LONGEST_TIMEOUT_S = 4.0
RETRIES = 6
"Each sends data to an address that may be spoofed: few."


@dataclass(frozen=True, slots=True)
class Content:
    """What a name stands for. `read` gets an offset and a length and delivers just that, less only at the end; it
    raises OSError when it cannot."""

    size: int
    read: Callable[[int, int], bytes]


def content_of(data: bytes) -> Content:
    return Content(len(data), lambda offset, length: data[offset : offset + length])


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with the client. The defaults are RFC 1350's."""

    block_size: int = 512
    window: int = 1
    timeout_s: float = FIRST_TIMEOUT_S
    oack: bytes = b""
    "The option acknowledgement to send first; empty: no option was agreed, the data itself is the answer."


class Outcome(StrEnum):
    SENT = "sent"
    UNCONFIRMED = "sent, last block not acknowledged"
    "A success as well: some clients never send the last ACK (RFC 1350 section 6)."
    PROBED = "probed"
    "The client only wanted the options' values: edk2 asks for the size and refuses the rest with ERROR 8."
    ABORTED = "aborted by the machine"
    TIMED_OUT = "timed out"
    FAILED = "could not be read"
    REPLACED = "asked again by the machine"
    STOPPED = "stopped"


class Transfer:
    """`start`, `receive` and `tick` return what is to be sent now. `outcome` is set once it is over."""

    __slots__ = (
        "_acked",
        "_again",
        "_block_size",
        "_expected",
        "_first",
        "_opening",
        "_read",
        "_ready",
        "_ready_ack",
        "_ready_after",
        "_retries",
        "_sent",
        "_size",
        "_timeout_s",
        "_total",
        "_window",
        "due_at",
        "error",
        "finishing",
        "outcome",
        "progress_at",
        "resent",
    )

    def __init__(self, content: Content, terms: Terms) -> None:
        self._read = content.read
        self._size = content.size
        self._block_size = terms.block_size
        self._window = terms.window
        self._timeout_s = terms.timeout_s
        self._total = content.size // terms.block_size + 1  # an exact multiple ends with an empty block
        self._first = terms.oack
        self._opening = bool(terms.oack)
        self._expected = b""
        "The ACK for all that was sent: the one comparison that nearly every datagram needs."
        self._ready: Sequence[bytes] = ()
        self._ready_after = -1
        self._ready_ack = b""
        "Built ahead: the datagrams after block `_ready_after`, and the ACK that all of them will bring."
        self._acked = 0
        self._sent = 0
        self._again = False
        self._retries = 0
        self.due_at = 0.0
        "Monotonic; when `tick` has something to do."
        self.progress_at = 0.0
        "Monotonic; the last ACK that moved the transfer, or its start."
        self.resent = 0
        "Blocks sent again, by timer or at a window's gap."
        self.finishing = False
        "Everything was sent; only the last ACK is awaited."
        self.outcome: Outcome | None = None
        self.error: tftp.Error | None = None
        "The ERROR that the client sent, when one ended it."

    @property
    def started(self) -> bool:
        """Whether the client has acknowledged anything yet."""
        return self._acked > 0 or (bool(self._first) and not self._opening)

    @property
    def block(self) -> int:
        """The last block acknowledged, counted without rollover."""
        return self._acked

    @property
    def bytes_acked(self) -> int:
        return min(self._acked * self._block_size, self._size)

    def start(self, now: float) -> Sequence[bytes]:
        self.progress_at = now
        return self._send(now)

    def receive(self, datagram: bytes, now: float) -> Sequence[bytes]:
        """A datagram from the transfer's own peer."""
        if datagram == self._expected:
            self._again = False
            self._acked = self._sent
        elif not self._receive_unexpected(datagram, now):
            return ()
        self.progress_at = now
        if self._acked == self._total:
            self.stop(Outcome.SENT)
            return ()
        return self._send(now)

    def prepare(self) -> None:
        """Build what the next ACK will most likely ask for, while it is on its way."""
        after = self._sent
        if after != self._ready_after and after < self._total:
            try:
                self._build(after)
            except OSError:
                self._ready_after = -1  # told when it is needed

    def tick(self, now: float) -> Sequence[bytes]:
        """Send again what is unacknowledged, if its time has come."""
        if self.outcome is not None or now < self.due_at:
            return ()
        if self._retries == RETRIES:
            self.stop(Outcome.UNCONFIRMED if self.finishing else Outcome.TIMED_OUT)
            return ()
        retries = self._retries + 1
        datagrams = self._send(now)
        self._retries = retries
        longest = max(LONGEST_TIMEOUT_S, self._timeout_s)
        self.due_at = now + min(self._timeout_s * 2**retries, longest)
        return datagrams

    def ask_again(self, now: float) -> Sequence[bytes]:
        """The request came again from the same port: the first answer once more, while nothing was acknowledged
        (RFC 1350 section 4; GRUB resends its request from the same port)."""
        if self.started or self.outcome is not None:
            return ()
        return self._send(now)

    def stop(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._expected = b""

    def _receive_unexpected(self, datagram: bytes, now: float) -> bool:
        """Whether something is to be sent now."""
        if self.outcome is not None:
            return False
        if datagram[:2] != tftp.ACK or len(datagram) < 4:
            self._receive_other(datagram)
            return False
        number = int.from_bytes(datagram[2:4])
        if self._opening:
            self._opening = bool(number)
            return not number
        ahead = (number - self._acked) & 0xFFFF
        if not ahead:
            return self._is_plea()
        if ahead > self._sent - self._acked:
            return False  # outside the window: an old ACK that was delayed
        # RFC 7440: an ACK inside the window tells of a gap behind it, so the next window begins there, and what the
        # receiver still says about the rest of the old one must not bring a third copy.
        self._again = self._acked + ahead < self._sent
        self._acked += ahead
        return True

    def _is_plea(self) -> bool:
        """An ACK for what was acknowledged before. With one block at a time it brings nothing: else one duplicate
        doubles all that follows (Sorcerer's Apprentice, RFC 1123 section 4.2.3.1). With a window it is how the receiver
        says that the first block was lost (RFC 7440 section 4), believed once."""
        if self._window == 1 or self._again:
            return False
        self._again = True
        return True

    def _send(self, now: float) -> Sequence[bytes]:
        """The OACK, or the window after the last acknowledged block."""
        self._retries = 0
        self.due_at = now + self._timeout_s
        if self._opening:
            return (self._first,)
        block = self._acked
        try:
            if block != self._ready_after:
                self._build(block)
        except OSError:
            self.stop(Outcome.FAILED)
            return (tftp.build_packet(tftp.Error(tftp.ErrorCode.NOT_DEFINED, "file changed while it was sent")),)
        ready = self._ready
        last = block + len(ready)
        if self._sent > block:
            self.resent += min(self._sent, last) - block
        if last > self._sent:
            self._sent = last
            self.finishing = last == self._total
        self._expected = self._ready_ack
        return ready

    def _build(self, after: int) -> None:
        """The window after block `after`."""
        self._ready_after = after
        size = self._block_size
        read = self._read
        if self._window == 1:  # the same as below, at a third of its time
            number = ((after + 1) & 0xFFFF).to_bytes(2)
            self._ready = (tftp.DATA + number + read(after * size, size),)
            self._ready_ack = tftp.ACK + number
            return
        last = min(after + self._window, self._total)
        self._ready = [
            tftp.DATA + ((block + 1) & 0xFFFF).to_bytes(2) + read(block * size, size) for block in range(after, last)
        ]
        self._ready_ack = tftp.ACK + (last & 0xFFFF).to_bytes(2)

    def _receive_other(self, datagram: bytes) -> None:
        """Only an ERROR means anything to a sender. It is never answered (RFC 1350 section 7)."""
        if datagram[:2] != tftp.ERROR or len(datagram) < 4:
            return
        self.error = tftp.Error(int.from_bytes(datagram[2:4]), tftp.clean_text(datagram[4:]))
        if self._opening:
            self.stop(Outcome.PROBED)
        else:
            closed = self.finishing and self.error.code == tftp.ErrorCode.NOT_DEFINED  # GRUB's way to say goodbye
            self.stop(Outcome.UNCONFIRMED if closed else Outcome.ABORTED)
