"""1,000 machines that each report once a second over a TLS connection of their own: are they kept up with?

Also twice as many, which shows how many there can be at most, and how many new connections: a machine's curl makes one
for each report.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import open_pair, print_table, running, save_result

HERE = Path(__file__).parent
PORT, SECONDS = 443, 15.0
P99_MS = 1000.0


def main(machines: int) -> None:
    with tempfile.TemporaryDirectory() as name, open_pair("rp", prefix=16) as pair:
        folder = Path(name)
        addresses = "".join(f"address add {source}/16 dev eth0\n" for source in list_addresses(machines))
        subprocess.run(["ip", "-n", pair.client, "-batch", "-"], input=addresses, text=True, check=True)
        description = folder / "big.yaml"
        with description.open("w") as out:
            subprocess.run([sys.executable, str(HERE / "make_description.py"), str(machines)], stdout=out, check=True)
        server = [
            sys.executable,
            str(HERE / "serve_reports.py"),
            pair.server_address,
            str(PORT),
            name,
            str(description),
        ]
        probe = pair.in_client("curl", "-sk", "-o", "/dev/null", f"https://{pair.server_address}/healthz")

        def ready() -> bool:
            return subprocess.run(probe, check=False).returncode == 0

        with running(pair.in_server(*server), folder / "server.log", ready):
            found = {}
            for title, rate in (("each second", float(machines)), ("twice a second", 2.0 * machines)):
                send = [sys.executable, str(HERE / "send_reports.py"), pair.server_address, str(PORT), name]
                done = subprocess.run(
                    pair.in_client(*send, str(SECONDS), str(rate)), check=True, capture_output=True, text=True
                )
                found[title] = json.loads(done.stdout)
    rows = []
    for title, got in found.items():
        kept = not got["failed"] and got["per_second"] >= machines * 0.99 and got["p99"] < P99_MS
        verdict = f"{machines:,}/s, p99 < {P99_MS:,.0f} ms: {'reached' if kept else 'missed'}"
        rows.append((f"{got['machines']} machines, {title}", got["per_second"], got["median"], got["p99"], got["most"],
                     got["failed"], verdict))  # fmt: skip
    print_table(
        "reports over TLS, connections kept",
        ("what", "reports/s", "median ms", "p99 ms", "most ms", "failed", "aim"),
        rows,
    )
    print(f"  new TLS connections: {found['each second']['handshakes']:,.0f}/s")
    save_result("reports", found)


def list_addresses(machines: int) -> list[str]:
    """As bench/serve_reports.py hands them out."""
    first = 10 * 2**24 + 98 * 2**16 + 4 * 2**8 + 1
    return [".".join(str((first + at) >> shift & 255) for shift in (24, 16, 8, 0)) for at in range(machines)]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
