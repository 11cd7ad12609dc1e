"""The pump: files to sockets, many at once, none waiting for another."""

from __future__ import annotations

import io
import os
import queue
import socket
import threading

import pytest

from bootstrapper.servers import http_pump
from bootstrapper.servers.http_pump import Download, Pump, PumpSocket

CONTENT = os.urandom(3 << 20)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(CONTENT)
    return path


def begin(pump, file, offset=0, count=None):
    """The client's end, and a queue that gets the outcome."""
    ours, theirs = socket.socketpair()
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    outcomes = queue.SimpleQueue()
    with file.open("rb") as opened:
        ours.sendfile(opened, offset, count)
    download = ours.take_download()
    assert ours.take_download() is None
    download.done = outcomes.put
    pump.add(download)
    return ours, theirs, outcomes


class Watched(io.FileIO):
    """A file that is told how its download goes, as the application's are."""

    watch = None


class Watch:
    def __init__(self):
        self.sent = 0
        self.over = threading.Event()

    def moved(self, count):
        self.sent += count

    def ended(self):
        self.over.set()


@pytest.mark.parametrize("reads", [len(CONTENT), 1000])
def test_a_file_is_told_how_far_its_client_is_and_that_it_is_over(file, reads):
    ours, theirs = socket.socketpair()
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    watch = Watch()
    with Watched(file) as opened:
        opened.watch = watch
        ours.sendfile(opened)
    Pump().add(ours.take_download())
    read(theirs, reads)
    theirs.close()
    assert watch.over.wait(5)
    assert (watch.sent == len(CONTENT)) == (reads == len(CONTENT))


def read(sock, count):
    data = b""
    while len(data) < count:
        block = sock.recv(1 << 20)
        if not block:
            break
        data += block
    return data


def test_all_and_a_part(file):
    pump = Pump()
    for offset, count in ((0, None), (1000, 2_000_000), (len(CONTENT) - 1, 1)):
        ours, theirs, outcomes = begin(pump, file, offset, count)
        expected = CONTENT[offset:] if count is None else CONTENT[offset : offset + count]
        assert read(theirs, len(expected)) == expected
        assert outcomes.get(timeout=5) is True
        ours.close()
        theirs.close()


def test_a_client_that_reads_nothing_holds_nobody_up(file):
    pump = Pump()
    lazy = [begin(pump, file) for _ in range(50)]
    _ours, theirs, outcomes = begin(pump, file)
    assert read(theirs, len(CONTENT)) == CONTENT
    assert outcomes.get(timeout=5) is True
    assert all(each[2].empty() for each in lazy)


def test_what_is_in_memory_goes_before_the_file(file):
    ours, theirs = socket.socketpair()
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    head = CONTENT[::-1]
    ours.sendall(head[:10])
    ours.sendall(head[10:])
    with file.open("rb") as opened:
        ours.sendfile(opened)
    outcomes = queue.SimpleQueue()
    download = ours.take_download()
    download.done = outcomes.put
    Pump().add(download)
    assert read(theirs, 2 * len(CONTENT)) == head + CONTENT
    assert outcomes.get(timeout=5) is True


def test_what_the_socket_takes_at_once_is_no_download():
    ours, _theirs = socket.socketpair()
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    ours.sendall(b"all of it")
    assert ours.take_download() is None


def test_only_so_much_is_kept_for_a_client_that_takes_nothing(monkeypatch):
    monkeypatch.setattr(http_pump, "MOST_REST", 4 << 20)
    ours, _theirs = socket.socketpair()
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    ours.sendall(CONTENT)
    with pytest.raises(BrokenPipeError):
        ours.sendall(CONTENT)


def test_a_client_that_leaves(file):
    _ours, theirs, outcomes = begin(Pump(), file)
    theirs.recv(10)
    theirs.close()
    assert outcomes.get(timeout=5) is False


def test_a_client_that_stalls_is_dropped(file, monkeypatch):
    monkeypatch.setattr(http_pump, "STALL_S", 0.5)
    _ours, theirs, outcomes = begin(Pump(), file)
    theirs.recv(10)
    assert outcomes.get(timeout=5) is False


@pytest.mark.parametrize("kept", [True, False])
def test_a_client_that_reads_steadily_is_not_dropped(monkeypatch, kept, file):
    """However long it takes: every send ends with a full socket."""
    monkeypatch.setattr(http_pump, "STALL_S", 1.0)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    outcomes = queue.SimpleQueue()
    if kept:
        ours.sendall(CONTENT)
    else:
        with file.open("rb") as opened:
            ours.sendfile(opened)
    download = ours.take_download()
    download.done = outcomes.put
    Pump().add(download)
    received = 0
    while received < len(CONTENT):
        received += len(read(theirs, 100_000))
        threading.Event().wait(0.1)
    assert outcomes.get(timeout=5) is True


def test_what_had_no_room_goes_out_when_it_is_flushed():
    """Of a stream, whose next message may be long in coming."""
    ours, theirs = socket.socketpair()
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    ours.sendall(CONTENT)
    received = len(theirs.recv(1 << 20))
    while ours.download.rest:
        ours.flush()
        received += len(theirs.recv(1 << 20))
    assert received + len(read(theirs, len(CONTENT) - received)) == len(CONTENT)
    assert ours.take_download() is None


def test_a_file_that_became_shorter(file):
    ours, theirs, outcomes = begin(Pump(), file, 0, len(CONTENT) + 1)
    got = []
    reader = threading.Thread(target=lambda: got.append(read(theirs, len(CONTENT) + 1)))
    reader.start()
    assert outcomes.get(timeout=5) is False
    ours.close()
    reader.join(5)
    assert got == [CONTENT]


def test_a_socket_closed_before_its_turn(file):
    """By the thread that answered, which saw that the client had gone; this once ended the worker."""
    pump = Pump()
    ours, theirs = socket.socketpair()
    ours = PumpSocket(ours.family, ours.type, ours.proto, ours.detach())
    outcomes = queue.SimpleQueue()
    download = Download(ours, os.open(file, os.O_RDONLY), 0, 10, outcomes.put)
    ours.close()
    theirs.close()
    pump.add(download)
    assert outcomes.get(timeout=5) is False
    with pytest.raises(OSError):
        os.fstat(download.file)
    _ours, theirs, outcomes = begin(pump, file)
    assert read(theirs, len(CONTENT)) == CONTENT
    assert outcomes.get(timeout=5) is True
