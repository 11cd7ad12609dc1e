"""Memory of all our processes with 10,000 machines known: `python bench/memory.py`. Needs root.

Counted as PSS: shared pages (the description, read before the processes fork) are divided among those that share them,
so that the sum is what the host gives up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from make_description import make_description

LIMIT_MB = 400
MACHINES = 10_000
NAMESPACE = "bench-memory"


def pss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def pids_of(namespace: str) -> list[int]:
    done = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def serve(folder: Path, count: int) -> tuple[float, list[tuple[str, float]]]:
    """(MB in all, (process, MB) each) of a server that has answered."""
    description = folder / "cluster-desc.yaml"
    description.write_text(make_description(count))
    address = next(
        line.split()[1] for line in description.read_text().splitlines() if line.strip().startswith("bootstrapper:")
    )
    command = [sys.executable, "-m", "bootstrapper", "serve", str(description), "--state", str(folder / "state")]
    run("ip", "netns", "add", NAMESPACE)
    server = None
    try:
        for words in (
            "link set lo up", "link add eth0 type veth peer name eth1", f"address add {address}/16 dev eth0",
            "link set eth0 up", "link set eth1 up",
        ):  # fmt: skip
            run("ip", "-n", NAMESPACE, *words.split())
        server = subprocess.Popen(["ip", "netns", "exec", NAMESPACE, *command], stderr=subprocess.DEVNULL)
        ask = ["ip", "netns", "exec", NAMESPACE, "curl", "-skf", f"https://{address}/healthz"]
        until = time.monotonic() + 180
        while subprocess.run(ask, capture_output=True, check=False).returncode != 0:
            if time.monotonic() > until or server.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.5)
        time.sleep(5)
        each = [(Path(f"/proc/{pid}/comm").read_text().strip(), pss_kb(pid) / 1000) for pid in pids_of(NAMESPACE)]
        return sum(size for _, size in each), each
    finally:
        if server is not None:
            server.terminate()
            server.wait(30)
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=False)


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("needs root, for a network namespace")
    with tempfile.TemporaryDirectory() as folder:
        total, each = serve(Path(folder), MACHINES)
    for name, size in sorted(each, key=lambda one: -one[1]):
        print(f"  {name:<16} {size:7.1f} MB")
    print(f"memory, {MACHINES} machines known: {total:.0f} MB of {LIMIT_MB} MB ({total / LIMIT_MB:.2f} x)")


if __name__ == "__main__":
    main()
