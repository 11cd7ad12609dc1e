"""DHCP exchanges a second, each of four packets: ours, Kea and dnsmasq in the same run, over a veth pair.

    python bench/dhcp.py [SECONDS] [ROUNDS]

perfdhcp plays clients of a dynamic pool behind a relay; every lease is kept. Ours is on disk before each ACK; Kea
writes its memfile without waiting for the disk, dnsmasq writes its file anew for each lease. For each server the rate
rises until more than 1 % of the exchanges fail, and the best rate that held is its figure. The servers take turns, so
that whatever else the computer does falls on all; the best of the rounds counts. The cores are shared with perfdhcp, so
only the ratios mean anything. Needs root.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from common import Pair, open_pair, print_table, running, save_result

RUNNER = Path(__file__).parent.parent / "tests" / "interop" / "dhcp_runner.py"
ADDRESS, CLIENT = "10.0.0.1", "10.0.0.2"
CLIENTS = 50_000
FAILED_SHARE = 0.01
AIMS = {"Kea": 3.0, "dnsmasq": 50.0}
SERVERS = (("dnsmasq", 100), ("Kea", 3000), ("ours", 5000))
"And the rate each begins with."
DESCRIPTION = """\
version: 1
cluster: {name: bench, domain: bench.internal}
network:
  subnet: 10.0.0.0/15
  bootstrapper: 10.0.0.1
  routers: [10.0.0.3]
  dhcp: {range: 10.1.0.1-10.1.255.254, lease: 12h}
unknown_machines: discover
machines:
  - {mac: "52:54:00:00:00:01", host: node1, ip: 10.0.0.11, roles: [etcd, master]}
"""
RECEIVE_BUFFER = Path("/proc/sys/net/core/rmem_default")


@dataclass(frozen=True)
class Step:
    rate: int
    "Asked for."
    offered: float
    "Begun a second."
    done: float
    "Finished a second."
    failed: float
    "Share of those begun."
    delay_ms: float
    cpu_us: float
    "Processor time of the server for each finished exchange."
    perfdhcp_us: float
    "perfdhcp's own."

    @property
    def held(self) -> bool:
        return self.failed <= FAILED_SHARE and self.offered >= 0.95 * self.rate


def command_of(name: str, folder: Path) -> list[str]:
    if name == "ours":
        (folder / "cluster-desc.yaml").write_text(DESCRIPTION)
        return [sys.executable, str(RUNNER), str(folder / "cluster-desc.yaml"), str(folder / "state.sqlite")]
    if name == "Kea":
        settings = {
            "Dhcp4": {
                "interfaces-config": {"interfaces": ["eth0"], "dhcp-socket-type": "udp"},
                "lease-database": {"type": "memfile", "persist": True, "name": str(folder / "leases.csv")},
                "multi-threading": {"enable-multi-threading": True, "thread-pool-size": 2, "packet-queue-size": 64},
                "valid-lifetime": 43200,
                "subnet4": [
                    {
                        "subnet": "10.0.0.0/15",
                        "pools": [{"pool": "10.1.0.1 - 10.1.255.254"}],
                        "option-data": [{"name": "routers", "data": "10.0.0.3"}],
                    }
                ],
                "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}],
            }
        }
        (folder / "kea.json").write_text(json.dumps(settings))
        own_files = [f"KEA_PIDFILE_DIR={folder}", f"KEA_LOCKFILE_DIR={folder}"]
        return ["env", *own_files, "kea-dhcp4", "-c", str(folder / "kea.json")]
    return [
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--dhcp-authoritative",
        "--no-ping", "--user=root", "--quiet-dhcp", "--dhcp-lease-max=100000", "--log-facility=/dev/null",
        "--dhcp-range=10.1.0.1,10.1.255.254,255.254.0.0,12h", f"--dhcp-leasefile={folder / 'leases'}",
    ]  # fmt: skip


@contextmanager
def large_receive_buffer() -> Iterator[None]:
    """perfdhcp leaves its socket's buffer at the system's default, and would lose what servers send in bursts."""
    before = RECEIVE_BUFFER.read_text()
    try:
        RECEIVE_BUFFER.write_text("8388608")
    except OSError:
        print("net.core.rmem_default cannot be raised: perfdhcp itself may lose packets")
    try:
        yield
    finally:
        RECEIVE_BUFFER.write_text(before)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def children_cpu_s() -> float:
    """Of programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def play(pair: Pair, pid: int, rate: int, seconds: int) -> Step:
    before, own_before = cpu_s(pid), children_cpu_s()
    command = ["perfdhcp", "-4", "-l", CLIENT, "-r", str(rate), "-R", str(CLIENTS), "-p", str(seconds), "-W", "500000"]
    said = subprocess.run(pair.in_client(*command, ADDRESS), capture_output=True, text=True, timeout=120).stdout
    sent = [int(each) for each in re.findall(r"sent packets: (\d+)", said)]
    received = [int(each) for each in re.findall(r"received packets: (\d+)", said)]
    delays = [float(each) for each in re.findall(r"avg delay: (\S+) ms", said)]
    done = max(1, received[1])
    return Step(
        rate,
        offered=sent[0] / seconds,
        done=received[1] / seconds,
        failed=1 - received[1] / max(1, sent[0]),
        delay_ms=sum(delays),
        cpu_us=(cpu_s(pid) - before) / done * 1e6,
        perfdhcp_us=(children_cpu_s() - own_before) / done * 1e6,
    )


def print_step(name: str, step: Step) -> None:
    outcome = f"{step.done:8.0f}/s done, {step.failed:6.1%} failed, {step.delay_ms:6.1f} ms"
    cpu = f"CPU {step.cpu_us:4.0f} us, perfdhcp {step.perfdhcp_us:4.0f} us"
    print(f"  {name:8} {step.rate:6}/s asked: {outcome}, {cpu}", flush=True)


def find_best(pair: Pair, name: str, first: int, seconds: int) -> tuple[Step, Step]:
    """(the best step that held, the one with the most finished exchanges)."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-dhcp-")))
        folder.chmod(0o700)
        stack.callback(lambda: print())
        server = stack.enter_context(running(pair.in_server(*command_of(name, folder)), folder / "log"))
        time.sleep(1.5)
        steps: list[Step] = []

        def at(rate: int) -> bool:
            step = play(pair, server.pid, rate, seconds)
            print_step(name, step)
            steps.append(step)
            return step.held

        low, high = 0, first
        while at(high):
            low, high = high, int(high * 1.5)
        for _ in range(3):
            middle = (low + high) // 2
            if at(middle):
                low = middle
            else:
                high = middle
        held = [step for step in steps if step.held]
        most = max(steps, key=lambda step: step.done)
        return max(held, key=lambda step: step.done, default=most), most


def main(seconds: int = 4, rounds: int = 2) -> None:
    for program in ("perfdhcp", "kea-dhcp4", "dnsmasq"):
        if shutil.which(program) is None:
            raise SystemExit(f"needs {program}")
    found: dict[str, list[tuple[Step, Step]]] = {name: [] for name, _ in SERVERS}
    with large_receive_buffer(), open_pair("hcb", ADDRESS, CLIENT, 15) as pair:
        for _ in range(rounds):
            for name, first in SERVERS:
                found[name].append(find_best(pair, name, first, seconds))
    best = {name: max((step for step, _ in pairs), key=lambda step: step.done) for name, pairs in found.items()}
    most = {name: max((step for _, step in pairs), key=lambda step: step.done) for name, pairs in found.items()}
    rows = []
    for name, step in best.items():
        ratio, cpu_ratio = best["ours"].done / step.done, step.cpu_us / best["ours"].cpu_us
        aim = f">= {AIMS[name]:g}" if name in AIMS else ""
        ratios = ("", "", "") if name == "ours" else (ratio, aim, cpu_ratio)
        rows.append((name, step.done, most[name].done, step.delay_ms, step.cpu_us, step.perfdhcp_us, *ratios))
    columns = ("server", "exchanges/s", "most/s", "delay ms", "CPU us", "perfdhcp us", "ours is x", "aim", "CPU x")
    print_table("DHCP, dynamic pool, four packets each; processor time for each exchange", columns, rows)
    ceiling = (os.cpu_count() or 1) * 1e6 / min(step.perfdhcp_us for step in most.values())
    print(f"  perfdhcp alone would keep all cores busy at {ceiling:,.0f}/s: no server can be measured to do more here")
    for name in AIMS:
        turns = zip(found["ours"], found[name], strict=True)
        print(f"  ours is x {name}, round by round: {', '.join(f'{a.done / b.done:.2f}' for (a, _), (b, _) in turns)}")
    save_result("dhcp", {name: asdict(step) | {"most": most[name].done} for name, step in best.items()})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
