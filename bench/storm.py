"""1,000 machines are powered on within a second: ours against dnsmasq + nginx, in the same run, over a veth pair.

    python bench/storm.py [MACHINES] [ROUNDS] [SPREAD_S]

Each machine (bench/storm_rack.py) goes from the firmware's DHCP to its installer's last report, except that of an image
it takes a kilobyte: DHCP as firmware, iPXE by TFTP, DHCP as iPXE, boot script, kernel and initrd, DHCP as the
installer, the installer's configuration, and over TLS, a connection each, its own configuration and six reports. The
machines stand behind a DHCP relay; those who get no answer ask again as firmware does.

The peer gives out the very bytes that ours gave in the same round, each machine its own, as files of nginx, by the
same URLs, over TLS with the same certificate. It decides nothing and keeps nothing of a report (nginx answers it with
a constant), a claim of it is a file that anybody may fetch, and dnsmasq keeps leases without waiting for the disk; it
neither logs nor looks whether an address is free. Ours does all of that. Needs root.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from common import Pair, open_pair, print_table, running, save_result
from make_description import make_mac

from bootstrapper.assets.item import Kind
from bootstrapper.assets.readiness import BOOTED, FILE_NAME
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import AssetLock, write_lock

AIM = 0.5
HERE = Path(__file__).parent
RELAY = "10.32.0.2"
SUBNET = "10.32.0.0/16"
FIRST, LAST = "10.32.1.0", "10.32.99.255"
NAMES = {"ours": "ours", "peer": "dnsmasq + nginx"}
DESCRIPTION = (
    """\
version: 1
cluster: {name: storm, domain: storm.internal}
network:
  subnet: 10.98.0.0/24
  bootstrapper: 10.98.0.1
  routers: [10.98.0.2]
  dhcp: {range: 10.98.0.100-10.98.0.200, lease: 12h}
  ntp: {serve: false}
  more_subnets:
    - {subnet: SUBNET, routers: [RELAY], range: FIRST-LAST}
registry: {serve: false}
kubernetes:
  pod_cidr: 10.128.0.0/9
  service_cidr: 10.96.0.0/16
machines:
""".replace("SUBNET", SUBNET)
    .replace("RELAY", RELAY)
    .replace("FIRST", FIRST)
    .replace("LAST", LAST)
)

NGINX = """
daemon off; worker_processes 2; error_log stderr; pid {folder}/nginx.pid; user root;
worker_rlimit_nofile 16384;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 15; default_type text/plain;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen {address}:80 backlog=1024; root {folder}/files;
    location = /healthz {{ return 200 '{{"ok": true}}'; }}
    location /assets/ {{ root {files}; }}
  }}
  server {{
    listen {address}:443 ssl backlog=1024; root {folder}/files;
    ssl_certificate {pki}/server.pem; ssl_certificate_key {pki}/server.key; ssl_protocols TLSv1.2 TLSv1.3;
    location ~ ^/m/[^/]+/report$ {{ return 200 '{{"ok": true}}'; }}
  }}
}}
"""


def write_description(count: int, folder: Path) -> Path:
    """With the files that installers boot, their contents made up, and assets.lock."""
    lines = [DESCRIPTION]
    for number in range(count):
        roles = "[etcd, master]" if number < 3 else "[worker]"
        address = f"ip: 10.32.0.{10 + number}, " if number < 3 else ""
        lines.append(f'  - {{mac: "{make_mac(number)}", host: node{number + 1}, {address}roles: {roles}}}\n')
    description = folder / "cluster-desc.yaml"
    description.write_text("".join(lines))
    hashes = {}
    for item in build_catalogue(load(description.read_text(), "storm"), load_templates(None), AssetLock()):
        if item.kind is Kind.FILE and item.use in BOOTED:
            path = folder / "assets" / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.name.encode() * 1000)
            hashes[item.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "assets.lock").write_text(write_lock(AssetLock(files=hashes)))
    return description


def dnsmasq_command(count: int, folder: Path, address: str) -> list[str]:
    (folder / "hosts").write_text("".join(f"{make_mac(number)},node{number + 1}\n" for number in range(count)))
    script = f"http://{address}/boot/${{mac:hexhyp}}.ipxe"
    return [
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--interface=eth0", "--user=root",
        "--dhcp-authoritative", "--no-ping", "--quiet-dhcp", "--quiet-tftp", "--log-facility=/dev/null",
        "--dhcp-lease-max=100000", f"--dhcp-range={FIRST},{LAST},255.255.0.0,12h", f"--dhcp-leasefile={folder}/leases",
        f"--dhcp-hostsfile={folder}/hosts", "--dhcp-ignore=tag:!known", "--dhcp-option=option:router," + RELAY,
        "--dhcp-match=set:efi,option:client-arch,7", "--dhcp-userclass=set:ipxe,iPXE", "--dhcp-no-override",
        "--dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe", "--dhcp-boot=tag:!ipxe,tag:efi,snponly.efi",
        f"--dhcp-boot=tag:ipxe,{script}", "--enable-tftp", "--tftp-root=/usr/lib/ipxe", f"--tftp-max={count}",
    ]  # fmt: skip


def cpu_s(namespace: str) -> dict[int, tuple[str, float]]:
    """Process -> (what it is, the processor time it and its ended children took)."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True).stdout
    found = {}
    for pid in map(int, listed.split()):
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        found[pid] = (name, sum(map(int, rest.split()[11:15])) / 100)
    return found


def play(pair: Pair, count: int, spread: float, pki: Path, keep: Path | None) -> dict[str, object]:
    command = [sys.executable, str(HERE / "storm_rack.py"), pair.server_address, RELAY, str(count), str(spread)]
    command += [str(pki), *([str(keep)] if keep else [])]
    before = cpu_s(pair.server)
    done = subprocess.run(pair.in_client(*command), check=False, stdout=subprocess.PIPE, text=True, timeout=900)
    if done.returncode:
        raise SystemExit("the rack of simulated machines ended by a fault")
    each = {pid: (name, used - before.get(pid, ("", 0.0))[1]) for pid, (name, used) in cpu_s(pair.server).items()}
    used = sorted((round(seconds, 2), name) for name, seconds in each.values() if seconds > 0.05)
    return json.loads(done.stdout) | {"cpu_s": sum(seconds for seconds, _ in used), "processes": used[::-1]}


def ours(pair: Pair, count: int, spread: float, folder: Path, state: Path) -> dict[str, object]:
    description = folder / "cluster-desc.yaml"
    command = [sys.executable, "-m", "bootstrapper", "serve", str(description), "--state", str(state)]
    command += ["--assets", str(folder / "assets"), "--require", "boot", "--admin", "off"]

    def ready() -> bool:
        try:
            return not any(json.loads((state / FILE_NAME).read_text())["lists"][0])
        except (OSError, ValueError, LookupError):
            return False

    with running(pair.in_server(*command), folder / "ours.log", lambda: ready() and answers(pair), within=60):
        time.sleep(3)
        return play(pair, count, spread, state / "pki", folder / "files")


def peer(pair: Pair, count: int, spread: float, folder: Path, state: Path) -> dict[str, object]:
    (folder / "leases").unlink(missing_ok=True)
    (folder / "nginx.conf").write_text(
        NGINX.format(folder=folder, files=folder, address=pair.server_address, pki=state / "pki")
    )
    nginx = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with (
        running(pair.in_server(*dnsmasq_command(count, folder, pair.server_address)), folder / "dnsmasq.log"),
        running(pair.in_server(*nginx), folder / "nginx.log", lambda: answers(pair)),
    ):
        time.sleep(1)
        return play(pair, count, spread, state / "pki", None)


def answers(pair: Pair) -> bool:
    command = pair.in_client("curl", "-skf", "-o", "/dev/null", f"https://{pair.server_address}/")
    return subprocess.run(command, check=False, capture_output=True).returncode in (0, 22)


def prepare(pair: Pair) -> None:
    """Every address of the machines is the client's, and silent when asked whether it is taken."""
    for command in (
        f"ip -n {pair.client} route add local {SUBNET} dev lo",
        f"ip -n {pair.server} route add {SUBNET} via {pair.client_address}",
        f"ip netns exec {pair.client} sysctl -qw net.ipv4.icmp_echo_ignore_all=1",
        f"ip netns exec {pair.client} sysctl -qw net.ipv4.ip_unprivileged_port_start=0",
    ):
        subprocess.run(command.split(), check=True)


Played = Callable[[Pair, int, float, Path, Path], dict[str, object]]


def main(count: int = 1000, rounds: int = 2, spread: float = 1.0) -> None:
    for program in ("dnsmasq", "nginx", "curl"):
        if shutil.which(program) is None:
            raise SystemExit(f"needs {program}")
    results: dict[str, list[dict]] = {"ours": [], "peer": []}
    sides: tuple[tuple[str, Played], ...] = (("ours", ours), ("peer", peer))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-storm-")))
        folder.chmod(0o755)
        pair = stack.enter_context(open_pair("h4s"))
        prepare(pair)
        write_description(count, folder)
        for number in range(rounds):
            shutil.rmtree(folder / "files", ignore_errors=True)
            for name, run in sides:
                got = run(pair, count, spread, folder, folder / f"state{number}")
                results[name].append(got)
                print_round(name, got)
    tell(results, count)


def print_round(name: str, got: dict) -> None:
    print(
        f"  {NAMES[name]:15} last after {got['last_s']:6.1f} s, {got['finished']} of {got['machines']} finished;",
        end="",
    )
    print(
        f" processor {got['cpu_s']:.1f} s, the machines' {got['rack_cpu_s']:.1f} s; sent again {got['repeats']}", end=""
    )
    print(f"; failures {got['failures']}" if got["failures"] else "")
    print("    " + ", ".join(f"{what} {seconds:.1f} s" for seconds, what in got["processes"][:8]), flush=True)


def tell(results: dict[str, list[dict]], count: int) -> None:
    """Of each side its best round, as elsewhere here: the least disturbed."""
    best = {
        name: min(each, key=lambda got: (got["machines"] - got["finished"], got["last_s"]))
        for name, each in results.items()
    }
    mine, other = best["ours"], best["peer"]
    rows = [
        (
            NAMES[name],
            got["last_s"],
            got["median_s"],
            got["machines"] - got["finished"],
            got["cpu_s"],
            got["rack_cpu_s"],
        )
        for name, got in best.items()
    ]
    columns = ("server", "last done s", "median s", "failed", "its CPU s", "machines' CPU s")
    print_table(f"{count} machines, from power-on to the installer's last report", columns, rows)
    phases = [(name, *mine["phases"][name], *other["phases"].get(name, (0.0, 0.0))) for name in mine["phases"]]
    print_table("each part of it, seconds", ("part", "ours median", "most", "peer median", "most"), phases)
    ratio, failed = mine["last_s"] / max(0.001, other["last_s"]), mine["machines"] - mine["finished"]
    verdict = "reached" if ratio <= AIM and not failed else "missed"
    pairs: Sequence[float] = [a["last_s"] / max(0.001, b["last_s"]) for a, b in zip(*results.values(), strict=True)]
    print(
        f"  time of the last: {ratio:.2f} x the peer's (rounds: {', '.join(f'{each:.2f}' for each in pairs)}), ", end=""
    )
    print(f"{failed} failures; aim <= {AIM:g} and 0: {verdict}")
    tell_why(mine, other)
    save_result("storm", results | {"ratio": ratio, "median ratio": median(pairs)})


def tell_why(mine: dict, other: dict) -> None:
    """What no server could be faster than here, and which parts make the difference."""
    cores = os.cpu_count() or 1
    for name, got in ((NAMES["ours"], mine), (NAMES["peer"], other)):
        least = (got["cpu_s"] + got["rack_cpu_s"]) / cores
        print(
            f"  {name}: processor time for {least:.1f} s of all {cores} cores, {got['rack_cpu_s'] / cores:.1f} of them",
            end="",
        )
        print(" the simulated machines' own")
    slower = {name: times[0] - other["phases"].get(name, (0.0,))[0] for name, times in mine["phases"].items()}
    worst = sorted((each for each in slower.items() if each[1] > 0.5), key=lambda each: -each[1])
    if worst:
        print("  ours takes longer for: " + ", ".join(f"{name} (+{seconds:.1f} s)" for name, seconds in worst))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*map(int, given[:2]), *map(float, given[2:3]))
