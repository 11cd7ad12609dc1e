"""A download against a client made of a list: time is a number, loss is dropping an element."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bootstrapper.answers.transfer import Content, Outcome, Terms, Transfer, content_of

OACK = b"\0\6tsize\x003\0"
ACK0 = b"\0\4\0\0"


def ack(block: int) -> bytes:
    return b"\0\4" + block.to_bytes(2)


def data(block: int, body: bytes) -> bytes:
    return b"\0\3" + block.to_bytes(2) + body


def receive_all(
    content: bytes, terms: Terms, lost: Callable[[int], bool] = lambda _n: False, first_block: int = 0
) -> tuple[bytes, Transfer, float]:
    """A client by RFC 7440: ACKs each full window, the last in order at a gap, and asks again by timer. `lost` says of
    the n-th datagram, in either direction, whether it vanishes."""
    now, count, got, want, in_window = 0.0, 0, bytearray(), 1, 0
    transfer = Transfer(content_of(content), terms)
    queue = list(transfer.start(now))
    for _ in range(200_000):
        if transfer.outcome is not None:
            return bytes(got), transfer, now
        if not queue:
            now = transfer.due_at
            in_window = 0
            queue = list(transfer.tick(now))
            continue
        datagram = queue.pop(0)
        count += 1
        if lost(count):
            continue
        reply = None
        if datagram[:2] == b"\0\6":
            reply = ACK0
        elif datagram[2:4] == (want & 0xFFFF).to_bytes(2):
            got += datagram[4:]
            want += 1
            in_window += 1
            if in_window == terms.window or len(datagram) < 4 + terms.block_size:
                reply = ack((want - 1) & 0xFFFF)
        else:  # a gap, or a copy
            reply = ack((want - 1) & 0xFFFF)
        if reply:
            in_window = 0
            count += 1
            if not lost(count):
                queue += transfer.receive(reply, now)
    raise AssertionError("no end")


@pytest.mark.parametrize(
    ("size", "blocks"), [(0, [0]), (1, [1]), (511, [511]), (512, [512, 0]), (513, [512, 1]), (1024, [512, 512, 0])]
)
def test_the_last_block_is_short(size: int, blocks: list[int]) -> None:
    content = bytes(range(256)) * 4
    transfer = Transfer(content_of(content[:size]), Terms())
    sent = list(transfer.start(0))
    for number in range(1, len(blocks) + 1):
        assert len(sent) == number
        sent += transfer.receive(ack(number), 0)
    assert sent == [data(n + 1, content[512 * n : 512 * n + length]) for n, length in enumerate(blocks)]
    assert transfer.outcome is Outcome.SENT
    assert transfer.bytes_acked == size


def test_an_oack_waits_for_ack_0() -> None:
    transfer = Transfer(content_of(b"abc"), Terms(oack=OACK))
    assert list(transfer.start(0)) == [OACK]
    assert list(transfer.receive(ack(1), 0)) == []
    assert not transfer.started
    assert list(transfer.receive(ACK0, 0)) == [data(1, b"abc")]
    assert transfer.started


def test_a_lost_ack_0_brings_the_oack_again() -> None:
    transfer = Transfer(content_of(b"abc"), Terms(oack=OACK))
    transfer.start(10.0)
    assert list(transfer.tick(10.9)) == []
    assert list(transfer.tick(11.0)) == [OACK]


def test_a_duplicate_ack_sends_nothing() -> None:
    """Sorcerer's Apprentice, RFC 1123 section 4.2.3.1."""
    transfer = Transfer(content_of(bytes(2000)), Terms())
    transfer.start(0)
    assert len(transfer.receive(ack(1), 0)) == 1
    assert list(transfer.receive(ack(1), 0)) == []
    assert list(transfer.receive(ack(1), 0.5)) == []
    assert list(transfer.tick(1.0)) == [data(2, bytes(512))]


def test_a_duplicate_of_ack_0_sends_nothing() -> None:
    transfer = Transfer(content_of(b"abc"), Terms(oack=OACK))
    transfer.start(0)
    transfer.receive(ACK0, 0)
    assert list(transfer.receive(ACK0, 0)) == []


def test_the_timer_grows_and_ends() -> None:
    transfer = Transfer(content_of(bytes(2000)), Terms())
    transfer.start(0)
    sent_at = []
    while transfer.outcome is None:
        now = transfer.due_at
        if transfer.tick(now):
            sent_at.append(now)
    assert sent_at == [1, 3, 7, 11, 15, 19]
    assert transfer.outcome is Outcome.TIMED_OUT
    assert transfer.due_at == 23
    assert transfer.resent == 6
    assert list(transfer.receive(ack(1), 30)) == []


def test_the_timer_begins_again_with_each_block() -> None:
    transfer = Transfer(content_of(bytes(2000)), Terms())
    transfer.start(0)
    transfer.tick(1.0)
    transfer.tick(3.0)
    transfer.receive(ack(1), 3.5)
    assert transfer.due_at == 4.5


def test_the_clients_timeout_is_kept() -> None:
    transfer = Transfer(content_of(bytes(2000)), Terms(timeout_s=20.0))
    transfer.start(0)
    assert list(transfer.tick(19.9)) == []
    assert len(transfer.tick(20.0)) == 1
    assert transfer.due_at == 40.0


def test_a_last_block_without_ack_is_a_success() -> None:
    transfer = Transfer(content_of(b"abc"), Terms())
    transfer.start(0)
    while transfer.outcome is None:
        transfer.tick(transfer.due_at)
    assert transfer.outcome is Outcome.UNCONFIRMED


def test_an_ack_from_the_future_is_dropped() -> None:
    transfer = Transfer(content_of(bytes(5000)), Terms())
    transfer.start(0)
    assert list(transfer.receive(ack(2), 0)) == []
    assert list(transfer.receive(ack(65535), 0)) == []
    assert transfer.block == 0


@pytest.mark.parametrize(
    "datagram", [b"", b"\0", b"\0\4", b"\0\4\0", b"\0\3\0\1x", b"\0\1x\0octet\0", b"\0\6", b"\xff" * 9]
)
def test_anything_else_changes_nothing(datagram: bytes) -> None:
    transfer = Transfer(content_of(bytes(5000)), Terms())
    transfer.start(0)
    assert list(transfer.receive(datagram, 0)) == []
    assert transfer.outcome is None
    assert list(transfer.receive(ack(1), 0)) == [data(2, bytes(512))]


def test_edk2_probes_the_size_and_refuses() -> None:
    transfer = Transfer(content_of(b"abc"), Terms(oack=OACK))
    transfer.start(0)
    assert list(transfer.receive(b"\0\5\0\x08User aborted the transfer\0", 0)) == []
    assert transfer.outcome is Outcome.PROBED


def test_an_error_ends_it_unanswered() -> None:
    transfer = Transfer(content_of(bytes(5000)), Terms())
    transfer.start(0)
    transfer.receive(ack(1), 0)
    assert list(transfer.receive(b"\0\5\0\3disk full\0", 0)) == []
    assert transfer.outcome is Outcome.ABORTED
    assert transfer.error is not None
    assert (transfer.error.code, transfer.error.text, transfer.block) == (3, "disk full", 1)
    assert list(transfer.tick(99)) == []


def test_grub_says_goodbye_with_error_0() -> None:
    transfer = Transfer(content_of(b"abc"), Terms())
    transfer.start(0)
    transfer.receive(b"\0\5\0\0closed\0", 0)
    assert transfer.outcome is Outcome.UNCONFIRMED


def test_the_request_again_brings_the_first_answer_until_it_was_acknowledged() -> None:
    transfer = Transfer(content_of(bytes(5000)), Terms(oack=OACK))
    transfer.start(0)
    assert list(transfer.ask_again(0.1)) == [OACK]
    transfer.receive(ACK0, 0.2)
    assert list(transfer.ask_again(0.3)) == []


def test_block_numbers_roll_over_to_0() -> None:
    content = bytes(range(256)) * 2100  # 537,600 bytes: 67,201 blocks of 8
    got, transfer, _ = receive_all(content, Terms(block_size=8))
    assert got == content
    assert transfer.block == 67201
    assert transfer.outcome is Outcome.SENT


def test_rollover_on_the_wire() -> None:
    transfer = Transfer(content_of(bytes(8 * 65540)), Terms(block_size=8))
    sent = list(transfer.start(0))
    for block in range(1, 65537):
        sent = list(transfer.receive(ack(block & 0xFFFF), 0))
        if block in (65534, 65535, 65536):
            assert sent[0][2:4] == {65534: b"\xff\xff", 65535: b"\0\0", 65536: b"\0\1"}[block]


def test_rollover_with_a_window() -> None:
    content = bytes(range(251)) * 2200
    got, transfer, _ = receive_all(content, Terms(block_size=8, window=16))
    assert got == content
    assert transfer.resent == 0


def test_a_window_is_sent_at_once() -> None:
    transfer = Transfer(content_of(b"abcdefghij" * 4), Terms(block_size=8, window=4, oack=OACK))
    transfer.start(0)
    assert list(transfer.receive(ACK0, 0)) == [
        data(1, b"abcdefgh"),
        data(2, b"ijabcdef"),
        data(3, b"ghijabcd"),
        data(4, b"efghijab"),
    ]
    assert list(transfer.receive(ack(4), 0)) == [data(5, b"cdefghij"), data(6, b"")]
    assert transfer.finishing


def test_an_ack_inside_the_window_goes_on_behind_it() -> None:
    """RFC 7440 section 4; uftpd#44 ignored it and stalled."""
    transfer = Transfer(content_of(bytes(8 * 20)), Terms(block_size=8, window=4, oack=OACK))
    transfer.start(0)
    transfer.receive(ACK0, 0)
    assert [each[3] for each in transfer.receive(ack(2), 0)] == [3, 4, 5, 6]
    # the receiver answers what was still under way of the old window with the same ACK: no third copy
    assert list(transfer.receive(ack(2), 0)) == []
    assert [each[3] for each in transfer.receive(ack(6), 0)] == [7, 8, 9, 10]


def test_the_first_block_of_a_window_lost_is_believed_once() -> None:
    transfer = Transfer(content_of(bytes(8 * 20)), Terms(block_size=8, window=4, oack=OACK))
    transfer.start(0)
    transfer.receive(ACK0, 0)
    transfer.receive(ack(4), 0)
    assert [each[3] for each in transfer.receive(ack(4), 0)] == [5, 6, 7, 8]
    assert list(transfer.receive(ack(4), 0)) == []
    assert transfer.resent == 4


@pytest.mark.parametrize("window", [1, 2, 4, 16, 32])
@pytest.mark.parametrize("percent", [1, 5, 10])
def test_random_loss(window: int, percent: int) -> None:
    content = bytes(range(256)) * 40
    terms = Terms(block_size=64, window=window, oack=OACK if window > 1 else b"")
    chance = random.Random(window * percent)
    got, transfer, _ = receive_all(content, terms, lambda _n: chance.random() * 100 < percent)
    assert got == content
    assert transfer.outcome in (Outcome.SENT, Outcome.UNCONFIRMED)
    assert transfer.resent > 0


@pytest.mark.parametrize("window", [1, 4])
def test_the_loss_of_any_one_datagram(window: int) -> None:
    content = bytes(range(200))
    for gone in range(1, 40):
        got, transfer, seconds = receive_all(
            content, Terms(block_size=16, window=window, oack=OACK), lambda n, gone=gone: n == gone
        )
        assert got == content
        assert transfer.outcome in (Outcome.SENT, Outcome.UNCONFIRMED)
        assert seconds <= 23


def test_a_file_that_changed_ends_with_an_error() -> None:
    def read(offset: int, length: int) -> bytes:
        if offset:
            raise OSError("shorter")
        return bytes(length)

    transfer = Transfer(Content(5000, read), Terms())
    transfer.start(0)
    assert list(transfer.receive(ack(1), 0)) == [b"\0\5\0\0file changed while it was sent\0"]
    assert transfer.outcome is Outcome.FAILED
