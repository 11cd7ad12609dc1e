"""When a request is whole, which are refused unread, and what is left to the parser."""

from __future__ import annotations

import pytest

from bootstrapper.servers.http_intake import Intake, Refused

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /r HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


def test_nothing_yet():
    intake = Intake()
    assert (intake.empty, intake.whole) == (True, False)
    intake.feed(b"")
    assert (intake.empty, intake.whole) == (True, False)


@pytest.mark.parametrize("request_bytes", [GET, POST + b"hello"])
def test_whole_with_its_last_byte_and_not_before(request_bytes):
    intake = Intake()
    for at in range(len(request_bytes)):
        assert not intake.whole, at
        intake.feed(request_bytes[at : at + 1])
    assert intake.whole
    assert intake.take() == request_bytes
    assert (intake.empty, intake.whole) == (True, False)


def test_what_follows_comes_along():
    intake = Intake()
    intake.feed(POST + b"helloGET /next")
    assert intake.whole
    assert intake.take() == POST + b"helloGET /next"


def test_its_length_is_read_in_any_case():
    intake = Intake()
    intake.feed(b"POST / HTTP/1.1\r\ncontent-LENGTH:  3 \r\n\r\nab")
    assert not intake.whole
    intake.feed(b"c")
    assert intake.whole


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: -5", b"Content-Length: x", b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: 5 5",
     b"X-Content-Length: 99999999", b"Content-Length : 7", b"Bad Header: x"],
)  # fmt: skip
def test_what_else_is_wrong_is_for_the_parser_to_say(head):
    intake = Intake()
    intake.feed(b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\n")
    assert intake.whole


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000, "431 Request Header Fields Too Large"),
        (b"\x00" * 16385, "431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 16385 + b"\r\n\r\n", "431 Request Header Fields Too Large"),
        (b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", "413 Content Too Large"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "413 Content Too Large"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "411 Length Required"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\ntransfer-encoding : identity\r\n\r\n", "411 Length Required"),
    ],
)
def test_refused_unread(request_bytes, status):
    with pytest.raises(Refused) as caught:
        Intake(most=10).feed(request_bytes)
    assert str(caught.value) == status


def test_a_client_that_waits_to_be_told_to_go_on():
    intake = Intake()
    intake.feed(b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
    assert (intake.expects, intake.whole) == (True, False)
    intake.expects = False
    intake.feed(b"hello")
    assert (intake.expects, intake.whole) == (False, True)
    assert intake.take() == b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"


def test_one_that_did_not_wait_is_told_nothing():
    intake = Intake()
    intake.feed(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
    assert (intake.expects, intake.whole) == (False, True)
    assert intake.take() == b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
