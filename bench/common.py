"""What the measurements share: two namespaces with a cable between them, programs run in them, tables, kept results."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
"Kept out of the repository: figures of this computer."


@dataclass(frozen=True)
class Pair:
    """Namespaces `server` and `client`, joined by a veth pair; `eth0` in both."""

    server: str
    client: str
    server_address: str
    client_address: str

    def in_server(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.server, *command]

    def in_client(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.client, *command]


@contextmanager
def open_pair(name: str, server: str = "10.98.0.1", client: str = "10.98.0.2", prefix: int = 24) -> Iterator[Pair]:
    """Needs root. `name` and this process' number name the namespaces; they are gone when the block ends."""
    pair = Pair(f"{name}{os.getpid()}s", f"{name}{os.getpid()}c", server, client)
    commands = [
        f"ip netns add {pair.server}",
        f"ip netns add {pair.client}",
        f"ip -n {pair.server} link add eth0 type veth peer name eth0 netns {pair.client}",
        f"ip -n {pair.server} address add {server}/{prefix} dev eth0",
        f"ip -n {pair.client} address add {client}/{prefix} dev eth0",
        *(f"ip -n {each} link set {device} up" for each in (pair.server, pair.client) for device in ("lo", "eth0")),
    ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield pair
    finally:
        for each in (pair.server, pair.client):
            subprocess.run(["ip", "netns", "delete", each], check=False, capture_output=True)


@contextmanager
def running(
    command: Sequence[str], log: Path, wait: Callable[[], bool] | None = None, within: float = 20
) -> Iterator[subprocess.Popen[bytes]]:
    """A server for the time of the block; `wait` says when it is ready (else half a second is given), which it must be
    `within` so many seconds."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + within
        if wait is None:
            time.sleep(0.5)
        else:
            while not wait():
                if time.monotonic() > until or process.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} does not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def memory_mib(pids: Sequence[int]) -> float:
    """Resident memory of processes, shared pages counted by share."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    cells = [list(columns), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
    sys.stdout.flush()


def save_result(name: str, figures: object) -> None:
    """Append one run to bench/results/NAME.jsonl."""
    RESULTS.mkdir(exist_ok=True)
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "figures": figures,
    }
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
