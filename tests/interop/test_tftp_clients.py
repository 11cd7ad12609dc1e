"""Real TFTP clients fetch from our server in a process of its own."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parent.parent.parent
SERVER = [sys.executable, str(ROOT / "bench" / "serve_tftp.py")]
ADDRESS = "127.0.0.1"


class Served:
    """Our server and what it printed."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, files: Path, log: Path) -> None:
        self.process = process
        self.log = log
        self.port = port
        self.files = files

    def stop(self) -> tuple[list[str], dict[str, int]]:
        """Its events, its counters."""
        self.process.terminate()
        self.process.wait(timeout=20)
        _ready, *events, counts = self.log.read_text().splitlines()
        return events, json.loads(counts)


@contextmanager
def serving(folder: Path, prefix: list[str] | None = None) -> Iterator[Served]:
    files = folder / "served"
    files.mkdir()
    chance = random.Random(69)
    for name, size in SIZES.items():
        (files / name).write_bytes(chance.randbytes(size))
    command = [*(prefix or []), *SERVER, ADDRESS, "0", *(str(files / name) for name in SIZES)]
    log = folder / "log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out) as process:
        try:
            deadline = time.monotonic() + 10
            while not log.read_text().startswith("ready ") and time.monotonic() < deadline:
                time.sleep(0.02)
            yield Served(process, int(log.read_text().split()[1]), files, log)
        finally:
            process.kill()


SIZES = {"undionly.kpxe": 74213, "exact.bin": 1408 * 50, "empty.bin": 0, "rolls.bin": 8 * 70_001, "large.bin": 3 << 20}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as found:
        yield found


def hpa(port: int, name: str, to: Path) -> list[str]:
    return ["tftp", "-m", "binary", ADDRESS, str(port), "-c", "get", name, str(to)]


def curl(port: int, name: str, to: Path) -> list[str]:
    return ["curl", "-s", "-f", "-o", str(to), f"tftp://{ADDRESS}:{port}/{name}"]


def busybox(port: int, name: str, to: Path) -> list[str]:
    return ["busybox", "tftp", "-g", "-b", "1408", "-r", name, "-l", str(to), ADDRESS, str(port)]


def tftpy(port: int, name: str, to: Path) -> list[str]:
    code = "import sys, tftpy as t; o = {'blksize': 1024, 'tsize': 0}; a = sys.argv[1:]; "
    code += "t.TftpClient(a[0], int(a[1]), o).download(*a[2:])"
    return [sys.executable, "-c", code, ADDRESS, str(port), name, str(to)]


def atftp(*options: str) -> Callable[[int, str, Path], list[str]]:
    def command(port: int, name: str, to: Path) -> list[str]:
        spelled = [word for option in options for word in ("--option", option)]
        return ["atftp", *spelled, "-g", "-r", name, "-l", str(to), ADDRESS, str(port)]

    return command


CLIENTS: dict[str, Callable[[int, str, Path], list[str]]] = {
    "tftp-hpa": hpa,
    "curl": curl,
    "busybox": busybox,
    "tftpy": tftpy,
    "atftp": atftp(),
    "atftp all": atftp("blksize 1408", "tsize", "timeout 2", "windowsize 16"),
    "atftp multicast": atftp("multicast", "blksize 1024"),
    "atftp largest": atftp("blksize 65464", "windowsize 64"),
}


def fetch(command: list[str], prefix: list[str] | None = None, seconds: float = 50) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run([*(prefix or []), *command], capture_output=True, text=True, timeout=seconds, check=False)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", ["undionly.kpxe", "exact.bin", "empty.bin"])
def test_a_client_gets_the_same_bytes(served: Served, tmp_path: Path, client: str, name: str) -> None:
    if (client, name) == ("curl", "empty.bin"):
        pytest.skip("curl takes tsize 0 for an error")
    to = tmp_path / "got"
    done = fetch(CLIENTS[client](served.port, name, to))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (to.read_bytes() if to.exists() else b"") == (served.files / name).read_bytes()
    events, counts = served.stop()
    assert [line for line in events if not line.startswith("info ")] == []
    assert counts["tftp-sent"] == 1


@pytest.mark.parametrize("client", ["tftp-hpa", "curl", "busybox", "tftpy", "atftp"])
def test_a_missing_file_is_refused_at_once(served: Served, tmp_path: Path, client: str) -> None:
    began = time.monotonic()
    done = fetch(CLIENTS[client](served.port, "../../etc/passwd", tmp_path / "got"))
    assert time.monotonic() - began < 3
    assert client == "tftp-hpa" or done.returncode != 0
    events, counts = served.stop()
    assert counts["tftp-not-found"] >= 1
    assert "tftp-transfer" not in counts
    assert any("no such file" in line for line in events)


def test_writing_is_refused(served: Served, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"x")
    fetch(["atftp", "-p", "-l", str(tmp_path / "mine"), "-r", "mine", ADDRESS, str(served.port)])
    assert served.stop()[1]["tftp-write"] >= 1


@pytest.mark.parametrize("options", [("blksize 8",), ("blksize 8", "windowsize 8")])
def test_block_numbers_roll_over(served: Served, tmp_path: Path, options: tuple[str, ...]) -> None:
    """70,001 blocks and an empty one."""
    to = tmp_path / "got"
    done = fetch(atftp(*options)(served.port, "rolls.bin", to))
    assert done.returncode == 0, done.stdout + done.stderr
    assert to.read_bytes() == (served.files / "rolls.bin").read_bytes()


def test_two_hundred_machines_at_once(served: Served, tmp_path: Path) -> None:
    began = time.monotonic()
    clients = [
        subprocess.Popen(curl(served.port, "undionly.kpxe", tmp_path / f"got-{number}")) for number in range(200)
    ]
    assert [client.wait(50) for client in clients] == [0] * 200
    assert time.monotonic() - began < 30
    whole = (served.files / "undionly.kpxe").read_bytes()
    assert all((tmp_path / f"got-{number}").read_bytes() == whole for number in range(200))
    assert served.stop()[1]["tftp-sent"] == 200


@pytest.fixture
def lossy() -> Iterator[str]:
    """A network namespace whose loopback loses one datagram in twenty, as it is received (a datagram dropped on its
    way out would be told to its sender). By iptables, since netem is missing from some kernels."""
    if shutil.which("iptables") is None:
        pytest.skip("iptables is not installed")
    name = f"hdloss{random.randrange(10_000)}"
    try:
        for command in (
            f"ip netns add {name}",
            f"ip -n {name} link set lo up",
            f"ip netns exec {name} iptables -A INPUT -p udp -m statistic --mode random --probability 0.05 -j DROP",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.parametrize("client", ["tftp-hpa", "busybox", "atftp all"])
def test_five_percent_loss(lossy: str, tmp_path: Path, client: str) -> None:
    inside = ["ip", "netns", "exec", lossy]
    to = tmp_path / "got"
    with serving(tmp_path, inside) as served:
        done = fetch(CLIENTS[client](served.port, "undionly.kpxe", to), inside)
        assert done.returncode == 0, done.stdout + done.stderr
        assert to.read_bytes() == (served.files / "undionly.kpxe").read_bytes()


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_million_random_datagrams(served: Served, tmp_path: Path) -> None:
    """Half noise, half requests bent at random; it goes on serving and its memory stays flat."""
    chance = random.Random(1_000_000)
    seeds = [b"\0\1undionly.kpxe\0octet\0", b"\0\1large.bin\0octet\0tsize\x000\0blksize\x001408\0windowsize\x0016\0"]

    def bent() -> bytes:
        datagram = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            datagram[chance.randrange(len(datagram))] = chance.randrange(256)
        return bytes(datagram[: chance.randrange(len(datagram) + 1)])

    pool = [bent() if n % 2 else chance.randbytes(chance.randrange(600)) for n in range(20_000)]

    def memory() -> int:
        lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        after_first = 0
        for number in range(1_000_000):
            sock.sendto(pool[number % len(pool)], (ADDRESS, served.port))
            if number % 500 == 0:
                time.sleep(0.01)  # else the kernel drops what the server has had no chance to see
            if number == 200_000:
                after_first = memory()
        to = tmp_path / "got"
        done = fetch(CLIENTS["atftp all"](served.port, "undionly.kpxe", to))
    assert done.returncode == 0
    assert to.read_bytes() == (served.files / "undionly.kpxe").read_bytes()
    assert memory() - after_first < 5_000
    counts: dict[str, Any] = served.stop()[1]
    seen = sum(number for name, number in counts.items() if name != "max_rss_kb")
    print(counts)
    assert seen > 900_000
