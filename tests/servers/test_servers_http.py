"""The HTTP server on the wire: what firmware parses, what a hostile client may not do, TLS."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from http_server import listen, serving, start, stop, wait_until
from rack import NODE1_MAC

from bootstrapper.pki.authority import Identity, load_identity
from bootstrapper.servers import http_worker
from bootstrapper.servers.http_pump import Pump

pytestmark = pytest.mark.loopback
IMAGE = bytes(range(256)) * 4096


def exchange(port: int, request: bytes, context: ssl.SSLContext | None = None) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        sock = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
        sock.sendall(request)
        reply = b""
        while block := sock.recv(65536):
            reply += block
        return reply


def get(port: int, target: str, *headers: str, context: ssl.SSLContext | None = None) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    return exchange(port, "\r\n".join(lines).encode("latin-1"), context)


def boot(port: int, context: ssl.SSLContext | None = None) -> str:
    """The token of a boot of node1."""
    script = get(port, f"/boot.ipxe?mac={NODE1_MAC}&arch=7", context=context).decode()
    return script.partition("/m/")[2].partition("/")[0]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("http")
    (directory / "assets" / "flatcar").mkdir(parents=True)
    (directory / "assets" / "flatcar" / "image.bin").write_bytes(IMAGE)
    (directory / "assets-evil").mkdir()
    (directory / "assets-evil" / "secret").write_text("evil")
    (directory / "assets" / "link").symlink_to("/etc/passwd")
    os.mkfifo(directory / "assets" / "fifo")
    (directory / "assets" / "ca.key").write_text("key")
    (directory / "assets" / ".hidden").write_text("hidden")
    return directory


@pytest.fixture(scope="module")
def port(directory: Path) -> Iterator[int]:
    with serving(directory) as port:
        yield port


@pytest.fixture(scope="module")
def identity(directory: Path) -> Identity:
    return load_identity(directory / "pki", "bootstrapper.prod.example.com", [IPv4Address("127.0.0.1")], time.time())


@pytest.fixture(scope="module")
def tls_port(directory: Path, identity: Identity) -> Iterator[int]:
    with serving(directory, (identity.certificate, identity.key)) as port:
        yield port


def test_headers_are_spelt_as_grub_reads_them(port):
    """GRUB compares `Content-Length: ` exactly; lower case gives it an empty file (rhboot/grub2#216)."""
    for target in (f"/boot.ipxe?mac={NODE1_MAC}&arch=7", "/assets/flatcar/image.bin"):
        head, _, body = get(port, target).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 OK"
        assert f"Content-Length: {len(body)}".encode() in lines
        names = [line.split(b":")[0] for line in lines[1:]]
        assert all(word[:1].isupper() for name in names for word in name.split(b"-"))
        assert b"gunicorn" not in head


def test_an_asset_arrives_whole_and_in_part(port):
    head, _, body = get(port, "/assets/flatcar/image.bin").partition(b"\r\n\r\n")
    assert body == IMAGE
    assert b"\r\nAccept-Ranges: bytes" in head
    head, _, body = get(port, "/assets/flatcar/image.bin", "Range: bytes=100-355").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 Partial Content")
    assert b"\r\nContent-Range: bytes 100-355/1048576" in head
    assert body == IMAGE[100:356]


def test_two_requests_share_a_connection(port):
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        for _ in range(2):
            sock.sendall(b"HEAD /assets/flatcar/image.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = sock.recv(65536)
            assert reply.startswith(b"HTTP/1.1 200 OK")
            assert b"Content-Length: 1048576" in reply


@pytest.mark.parametrize(
    "target",
    ["/assets/../state.db", "/assets/%2e%2e/state.db", "/assets/%252e%252e/state.db", "/assets/flatcar/../../state.db",
     "/assets//etc/passwd", "/assets/..%2fstate.db", "/assets/..\\state.db", "/assets/%5c..%5cstate.db",
     "/assets-evil/secret", "/assets/../assets-evil/secret", "/assets/link", "/assets/fifo", "/assets/ca.key",
     "/assets/.hidden", "/assets/flatcar", "/assets/flatcar/", "/assets/", "/assets", "/assets/%00", "/assets/C:\\x",
     "/assets/flatcar/image.bin%00", "/assets/flatcar/image.bin/", "/assets/flatcar/IMAGE.BIN", "/assets/" + "a" * 300,
     "/assets/%c0%ae%c0%ae/state.db", "/assets/proc/self/environ", "/assets/flatcar/image.bin%20"],
)  # fmt: skip
def test_no_name_leaves_the_assets(port, target):
    reply = get(port, target)
    assert reply.startswith(b"HTTP/1.1 404 NOT FOUND")
    assert reply.endswith(b"\r\n\r\nnot found\n")


@pytest.mark.parametrize("target", ["//boot.ipxe", "/boot.ipxe", "///boot.ipxe"])
def test_no_redirect_for_doubled_slashes(port, target):
    assert get(port, f"{target}?mac={NODE1_MAC}&arch=7").startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x00\x01\x02\x03\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
     b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
     b"POST /m/x/report HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 1\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60 + b"\r\n\r\n"],
)  # fmt: skip
def test_what_is_not_http_is_refused_and_the_server_goes_on(port, request_bytes):
    reply = exchange(port, request_bytes)
    assert reply == b"" or 400 <= int(reply.split()[1]) < 502
    assert not reply.startswith(b"HTTP/1.1 500")
    assert get(port, "/healthz").startswith(b"HTTP/1.1 200 OK")


def test_malformed_requests_are_counted(port):
    exchange(port, b"GET / HTTP/9.9\r\n\r\n")
    assert b'bootstrapper_http_refused_total{reason="malformed request"}' in get(port, "/metrics")


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl", "Forwarded: proto=https"],
)
def test_no_header_makes_plain_http_pass_for_tls(directory, port, header):
    token = boot(port)
    assert get(port, f"/m/{token}/install", header).startswith(b"HTTP/1.1 200 OK")
    assert get(port, f"/m/{token}/config", header).startswith(b"HTTP/1.1 404")


def test_no_header_changes_who_asks(port):
    headers = ("X-Forwarded-For: 127.0.0.9", "X-Real-IP: 127.0.0.9", "Forwarded: for=127.0.0.9")
    assert b"installing" in get(port, f"/boot.ipxe?mac={NODE1_MAC}&arch=7", *headers)


def test_a_slow_client_is_cut_off(directory):
    with serving(directory, request_s=1.0) as port:
        slow = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(4)]
        for sock in slow:
            sock.sendall(b"GET / HTTP/1.1\r\n")
        started = time.monotonic()
        for sock in slow:
            sock.settimeout(6)
            assert sock.recv(100) == b""
        assert time.monotonic() - started < 5
        assert get(port, "/healthz").startswith(b"HTTP/1.1 200 OK")
        for sock in slow:
            sock.close()


SILENT = [b"", b"GET /", b"POST /m/x/report HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf"]


@pytest.mark.parametrize("said", SILENT)
def test_clients_that_say_half_of_it_hold_no_thread(directory, said):
    with listen() as listener, contextlib.ExitStack() as stack:
        stack.callback(stop, start(directory, listener, threads=2))
        port = listener.getsockname()[1]
        for _ in range(4):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 5)).sendall(said)
        started = time.monotonic()
        assert get(port, "/healthz").startswith(b"HTTP/1.1 200 OK")
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("said", [None, *SILENT])
def test_nor_do_they_over_tls(directory, identity, said):
    """None: they do not even say what TLS they speak."""
    context = client_context(identity)
    with listen() as listener, contextlib.ExitStack() as stack:
        stack.callback(stop, start(directory, listener, (identity.certificate, identity.key), threads=2))
        port = listener.getsockname()[1]
        for _ in range(4):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            if said is None:
                sock.sendall(b"\x16\x03\x01")
            else:
                stack.enter_context(context.wrap_socket(sock, server_hostname="127.0.0.1")).sendall(said)
        started = time.monotonic()
        assert get(port, "/healthz", context=context).startswith(b"HTTP/1.1 200 OK")
        assert time.monotonic() - started < 4


def ask_from(address: str, port: int, target: str) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(5)
    sock.bind((address, 0))
    sock.connect(("127.0.0.1", port))
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return sock


def test_one_address_has_its_share_of_the_threads_and_no_more(directory, tmp_path):
    """Here a quarter of eight: its third request waits, another address' is answered."""

    def make_slow_app():
        def answer(environ, start_response):
            if environ["PATH_INFO"] == "/slow":
                (tmp_path / f"asked{time.monotonic_ns()}").touch()
                wait_until((tmp_path / "go").exists)
            start_response("204 No Content", [])
            return []

        return answer

    with listen() as listener, contextlib.ExitStack() as stack:
        stack.callback(stop, start(directory, listener, threads=8, make=make_slow_app))
        port = listener.getsockname()[1]
        slow = [stack.enter_context(ask_from("127.0.0.1", port, "/slow")) for _ in range(4)]
        wait_until(lambda: len(list(tmp_path.glob("asked*"))) == 2)
        with ask_from("127.0.0.2", port, "/fast") as other:
            assert other.recv(100).startswith(b"HTTP/1.1 204 ")
        assert len(list(tmp_path.glob("asked*"))) == 2
        (tmp_path / "go").touch()
        for sock in slow:
            assert sock.recv(100).startswith(b"HTTP/1.1 204 ")


def test_requests_that_wait_for_their_share_are_answered_in_the_end(directory, identity):
    context = client_context(identity)
    with listen() as listener, contextlib.ExitStack() as stack:
        stack.callback(stop, start(directory, listener, (identity.certificate, identity.key), threads=1))
        port = listener.getsockname()[1]
        socks = []
        for _ in range(4):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            socks.append(stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1")))
        for sock in socks:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        for sock in socks:
            assert sock.recv(15) == b"HTTP/1.1 200 OK"


def test_two_requests_in_one_tls_record(tls_port, identity):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    reply = exchange(tls_port, request + last, client_context(identity))
    assert reply.count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_waits_to_be_told_to_go_on(port):
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"POST /m/x/report HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert sock.recv(1000).startswith(b"HTTP/1.1 404 NOT FOUND")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"POST /m/x/report HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411 Length Required"),
     (b"POST /m/x/report HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", b"413 Content Too Large"),
     (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000, b"431 Request Header Fields Too Large")],
)  # fmt: skip
def test_refused_before_it_is_read(port, request_bytes, status):
    assert exchange(port, request_bytes).startswith(b"HTTP/1.1 " + status)


def test_a_client_that_does_not_close_holds_nobody_up(port):
    """gunicorn waits for it in its main loop; ours does not."""
    held = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(4)]
    for sock in held:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    time.sleep(0.2)
    started = time.monotonic()
    assert get(port, "/healthz").startswith(b"HTTP/1.1 200 OK")
    assert time.monotonic() - started < 1.9
    for sock in held:
        sock.close()


def hold(port: int) -> socket.socket:
    """A connection that is kept. What tried before whether the server is there may still be counted."""
    until = time.monotonic() + 10
    while True:
        sock = socket.create_connection(("127.0.0.1", port), 5)
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            if sock.recv(1000).startswith(b"HTTP/1.1 200 OK"):
                return sock
        sock.close()
        assert time.monotonic() < until


def test_one_address_holds_only_so_many_connections(directory):
    with serving(directory) as port:
        held = [hold(port) for _ in range(6)]
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 5) as more:
            more.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            if more.recv(100) == b"":
                raise OSError("closed")
        for sock in held:
            sock.close()
        wait_until(lambda: get_or_nothing(port, "/healthz").startswith(b"HTTP/1.1 200 OK"))


def get_or_nothing(port: int, target: str) -> bytes:
    try:
        return get(port, target)
    except OSError:
        return b""


@pytest.fixture
def big(directory):
    """Larger than what sockets buffer."""
    path = directory / "assets" / "big.bin"
    with path.open("wb") as file:
        file.truncate(48 << 20)
    return "/assets/big.bin"


@contextmanager
def downloading(port: int, target: str, context: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
    """A client that has asked, has its answer before it and reads no more."""
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        plain.settimeout(10)
        plain.connect(("127.0.0.1", port))
        sock = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if context is None:
            assert sock.recv(15, socket.MSG_PEEK) == b"HTTP/1.1 200 OK"
        else:
            assert sock.recv(1) == b"H"
        yield sock


def test_a_download_goes_on_while_the_server_is_replaced(directory, big):
    with listen() as listener:
        port = listener.getsockname()[1]
        old = start(directory, listener)
        with downloading(port, big) as sock:
            os.kill(old, signal.SIGTERM)
            new = start(directory, listener)
            try:
                assert get(port, "/healthz").startswith(b"HTTP/1.1 200 OK")
                received = 0
                while received < (48 << 20):
                    received += len(sock.recv(1 << 20))
            finally:
                stop(new)
        wait_until(lambda: os.waitpid(old, os.WNOHANG) != (0, 0))


@pytest.mark.parametrize("secured", [False, True])
def test_stalled_downloads_hold_no_thread(directory, identity, big, secured):
    context = client_context(identity) if secured else None
    with listen() as listener, contextlib.ExitStack() as stack:
        pid = start(directory, listener, (identity.certificate, identity.key) if secured else None, threads=2)
        stack.callback(stop, pid)
        port = listener.getsockname()[1]
        for _ in range(4):
            stack.enter_context(downloading(port, big, context))
        assert get(port, "/healthz", context=context).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("secured", [False, True])
def test_an_answer_larger_than_what_the_socket_takes_holds_no_thread(directory, identity, secured):
    """Not a file: what is said about a machine, say, to a client that does not read it."""
    tls, context = ((identity.certificate, identity.key), client_context(identity)) if secured else (None, None)
    body = bytes(range(256)) * 65536

    def make_wordy_app():
        def answer(environ, start_response):
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body[at : at + 100_000] for at in range(0, len(body), 100_000)]

        return answer

    with listen() as listener, contextlib.ExitStack() as stack:
        stack.callback(stop, start(directory, listener, tls, threads=1, make=make_wordy_app))
        port = listener.getsockname()[1]
        for _ in range(3):
            stack.enter_context(downloading(port, "/", context))
        reply = get(port, "/", context=context)
        assert reply.partition(b"\r\n\r\n")[2] == body


def make_halting_app():
    """Its client may be gone before it has said all."""

    def answer(environ, start_response):
        start_response("200 OK", [("Content-Length", "9000000")])
        for _ in range(9):
            time.sleep(0.05)
            yield b"x" * 1_000_000

    return answer


@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize("way", ["reset", "close", "half"])
def test_clients_that_go_before_their_answer_end_nothing(directory, identity, secured, way):
    tls, context = ((identity.certificate, identity.key), client_context(identity)) if secured else (None, None)
    with listen() as listener, contextlib.ExitStack() as stack:
        pid = start(directory, listener, tls, threads=4, make=make_halting_app)
        stack.callback(stop, pid)
        port = listener.getsockname()[1]
        assert get(port, "/", context=context).startswith(b"HTTP/1.1 200 OK")
        (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for pause in (0.0, 0.02, 0.12, 0.3):
            plain = socket.create_connection(("127.0.0.1", port), 5)
            sock = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(pause)
            if way == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if way == "half":
                socket.socket.shutdown(sock, socket.SHUT_WR)  # without TLS' own goodbye
                time.sleep(0.3)
            sock.close()
        time.sleep(0.8)
        assert get(port, "/", context=context).startswith(b"HTTP/1.1 200 OK")
        assert Path(f"/proc/{pid}/task/{pid}/children").read_text().split() == [worker]


def test_a_length_of_twenty_digits_holds_no_thread(directory):
    with listen() as listener, contextlib.ExitStack() as stack:
        stack.callback(stop, start(directory, listener, threads=1))
        port = listener.getsockname()[1]
        long = b"POST /m/x/report HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"
        assert exchange(port, long).startswith(b"HTTP/1.1 413 ")
        assert get(port, "/healthz").startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("said", [b"GET / HTTP/9.9\r\n\r\n", b"GET /fault HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_client_that_does_not_say_goodbye_holds_nobody_up(directory, identity, said):
    """Over TLS, after a request that was refused or that failed."""

    def make_faulty_app():
        def answer(environ, start_response):
            if environ["PATH_INFO"] == "/fault":
                raise RuntimeError("a fault of ours")
            start_response("204 No Content", [])
            return []

        return answer

    context = client_context(identity)
    with listen() as listener, contextlib.ExitStack() as stack:
        stack.callback(stop, start(directory, listener, (identity.certificate, identity.key), make=make_faulty_app))
        port = listener.getsockname()[1]
        plain = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        silent = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
        silent.sendall(said)
        assert silent.recv(9).startswith(b"HTTP/1.1")
        assert get(port, "/", context=context).startswith(b"HTTP/1.1 204 ")


def test_tls_is_closed_with_a_goodbye(tls_port, identity):
    """Without close_notify a strict client takes an answer for cut off (RFC 8446 section 6.1)."""
    with socket.create_connection(("127.0.0.1", tls_port), 5) as plain:
        sock = client_context(identity).wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        reply = b""
        while block := sock.recv(4096):
            reply += block
        assert reply.startswith(b"HTTP/1.1 200 OK")
        sock.close()


def test_an_image_over_tls_arrives_whole_on_a_kept_connection(tls_port, identity, big):
    with downloading(tls_port, big, client_context(identity)) as sock:
        for _ in range(2):
            received = sock.recv(65536).partition(b"\r\n\r\n")[2]
            count = len(received)
            while count < 48 << 20:
                count += len(sock.recv(1 << 20))
            assert count == 48 << 20
            sock.sendall(f"GET {big} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_a_connection_is_kept_after_a_download(port):
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        for _ in range(3):
            sock.sendall(b"GET /assets/flatcar/image.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = b""
            while len(reply.partition(b"\r\n\r\n")[2]) < len(IMAGE):
                reply += sock.recv(1 << 20)
            assert reply.partition(b"\r\n\r\n")[2] == IMAGE


def test_two_downloads_asked_for_at_once(port):
    request = b"GET /assets/flatcar/image.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    reply = exchange(port, request + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert reply.count(b"HTTP/1.1 200 OK") == 2
    assert reply.count(IMAGE) == 2


def test_a_stop_while_its_worker_begins_is_not_lost(directory, monkeypatch):
    """It was, on a worker that had just been forked: here one that takes its time before it sets its handlers."""

    def make_late_pump():
        time.sleep(0.5)
        return Pump()

    monkeypatch.setattr(http_worker, "Pump", make_late_pump)
    with listen() as listener:
        pid = start(directory, listener)
        wait_until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text() != "")
        stop(pid)


def test_whoever_kills_the_server_kills_its_workers(directory, big):
    with listen() as listener:
        pid = start(directory, listener)
        with downloading(listener.getsockname()[1], big):
            (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.3)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            wait_until(lambda: not Path(f"/proc/{worker}").exists() or is_zombie(int(worker)))


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def client_context(identity: Identity) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=identity.authority_pem)


def test_tls_is_proven_by_our_authority(tls_port, identity):
    reply = get(tls_port, "/healthz", context=client_context(identity))
    assert reply.startswith(b"HTTP/1.1 200 OK")
    with pytest.raises(ssl.SSLCertVerificationError):
        get(tls_port, "/healthz", context=ssl.create_default_context())


def test_the_configuration_is_claimed_over_tls(tls_port, identity):
    context = client_context(identity)
    assert b"cloud-config of node1" in get(tls_port, f"/m/{boot(tls_port, context)}/config", context=context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(tls_port, identity):
    context = client_context(identity)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(tls_port, "/healthz", context=context)


def test_an_asset_over_tls_arrives_in_part(tls_port, identity):
    context = client_context(identity)
    reply = get(tls_port, "/assets/flatcar/image.bin", "Range: bytes=0-299999", context=context)
    assert reply.partition(b"\r\n\r\n")[2] == IMAGE[:300000]


def test_plain_text_on_the_tls_port_gets_nothing_and_the_server_goes_on(tls_port, identity):
    with contextlib.suppress(ConnectionResetError):
        assert exchange(tls_port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert get(tls_port, "/healthz", context=client_context(identity)).startswith(b"HTTP/1.1 200 OK")
