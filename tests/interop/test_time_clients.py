"""chronyd as a client asks our time service, in namespaces; with and without a source behind it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Machine, Rack, need, wait_for

pytestmark = pytest.mark.interop

SERVER = "10.41.0.1"
SERVE = """\
import logging, signal, sys, time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from rack import make_cluster
from bootstrapper.cluster.model import AddressRange, Ntp, Subnet
from bootstrapper.servers.chrony import make_chrony
from bootstrapper.servers.privileges import drop_privileges, find_account

link = Subnet(IPv4Network("10.41.0.0/24"), (), None)
cluster = make_cluster()
network = replace(cluster.network, link=link, bootstrapper=IPv4Address("10.41.0.1"), ntp=Ntp(True, tuple(sys.argv[4:])))
if sys.argv[3] != "root":
    drop_privileges(find_account(sys.argv[3]))
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
child = make_chrony(replace(cluster, network=network), Path(sys.argv[2]))
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
child.start(time.monotonic())
while not stopped:
    print("pid", child.pid, flush=True)
    child.poll(time.monotonic())
    time.sleep(0.1)
child.stop(5)
print("stopped", child.running, flush=True)
"""


@pytest.fixture
def rack() -> Iterator[Rack]:
    need("chronyd", "ip", "ethtool")
    with Rack("het") as made:
        yield made


def serve(server: Machine, folder: Path, user: str = "nobody", *upstream: str) -> Path:
    """Our service under its watcher; returns its log."""
    script, log, state = folder / "serve.py", folder / "log", folder / "state"
    script.write_text(SERVE)
    state.mkdir()
    state.chmod(0o777)
    for each in (folder, *folder.parents[:3]):
        each.chmod(each.stat().st_mode | 0o755)  # another user's process must get there
    tests = str(Path(__file__).parent.parent)
    server.start(sys.executable, str(script), tests, str(state / "chrony"), user, *upstream, log=log)
    wait_for(lambda: "Disabled control of system clock" in log.read_text() or "cannot" in log.read_text())
    return log


def ask(client: Machine, folder: Path) -> str:
    """One reading of the server's clock; sets nothing."""
    config = folder / "client.conf"
    config.write_text(f"server {SERVER} iburst maxsamples 4\nport 0\ncmdport 0\npidfile {folder}/client.pid\n")
    return client.run("chronyd", "-Q", "-U", "-u", "root", "-t", "12", "-f", str(config), check=False, timeout=30)


@pytest.mark.parametrize("user", ["nobody", "root"])
def test_without_a_source_our_clock_is_served(rack: Rack, tmp_path: Path, user: str) -> None:
    server = rack.machine("srv", f"{SERVER}/24")
    client = rack.machine("c1", "10.41.0.11/24")
    log = serve(server, tmp_path, user)
    text = ask(client, tmp_path)
    offset = re.search(r"System clock wrong by (-?[\d.]+) seconds", text)
    assert offset, text + log.read_text()
    assert abs(float(offset[1])) < 0.1


def test_it_says_stratum_ten_and_comes_back_after_a_kill(rack: Rack, tmp_path: Path) -> None:
    server = rack.machine("srv", f"{SERVER}/24")
    client = rack.machine("c1", "10.41.0.11/24")
    log = serve(server, tmp_path)
    assert wait_for(lambda: stratum(client)) == 10
    first = int(re.findall(r"^pid (\d+)$", log.read_text(), re.M)[-1])
    os.kill(first, 9)
    wait_for(lambda: "ended unexpectedly (signal SIGKILL)" in log.read_text())
    wait_for(lambda: int(re.findall(r"^pid (\d+)$", log.read_text(), re.M)[-1]) not in (0, first))
    assert wait_for(lambda: stratum(client)) == 10


def test_a_source_that_is_reached_is_better_than_our_clock(rack: Rack, tmp_path: Path) -> None:
    server = rack.machine("srv", f"{SERVER}/24")
    upstream = rack.machine("up", "10.41.0.5/24")
    client = rack.machine("c1", "10.41.0.11/24")
    config = tmp_path / "up.conf"
    config.write_text(f"local stratum 3\nallow 10.41.0.0/24\ncmdport 0\npidfile {tmp_path}/up.pid\n")
    upstream.start("chronyd", "-d", "-x", "-U", "-u", "root", "-f", str(config))
    serve(server, tmp_path, "nobody", "10.41.0.5")
    assert wait_for(lambda: stratum(client) == 4, timeout=25)


def test_strangers_are_not_answered(rack: Rack, tmp_path: Path) -> None:
    server = rack.machine("srv", f"{SERVER}/24")
    stranger = rack.machine("c2", "10.42.0.2/24")
    stranger.ip("route", "add", f"{SERVER}/32", "dev", "eth0")
    server.ip("route", "add", "10.42.0.0/24", "dev", "eth0")
    client = rack.machine("c1", "10.41.0.11/24")
    serve(server, tmp_path)
    assert wait_for(lambda: stratum(client)) == 10
    assert stratum(stranger) is None


PROBE = """\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(1)
    sock.sendto(bytes([0x23]) + bytes(39) + b"\\1" * 8, (sys.argv[1], 123))
    try:
        data = sock.recv(100)
    except OSError:
        raise SystemExit
print(data[1] if data[0] >> 6 != 3 else 16)
"""


def stratum(client: Machine) -> int | None:
    """Of the server's reply to a plain NTP request; 16 when it says that it is not synchronised."""
    text = client.run(sys.executable, "-c", PROBE, SERVER, check=False)
    return int(text) if text.strip().isdigit() else None
