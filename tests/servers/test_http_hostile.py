"""Random bytes and random URLs by the ten thousand: the server goes on, its memory stays flat, nothing is our fault."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest
from http_server import listen, start_alone

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
ROUNDS = 40
GARBAGE, URLS = 250, 1000
"In each round: connections with random bytes, and requests for random URLs."
WORDS = [b"/boot.ipxe", b"/m/", b"/config", b"/report", b"/assets/", b"..", b"%2e", b"%00", b"?mac=", b"&uuid=",
         b"/cloud-config/", b"00:25:90:c0:f7:80", b"{{7*7}}", b"${x}", b"'", b"\\", b"//", b"A" * 43, b"%ff", b"arch=7",
         b"/grub.cfg"]  # fmt: skip


def memory_kib(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    return int(line.split()[1])


def send_garbage(port: int, rng: random.Random) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        data = rng.randbytes(rng.randint(1, 600))
        if rng.random() < 0.5:
            lines = [
                b"GET / HTTP/1.1",
                *(rng.randbytes(rng.randint(0, 40)) for _ in range(rng.randint(0, 5))),
                b"",
                b"",
            ]
            data = b"\r\n".join(lines)
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            reply = b""
            while block := sock.recv(4096):
                reply += block
        except ConnectionError:
            return
        assert b" 500 " not in reply[:40], data


def ask_urls(port: int, rng: random.Random, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        file = sock.makefile("rb")
        for _ in range(count):
            target = b"/" + b"".join(rng.choice(WORDS) for _ in range(rng.randint(1, 6)))
            method = rng.choice([b"GET", b"HEAD", b"PUT", b"OPTIONS"])
            sock.sendall(method + b" " + target + b" HTTP/1.1\r\nHost: " + rng.choice(WORDS) + b"\r\n\r\n")
            status = file.readline()
            assert int(status.split()[1]) in (200, 400, 404), (target, status)
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if method != b"HEAD":
                file.read(length)


def test_nothing_that_is_sent_ends_it(tmp_path):
    rng = random.Random(1)
    (tmp_path / "assets").mkdir()
    with listen() as listener:
        port = listener.getsockname()[1]
        server = start_alone(tmp_path, listener)
        pid = server.pid
        try:
            ask_urls(port, rng, 1)  # the worker is there
            (worker,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            early = 0
            for number in range(ROUNDS):
                for _ in range(GARBAGE):
                    send_garbage(port, rng)
                ask_urls(port, rng, URLS)
                if number == ROUNDS // 4:
                    early = memory_kib(worker)
            assert memory_kib(worker) < early + 4096
            assert Path(f"/proc/{pid}/task/{pid}/children").read_text().split() == [str(worker)]
        finally:
            server.terminate()
            server.wait(20)
