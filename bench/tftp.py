"""Seconds to fetch 64 MiB by TFTP: ours, tftpd-hpa and dnsmasq in the same run, over a veth pair.

    python bench/tftp.py [ROUNDS]

The client is atftp; tftp-hpa too with 512-byte blocks (it can do no others). The servers take turns, so that whatever
else the computer does falls on all alike; the best of the rounds counts. Below 1 the ratio says that ours is faster
than the best peer. Window 16 is compared with the best peer at the same block size: neither peer knows the option.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SIZE = 64 << 20
SERVER, CLIENT = f"hdbs{os.getpid()}", f"hdbc{os.getpid()}"
ADDRESS = "10.98.0.1"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Work:
    name: str
    client: Callable[[int, Path], list[str]]
    peers: tuple[str, ...]
    aim: float
    against: str = ""
    "The work whose peers' figures count; its own when empty."


def atftp(*options: str) -> Callable[[int, Path], list[str]]:
    spelled = [word for option in options for word in ("--option", option)]
    return lambda port, to: ["atftp", *spelled, "-g", "-r", "big.bin", "-l", str(to), ADDRESS, str(port)]


def tftp_hpa(port: int, to: Path) -> list[str]:
    return ["tftp", "-m", "binary", ADDRESS, str(port), "-c", "get", "big.bin", str(to)]


PEERS = ("tftpd-hpa", "dnsmasq")
WORKS = (
    Work("blksize 512, atftp", atftp("blksize 512"), PEERS, 1.0),
    Work("blksize 512, tftp-hpa", tftp_hpa, PEERS, 1.0),
    Work("blksize 1408, atftp", atftp("blksize 1408"), PEERS, 1.0),
    Work("blksize 1408, window 16", atftp("blksize 1408", "windowsize 16"), (), 0.5, "blksize 1408, atftp"),
)
PORTS = {"ours": 1069, "tftpd-hpa": 1169, "dnsmasq": 1269}


def servers(folder: Path) -> dict[str, list[str]]:
    dnsmasq = ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-tftp", f"--tftp-root={folder}"]
    return {
        "ours": [sys.executable, str(HERE / "serve_tftp.py"), ADDRESS, "1069", str(folder / "big.bin")],
        "tftpd-hpa": ["in.tftpd", "-L", "--secure", "--user", "root", "--address", f"{ADDRESS}:1169", str(folder)],
        "dnsmasq": [*dnsmasq, "--user=root", "--pid-file=", f"--tftp-port-range={10000},{20000}"],
    }


@contextmanager
def network() -> Iterator[None]:
    """Two namespaces and a veth pair between them."""
    commands = [
        f"ip netns add {SERVER}",
        f"ip netns add {CLIENT}",
        f"ip -n {SERVER} link add eth0 type veth peer name eth0 netns {CLIENT}",
        f"ip -n {SERVER} address add {ADDRESS}/24 dev eth0",
        f"ip -n {CLIENT} address add 10.98.0.2/24 dev eth0",
        *(f"ip -n {name} link set {device} up" for name in (SERVER, CLIENT) for device in ("lo", "eth0")),
    ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield
    finally:
        for name in (SERVER, CLIENT):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    inside = ["ip", "netns", "exec", SERVER, *command]
    process = subprocess.Popen(inside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def fetch(work: Work, port: int, to: Path) -> float:
    """Seconds."""
    to.unlink(missing_ok=True)
    began = time.monotonic()
    subprocess.run(
        ["ip", "netns", "exec", CLIENT, *work.client(port, to)], check=True, capture_output=True, timeout=120
    )
    seconds = time.monotonic() - began
    if to.stat().st_size != SIZE:
        raise SystemExit(f"{work.name}: {to.stat().st_size} of {SIZE} bytes arrived")
    return seconds


def measure(rounds: int) -> dict[tuple[str, str], float]:
    """(work, server) -> the best of its rounds, in seconds."""
    best: dict[tuple[str, str], float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-tftp-")))
        folder.chmod(0o755)
        (folder / "big.bin").write_bytes(os.urandom(SIZE))
        stack.enter_context(network())
        # dnsmasq has no option for the port it listens on for TFTP
        ports = PORTS | {"dnsmasq": 69}
        present = {name: command for name, command in servers(folder).items() if shutil.which(command[0])}
        for command in present.values():
            stack.enter_context(running(command))
        time.sleep(1.0)
        for _ in range(rounds):
            for work in WORKS:
                for name in ("ours", *work.peers):
                    if name in present:
                        seconds = fetch(work, ports[name], folder / "got")
                        best[work.name, name] = min(seconds, best.get((work.name, name), 1e9))
    return best


def rows(best: dict[tuple[str, str], float]) -> Iterator[tuple[str, float, str, float, float, float]]:
    """(work, ours, best peer, its seconds, ratio, aim)."""
    for work in WORKS:
        found = {name: best[key] for name in PEERS if (key := (work.against or work.name, name)) in best}
        peer = min(found, key=lambda name: found[name])
        ours = best[work.name, "ours"]
        yield work.name, ours, peer, found[peer], ours / found[peer], work.aim


def main() -> int:
    best = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    print(f"{'TFTP, 64 MiB':<26}{'ours':>8}" + "".join(f"{name:>11}" for name in PEERS) + f"{'ratio':>8}{'aim':>9}")
    reached = True
    for name, ours, _peer, _seconds, ratio, aim in rows(best):
        others = "".join(f"{best[name, peer]:>9.2f} s" if (name, peer) in best else f"{'-':>11}" for peer in PEERS)
        print(f"{name:<26}{ours:>6.2f} s{others}{ratio:>8.2f}{'<= ' + format(aim, '.2f'):>9}")
        reached &= ratio <= aim
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
