"""Three virtual machines, BIOS and UEFI mixed, become an etcd cluster by their own configurations and nothing else.

The whole chain is the real one: firmware, DHCP, TFTP, installer, claim over TLS, disk, first boot, with the real
systemd and Ignition of the lab's systemd test system. Once with Ignition and once with cloud-config, which Debian has
no program for (`lab/guest/coreos_cloudinit.py` does what it does). What the machines then are is asked over SSH, with
the key that the description gives them. etcd is 3.5, the newest that Debian has.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from rich.console import Console

from bootstrapper.boot.events import Event
from bootstrapper.cluster.load import load
from bootstrapper.lab.accelerator import find_accelerator
from bootstrapper.lab.board import Board, Row
from bootstrapper.lab.machine import MEMORY_MIB
from bootstrapper.lab.network import Lan
from bootstrapper.lab.programs import RACK, SYSTEMD_BUILD, find_missing
from bootstrapper.lab.progress import PlainView
from bootstrapper.lab.rack import LabSetup, Rack, build_rack, prepare_state, tail
from bootstrapper.lab.systemd_system import build_systemd_system
from bootstrapper.lab.test_system import default_cache, prepare_assets
from bootstrapper.state.sqlite import SqliteStore

pytestmark = [pytest.mark.lab_etcd, pytest.mark.timeout(2400)]

PROGRAMS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bootstrapper/newer/bin"
ETCD = ("etcd", "etcdctl", "etcdutl")
LEASE_S = 120
MEMBERS = {"alpha": "10.77.0.11", "beta": "10.77.0.12", "gamma": "10.77.0.13"}
"alpha and gamma have a BIOS, beta has UEFI."
DESCRIPTION = """\
version: 1
cluster: {{name: trio, domain: trio.example}}
network:
  subnet: 10.77.0.0/24
  bootstrapper: 10.77.0.1
  routers: []
  interface: lan0
  dhcp: {{range: 10.77.0.100-10.77.0.109, lease: 2m}}
os: {{version: 4593.2.5, provision: {provision}}}
kubernetes: {{version: 1.35.8}}
etcd: {{version: {etcd}}}
ssh_authorized_keys: ["{key}"]
machines:
  - {{mac: "52:54:00:00:00:0a", host: alpha, ip: 10.77.0.11, roles: [etcd]}}
  - {{mac: "52:54:00:00:00:0b", host: beta, ip: 10.77.0.12, roles: [etcd]}}
  - {{mac: "52:54:00:00:00:0c", host: gamma, ip: 10.77.0.13, roles: [etcd]}}
  # A cluster has a master; this one is never powered on.
  - {{mac: "52:54:00:00:00:0d", host: delta, ip: 10.77.0.14, roles: [master]}}
"""


@dataclass
class Site:
    """The running rack, and what was seen of it before the server went."""

    provision: str
    lan: Lan
    key: Path
    arrived: bool
    events: list[Event]
    look: Callable[[], None]
    "Takes note of what happened: a machine that reset itself is powered on again."
    stop_server: Callable[[], None]
    consoles: Path
    told: list[str] = field(default_factory=list)

    def ssh(self, host: str, command: str) -> str | None:
        """What `command` wrote on the machine; None when it failed or the machine does not answer."""
        options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10"]  # fmt: skip
        words = ["ssh", "-i", str(self.key), *options, f"core@{MEMBERS[host]}", command]
        done = subprocess.run(self.lan.inside(words), check=False, capture_output=True, text=True, timeout=120)
        self.told.append(f"{host}: {command}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if done.returncode == 0 else None

    def wait_for(self, what: Callable[[], object], timeout_s: float, why: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not what():
            consoles = "".join(f"\n--- {host}\n{tail(self.consoles / f'{host}.console', 25)}" for host in MEMBERS)
            assert time.monotonic() < deadline, f"{why}: not after {timeout_s} s\n{self.told[-1:]}{consoles}"
            self.look()
            time.sleep(0.5)

    def is_healthy(self, host: str) -> bool:
        """`etcdctl endpoint health` on that machine, against its own member."""
        answer = self.ssh(host, "sudo /opt/bin/etcdctl-member endpoint health 2>&1")
        return answer is not None and "is healthy" in answer

    def wait_until_healthy(self, timeout_s: float) -> None:
        for host in MEMBERS:
            self.wait_for(lambda host=host: self.is_healthy(host), timeout_s, f"{host} is healthy")  # type: ignore[misc]


@pytest.fixture(scope="module", params=["ignition", "cloud-config"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    missing = find_missing([*RACK, *SYSTEMD_BUILD])
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root, and the packages {', '.join(missing) or '(all are there)'}")
    if not all((PROGRAMS / name).exists() for name in ETCD):
        pytest.skip("needs packaging/newer-programs.sh")
    work = tmp_path_factory.mktemp("etcd")
    description, setup = make_site(work, request.param)
    cluster = load(description.read_text(), str(description))
    directory = prepare_state(setup.state, keep=False)
    view = PlainView(Console(file=sys.__stdout__, width=160))
    assets = setup.state / "assets"
    prepare_assets(cluster, None, assets, default_cache(), view.say, build_systemd_system)
    pack_etcd(assets, description)
    started = time.monotonic()
    with Lan("lan0", IPv4Interface("10.77.0.1/24")) as lan:
        rack = Rack(lan, find_accelerator(), directory, view)
        try:
            command = [*setup.server, str(description), "--state", str(setup.state), "--log", "json"]
            command += ["--require", "boot"]
            rack.start_server(command, "http://10.77.0.1/healthz")
            machines = build_rack(cluster, setup, directory, MEMORY_MIB)
            board = Board({mac: Row(vm.name, mac, vm.firmware) for mac, vm in machines.items()})
            store = SqliteStore(setup.state / "state.db")
            arrived = rack.boot_all(machines, board, store, setup)
            view.say(f"{request.param}: {time.monotonic() - started:.0f} s from power-on to reports")
            yield Site(
                provision=request.param,
                lan=lan,
                key=work / "key",
                arrived=arrived,
                events=[event for _, event in store.events(limit=100_000)],
                look=lambda: rack.update(board, store),
                stop_server=rack.stop_server,
                consoles=directory,
            )
            store.close()
        finally:
            rack.stop()
    view.say(f"{request.param}: {time.monotonic() - started:.0f} s in all")


def make_site(work: Path, provision: str) -> tuple[Path, LabSetup]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / "key")], check=True)
    description = work / "cluster-desc.yaml"
    key = (work / "key.pub").read_text().strip()
    description.write_text(DESCRIPTION.format(provision=provision, etcd=etcd_version(), key=key))
    return description, LabSetup(description, work / "state", timeout_s=1500, parallel=3, only=tuple(MEMBERS))


def etcd_version() -> str:
    text = subprocess.run([str(PROGRAMS / "etcd"), "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"etcd Version: (\S+)", text)
    assert found, text
    return found[1]


def pack_etcd(assets: Path, description: Path) -> None:
    """The programs as etcd's own releases have them, and their hash where the admin keeps it."""
    version = etcd_version()
    name = f"etcd/{version}/amd64/etcd-v{version}-linux-amd64.tar.gz"
    path = assets / name
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for program in ETCD:
            archive.add(PROGRAMS / program, f"etcd-v{version}-linux-amd64/{program}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (description.parent / "assets.lock").write_text(f'version = 1\n\n[files]\n"{name}" = "sha256:{digest}"\n')


def test_each_machine_claimed_its_own_configuration_and_reported(site: Site) -> None:
    assert site.arrived, site.told
    claims = [event for event in site.events if (event.service, event.step) == ("http", "config claimed")]
    assert len({event.mac for event in claims}) == len(claims) == 3
    assert all(site.provision in event.detail for event in claims)
    for host, address in MEMBERS.items():
        names = site.ssh(
            host, "hostname; cat /etc/hosts; ip -4 -o addr show scope global; grep '^PRETTY' /etc/os-release"
        )
        assert names is not None and names.startswith(f"{host}\n"), site.told[-1]
        assert all(f"{each} {name}.trio.example {name}" in names for name, each in MEMBERS.items())
        assert f"inet {address}/24 " in names and "dynamic" not in names
        assert "bootstrapper lab (systemd)" in names


def test_etcd_was_fetched_from_the_server_and_is_what_the_hash_is_of(site: Site) -> None:
    expected = "".join(f"{hashlib.sha256((PROGRAMS / name).read_bytes()).hexdigest()}\n" for name in ETCD)
    command = " ".join(f"/opt/bin/{name}" for name in ETCD)
    for host in MEMBERS:
        site.wait_for(
            lambda host=host: site.ssh(host, f"sha256sum {command} | cut -d ' ' -f 1") == expected,  # type: ignore[misc]
            300, f"{host} has etcd",
        )  # fmt: skip
        log = site.ssh(host, "sudo journalctl -u bootstrapper-download@etcd.service -o cat")
        assert log is not None and "/opt/bin/etcd is in place" in log, site.told[-1]


def test_etcd_is_healthy_from_each_machine(site: Site) -> None:
    site.wait_until_healthy(300)
    for host in MEMBERS:
        lines = (site.ssh(host, "sudo /opt/bin/etcdctl-member endpoint health --cluster 2>&1") or "").splitlines()
        healthy = sorted(line.split()[0] for line in lines if " is healthy" in line)
        assert healthy == [f"https://{address}:2379" for address in MEMBERS.values()], site.told[-1]
    assert site.ssh("alpha", "sudo /opt/bin/etcdctl-member put /proof kept") == "OK\n"


def test_nothing_failed_and_the_configuration_is_not_changed(site: Site) -> None:
    for host in MEMBERS:
        assert site.ssh(host, "systemctl --failed --plain --no-legend") == "", site.told[-1]
        assert site.ssh(host, "systemctl is-active etcd.service sshd.service bootstrapper-renew.timer") is not None
        where = site.ssh(host, "systemctl show etcd.service -p FragmentPath -p DropInPaths -p Type")
        assert where == "Type=notify\nFragmentPath=/etc/systemd/system/etcd.service\nDropInPaths=\n"


def test_its_own_upkeep_works(site: Site) -> None:
    for unit in ("bootstrapper-renew", "etcd-defragment", "etcd-snapshot"):
        assert site.ssh("gamma", f"sudo systemctl start {unit}.service") == "", site.told[-1]
    kept = site.ssh("gamma", "sudo sh -c 'ls /var/lib/etcd-snapshots'")
    assert kept is not None and re.fullmatch(r"\d{8}T\d{6}Z\.db\n", kept), kept


def test_etcd_outlives_the_server_every_lease_and_a_reboot(site: Site) -> None:
    """Rule 9. Last, since it takes the server away. The machine that reboots has a BIOS, with cloud-config UEFI."""
    host = "alpha" if site.provision == "ignition" else "beta"
    site.stop_server()
    last = max((event.at for event in site.events if (event.service, event.step) == ("dhcp", "ack")), default=0.0)
    before = site.ssh(host, "cat /proc/sys/kernel/random/boot_id")
    assert before is not None, site.told[-1]
    began = time.monotonic()
    site.ssh(host, "sudo systemctl --no-block reboot")

    def is_back() -> bool:
        return site.ssh(host, "cat /proc/sys/kernel/random/boot_id") not in (None, before)

    site.wait_for(is_back, 400, f"{host} is back")
    site.wait_for(lambda: time.time() > last + LEASE_S, LEASE_S + 10, "every lease has run out")
    site.wait_until_healthy(300)
    print(f"{site.provision}: {host} healthy {time.monotonic() - began:.0f} s after its reboot", file=sys.__stdout__)
    assert site.ssh(host, "sudo /opt/bin/etcdctl-member get /proof --print-value-only") == "kept\n"
    assert site.ssh(host, "systemctl --failed --plain --no-legend") == "", site.told[-1]
    address = site.ssh(host, "ip -4 -o addr show scope global") or ""
    assert f"inet {MEMBERS[host]}/24 " in address and "dynamic" not in address
