"""A description of 1,000 machines: `check` from start to end, and one machine's texts as a claim renders them.

`python bench/check.py [MACHINES]`. Aims (design section 6): check < 5 s, a configuration's p99 < 20 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from common import print_table, save_result

from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.description import build_context, load_templates
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import OUTPUTS, render_output
from bootstrapper.pki.cluster import ClusterPki

HERE = Path(__file__).parent
CHECK_AIM_S = 5.0
RENDER_AIM_MS = 20.0
AUTHORITY = "-----BEGIN CERTIFICATE-----\n" + ("A" * 64 + "\n") * 12 + "-----END CERTIFICATE-----\n"


def main(machines: int) -> None:
    text = subprocess.run(
        [sys.executable, str(HERE / "make_description.py"), str(machines)], check=True, capture_output=True, text=True
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.yaml"
        path.write_text(text)
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bootstrapper", "check", str(path)], check=True, capture_output=True)
        check_s = time.perf_counter() - begun
    verdict = "reached" if check_s < CHECK_AIM_S else "missed"
    print_table(f"check, {machines:,} machines", ("s", "aim"), [(check_s, f"< {CHECK_AIM_S} s: {verdict}")])

    cluster = load(text, "big.yaml")
    context = replace(build_context(cluster, load_templates(None), AUTHORITY), token="A" * 43)
    rows, figures = [], {"check s": check_s}
    for name in OUTPUTS:
        times = []
        for machine in cluster.machines:
            begun = time.perf_counter()
            render_output(name, context, machine)
            times.append((time.perf_counter() - begun) * 1000)
        p99 = statistics.quantiles(times, n=100)[98]
        verdict = "reached" if p99 < RENDER_AIM_MS else "missed"
        rows.append((name, statistics.median(times), p99, f"p99 < {RENDER_AIM_MS} ms: {verdict}"))
        figures[f"{name} p99 ms"] = p99
    for name, times in measure_claims(cluster, context).items():
        p99 = statistics.quantiles(times, n=100)[98]
        verdict = "reached" if p99 < RENDER_AIM_MS else "missed"
        rows.append((name, statistics.median(times), p99, f"p99 < {RENDER_AIM_MS} ms: {verdict}"))
        figures[f"{name} p99 ms"] = p99
    print_table("one machine's text (ms)", ("output", "median", "p99", "aim"), rows)
    save_result("check", figures)


def measure_claims(cluster: Cluster, context: Context) -> dict[str, list[float]]:
    """Milliseconds of each machine's configuration with its real keys: made at its first claim, kept at the next."""
    times: dict[str, list[float]] = {"first claim, keys made": [], "again, keys kept": []}
    with tempfile.TemporaryDirectory() as folder:
        pki = ClusterPki(Path(folder) / "pki", cluster, time.time)
        for machine in cluster.machines:
            for found in times.values():
                begun = time.perf_counter()
                secrets = pki.secrets_for(machine)
                render_output(str(machine.os.provision), replace(context, secrets=secrets), machine)
                found.append((time.perf_counter() - begun) * 1000)
    return times


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
