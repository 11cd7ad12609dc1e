"""The client of the admin API before something that is no server of ours: no escape reaches the terminal, and there is
no traceback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile import HOSTILE, every, is_harmless

from bootstrapper.admin_client import AdminClient, find_local, find_remote
from bootstrapper.errors import UserError

pytestmark = pytest.mark.loopback


@pytest.fixture
def answer(tmp_path: Path) -> Iterator[Callable[[bytes], AdminClient]]:
    """These bytes for every request that comes."""
    said = b""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "admin.sock"))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()

        def prepare(data: bytes) -> AdminClient:
            nonlocal said
            said = data
            return AdminClient(find_local(tmp_path))

        yield prepare
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def reply(body: bytes, status: str = "422 No") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@every
def test_a_refusal_is_told_without_what_steers_a_terminal(kind: str, answer: Callable[[bytes], AdminClient]) -> None:
    text = HOSTILE[kind]
    problem = {"line": 1, "path": text, "message": text}
    body = json.dumps({"error": text, "hint": text, "problems": [problem]}).encode()
    with pytest.raises(UserError) as refused:
        answer(reply(body)).get("/machines")
    lines = refused.value.message.split("\n")
    assert len(lines) == 2
    assert all(is_harmless(line) for line in (*lines, refused.value.hint))


@pytest.mark.parametrize(
    "said",
    [b"", b"\0" * 100, b"HTTP/1.1 200 OK\r\n\r\nx", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
     reply(b"[" * 20_000, "200 OK"), reply(b"\xff"), reply(b"[]"), reply(b"null"), reply(b'{"problems": [{}]}'),
     reply(b'{"problems": 7}'), reply(b'{"problems": "x"}'), reply(b"[" * 20_000), b"HTTP/1.1 " + b"9" * 70_000,
     b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_answer_of_ours_is_an_error_for_people(said: bytes, answer: Callable[[bytes], AdminClient]) -> None:
    with pytest.raises(UserError):
        answer(said).get("/machines")


def test_a_stream_that_turns_to_nonsense_ends(answer: Callable[[bytes], AdminClient]) -> None:
    body = b'retry: 2000\nid: 0\n\nid: 1\ndata: {"id": 1}\n\ndata: {"id":\n\ndata: {"id": 3}\n\n'
    assert list(answer(reply(body, "200 OK")).follow("/events/stream")) == [(0, None), (1, {"id": 1})]
    for said in (b"id: x\n\n", b"data: 7\n\n", b"data: {}\n\n", b'data: {"id": null}\n\n'):
        assert list(answer(reply(said, "200 OK")).follow("/events/stream")) == []


@pytest.mark.parametrize(
    "url", ["http://10.10.14.253:8480", "http://localhost.evil.com", "http://127.0.0.1@evil.com", "ftp://x", "//x", "x",
            "https://", "https://x:99999", "https://x/path", "http://[::1", "http://0.0.0.0:8480"],
)  # fmt: skip
def test_the_token_is_sent_to_no_such_place(url: str) -> None:
    with pytest.raises(UserError):
        find_remote(url, "T" * 43, None)
