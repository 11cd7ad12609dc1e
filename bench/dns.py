"""DNS, local names: queries a second of our server, of dnsmasq and of dnslib alone, with dnsperf, in one run.

    sudo python bench/dns.py [--seconds 5] [--rounds 3] [--machines 1000]

Two namespaces and a veth pair; the load generator shares the cores with the server. The rounds alternate between the
servers, so that what else the computer does meanwhile falls on all of them; the medians are compared.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import Pair, open_pair, print_table, running, save_result
from make_description import make_description

from bootstrapper.cluster.load import load

SERVER = "10.0.0.1"
CLIENT = "10.0.0.2"
CLIENTS = 20
NAMES = 200


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--machines", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_pair("bd", SERVER, CLIENT, 16) as pair:
        path = Path(folder)
        servers = write_files(path, options.machines)
        found: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name, command in servers.items():
                with running(pair.in_server(*command), path / f"{name}.log"):
                    wait_for_answer(pair, path)
                    found[name].append(measure(pair, path, options.seconds))
    report(found)


def write_files(folder: Path, machines: int) -> dict[str, Sequence[str]]:
    """The description, the same names for dnsmasq, the questions; returns the commands to compare."""
    description = folder / "rack.yaml"
    description.write_text(make_description(machines, fixed=True))
    cluster = load(description.read_text(), str(description))
    names = {cluster.fqdn(machine): machine.ip for machine in cluster.machines}
    (folder / "queries").write_text("".join(f"{name} A\n" for name in list(names)[:NAMES]))
    (folder / "dnsmasq.conf").write_text(
        f"interface=eth0\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\npid-file=\nlocal=/{cluster.domain}/\n"
        + "".join(f"host-record={name},{address}\n" for name, address in names.items())
    )
    ours = [sys.executable, str(Path(__file__).parent / "serve_dns.py"), str(description)]
    return {
        "ours": ours,
        "dnsmasq": ["dnsmasq", "--keep-in-foreground", f"--conf-file={folder / 'dnsmasq.conf'}"],
        "dnslib parse+pack": [*ours, "--reference"],
    }


def wait_for_answer(pair: Pair, folder: Path) -> None:
    name = (folder / "queries").read_text().split()[0]
    for _ in range(100):
        asked = pair.in_client("dig", f"@{SERVER}", name, "+short", "+tries=1", "+time=1", "+noedns")
        if subprocess.run(asked, check=False, capture_output=True).stdout.startswith(b"10."):
            return
        time.sleep(0.1)
    raise SystemExit("the server does not answer")


def measure(pair: Pair, folder: Path, seconds: int) -> float:
    """Queries a second; SystemExit when more than one in a thousand got no answer."""
    command = ["dnsperf", "-s", SERVER, "-d", str(folder / "queries"), "-c", str(CLIENTS), "-l", str(seconds)]
    text = subprocess.run(pair.in_client(*command), check=True, capture_output=True, text=True).stdout
    lost = re.search(r"Queries lost:\s+\d+ \(([\d.]+)%\)", text)
    rate = re.search(r"Queries per second:\s+([\d.]+)", text)
    if not lost or not rate or float(lost[1]) > 0.1:
        raise SystemExit(f"dnsperf cannot be believed:\n{text}")
    return float(rate[1])


def report(found: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    rows = [
        [name, medians[name], min(rates), max(rates), medians["ours"] / medians[name]] for name, rates in found.items()
    ]
    print_table(f"DNS, local names, dnsperf -c {CLIENTS}", ["server", "queries/s", "least", "most", "ours is"], rows)
    print("  wanted: ours >= 1.1 x dnsmasq")
    save_result("dns", {"rates": found, "ours/dnsmasq": medians["ours"] / medians["dnsmasq"]})


if __name__ == "__main__":
    main()
