"""Bytes per second of a 64 MiB image over HTTP: ours and nginx with sendfile in the same run, over a veth pair.

    python bench/http_images.py [ROUNDS] [SECONDS]

wrk asks, on 8 and on 100 connections. The servers take turns, so that whatever else the computer does falls on both;
the best of the rounds counts. Also requests per second of small answers: a machine's boot script with nothing to
open, and its public configuration, rendered anew for each request.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Pair, open_pair, print_table, running, save_result

SIZE = 64 << 20
HERE = Path(__file__).parent
AIM = 0.9
NGINX = """
daemon off; worker_processes 2; error_log stderr; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 60; keepalive_requests 1000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen {address}:8080; root {folder}; }}
}}
"""
UNITS = {"K": 1e3, "M": 1e6, "G": 1e9, "": 1.0}


def wrk(pair: Pair, url: str, connections: int, seconds: int) -> tuple[float, float, str]:
    """Bytes per second, requests per second, and what went wrong."""
    command = pair.in_client("wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "20s", url)
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    rate = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", text)
    requests = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None and requests is not None, text
    trouble = " ".join(line.strip() for line in text.splitlines() if "errors" in line or "Non-2xx" in line)
    return float(rate[1]) * UNITS[rate[2]], float(requests[1]), trouble


def main(rounds: int, seconds: int) -> None:
    best: dict[tuple[str, int], float] = {}
    notes: dict[tuple[str, int], str] = {}
    small: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-http-") as text, open_pair("hf") as pair:
        folder = Path(text)
        folder.chmod(0o755)
        (folder / "assets").mkdir()
        (folder / "assets" / "image.bin").write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=pair.server_address))
        ours = [sys.executable, str(HERE / "serve_http.py"), pair.server_address, "80", text]
        nginx = ["nginx", "-c", str(folder / "nginx.conf"), "-p", text]
        urls = {"ours": f"http://{pair.server_address}/", "nginx": f"http://{pair.server_address}:8080/"}

        def answers(url: str) -> bool:
            command = pair.in_client("curl", "-fsI", "-o", "/dev/null", url + "assets/image.bin")
            return subprocess.run(command, check=False, capture_output=True).returncode == 0

        with (
            running(pair.in_server(*ours), folder / "ours.log", lambda: answers(urls["ours"])),
            running(pair.in_server(*nginx), folder / "nginx.log", lambda: answers(urls["nginx"])),
        ):
            for _ in range(rounds):
                for connections in (8, 100):
                    for name, url in urls.items():
                        rate, _, trouble = wrk(pair, url + "assets/image.bin", connections, seconds)
                        if rate > best.get((name, connections), 0.0):
                            best[name, connections] = rate
                            notes[name, connections] = trouble
            mac = "00:25:90:c0:f7:80"
            for title, path in (("boot.ipxe", f"boot.ipxe?mac={mac}&arch=7"), ("cloud-config", f"cloud-config/{mac}")):
                small[title] = wrk(pair, urls["ours"] + path, 20, seconds)[1]
    rows = []
    for connections in (8, 100):
        mine, peer = best["ours", connections], best["nginx", connections]
        verdict = "reached" if mine / peer >= AIM else "missed"
        note = notes["ours", connections]
        rows.append((f"{connections} connections", mine / 1e9, peer / 1e9, mine / peer, f">= {AIM}: {verdict} {note}"))
    print_table("HTTP, 64 MiB image (GB/s)", ("work", "ours", "nginx", "ratio", "aim"), rows)
    print_table("HTTP, small answers (requests/s)", ("answer", "ours"), list(small.items()))
    save_result("http", {f"{name} {connections}": rate for (name, connections), rate in best.items()} | small)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, int(sys.argv[2]) if len(sys.argv) > 2 else 4)
