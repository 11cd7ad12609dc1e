"""Every measurement, one after the other: `python -m bench`, or `python -m bench dns tftp`. Needs root.

Each is a ratio against its peer in the same run; run them on a machine that does nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROWS = {
    "dhcp": "full 4-way exchanges per second against Kea and dnsmasq (perfdhcp)",
    "dns": "local names per second against dnsmasq (dnsperf)",
    "tftp": "64 MiB by TFTP against tftpd-hpa and dnsmasq (atftp)",
    "http_images": "64 MiB by HTTP, 8 and 100 connections, against nginx (wrk)",
    "storm": "1,000 machines powered on at once, to the installer's last report, against dnsmasq + nginx",
    "verify": "proving 1 GiB genuine against sha256sum, and the memory for it",
    "check": "a description of 1,000 machines, and one machine's configuration",
    "reports": "1,000 machines that report each second over TLS",
    "refusals": "whether one refused claim takes longer than another",
    "memory": "all processes with 10,000 machines known",
    "rack_page": "the rack page of 1,000 machines in Chromium",
}
"File beside this one -> what it measures."


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        print(f"there is no measurement {', '.join(unknown)}; there is: {', '.join(ROWS)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or ROWS:
        print(f"\n== {name}: {ROWS[name]}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


sys.exit(main(sys.argv[1:]))
