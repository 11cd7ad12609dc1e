"""Rendered texts before the programs that will read them: ignition-validate, systemd-analyze, systemd-networkd."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import jinja2
import pytest

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.install import build_install
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.templating import build_environment

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = load((ROOT / "cluster-desc.example.yaml").read_text(), "cluster-desc.example.yaml")
NETWORKD = Path("/lib/systemd/systemd-networkd")
NAMESPACE = "hg-networkd"

STORAGE = """
  - mac: "02:00:00:00:00:10"
    host: stored
    ip: 10.10.14.20
    roles: [worker]
    interfaces:
      - {name: ens1, kind: physical, mac: "02:00:00:00:00:11", mtu: 9000}
      - {name: bond0, kind: bond, members: [ens1], bond_mode: 802.3ad, mtu: 9000}
      - {name: storage, kind: vlan, vlan_id: 20, parent: bond0, addresses: [10.20.0.16/24]}
"""
RACK = load((ROOT / "cluster-desc.example.yaml").read_text().rstrip() + STORAGE, "rack.yaml")

MIXES = ROOT / "tests" / "nodeconfig" / "mixes"
CLUSTERS = {"rack": RACK, **{path.stem: load(path.read_text(), path.name) for path in sorted(MIXES.iterdir())}}
MACHINES = [(cluster, machine) for cluster in CLUSTERS.values() for machine in cluster.machines]
NAMES = [f"{name}-{machine.host}" for name, cluster in CLUSTERS.items() for machine in cluster.machines]


@cache
def make_environment() -> jinja2.Environment:
    templates = ROOT / "templates"
    texts = {str(path.relative_to(templates)): path.read_text() for path in templates.rglob("*") if path.is_file()}
    return build_environment(texts)


def make_context(cluster: Cluster) -> Context:
    return Context(cluster, Links(cluster.network.bootstrapper), make_environment(), "placeholder\n", token="TOKEN")


@pytest.mark.skipif(not shutil.which("ignition-validate"), reason="needs ignition-validate")
@pytest.mark.parametrize("name", ["ignition", "install"])
@pytest.mark.parametrize(("cluster", "machine"), MACHINES, ids=NAMES)
def test_ignition_takes_it(name: str, cluster: Cluster, machine: Machine) -> None:
    text = render_output(name, make_context(cluster), machine).text
    done = subprocess.run(["ignition-validate", "-"], input=text, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ignition_validate_would_find_a_fault() -> None:
    document = json.loads(render_output("ignition", make_context(RACK), RACK.machines[0]).text)
    document["storage"]["files"][0]["path"] = "relative"
    text = json.dumps(document)
    done = subprocess.run(["ignition-validate", "-"], input=text, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize(("cluster", "machine"), MACHINES, ids=NAMES)
def test_systemd_takes_the_units(cluster: Cluster, machine: Machine, tmp_path: Path) -> None:
    context = make_context(cluster)
    paths = []
    for config in (build(cluster, machine, context), build_install(machine, context)):
        for unit in config.units:
            if unit.content is not None and unit.name.endswith((".service", ".timer", ".path", ".mount")):
                path = tmp_path / unit.name
                path.write_text(unit.content)
                paths.append(str(path))
    assert len(paths) >= 3
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, timeout=60)
    # Programs below /opt/bin are fetched on the machine; here they are not at hand.
    lines = [line for line in done.stderr.splitlines() if "/opt/bin/" not in line or "not executable" not in line]
    ours = [line for line in lines if any(Path(path).name in line for path in paths)]
    assert ours == []


@pytest.mark.skipif(not NETWORKD.exists(), reason="needs systemd-networkd")
def test_networkd_does_what_the_files_say(tmp_path: Path) -> None:
    """The storage machine's files in a network namespace: the addresses, the route, the bond and the VLAN are there."""
    machine = next(machine for machine in RACK.machines if machine.host == "stored")
    networks = tmp_path / "network"
    networks.mkdir()
    for unit in build(RACK, machine, make_context(RACK)).units:
        if unit.name.endswith((".network", ".netdev")):
            # The cards here are veths, which `Kind=!*` leaves alone on purpose.
            (networks / unit.name).write_text((unit.content or "").replace("Kind=!*\n", ""))
    namespace = ["ip", "netns", "exec", NAMESPACE]
    log = tmp_path / "log"
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    daemon = None
    try:
        bond = subprocess.run(["ip", "-n", NAMESPACE, "link", "add", "probe", "type", "bond"], capture_output=True)
        for index, mac in enumerate(("02:00:00:00:00:10", "02:00:00:00:00:11")):
            subprocess.run(
                [
                    *namespace,
                    "ip",
                    "link",
                    "add",
                    f"card{index}",
                    "address",
                    mac,
                    "type",
                    "veth",
                    "peer",
                    f"far{index}",
                ],
                check=True,
            )
            subprocess.run([*namespace, "ip", "link", "set", f"far{index}", "up"], check=True)
        # A read-only /sys is how networkd knows that no udev will tell it of its links.
        script = f"""
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/netif/links /run/systemd/netif/leases
mount --bind {networks} /etc/systemd/network && mount -t tmpfs tmpfs /lib/systemd/network
chmod -R a+rX {tmp_path} && chown -R systemd-network: /run/systemd/netif
mount -o remount,ro,bind /sys; exec {NETWORKD}
"""
        with log.open("w") as file:
            daemon = subprocess.Popen(
                ["unshare", "--mount", *namespace, "sh", "-c", script], stdout=file, stderr=subprocess.STDOUT,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_LOG_TARGET": "console"},
            )  # fmt: skip
        links: dict[str, dict[str, object]] = {}
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.5)
            links = {link["ifname"]: link for link in show(namespace, "-details", "addr", "show")}
            if addresses(links["card0"]) and (bond.returncode != 0 or addresses(links.get("storage", {}))):
                break
        assert addresses(links["card0"]) == ["10.10.14.20/24"], log.read_text()
        (route,) = show(namespace, "route", "show", "default")
        assert (route["gateway"], route["dev"]) == ("10.10.14.254", "card0")
        faults = [line for line in log.read_text().splitlines() if "Unknown" in line or "Failed to parse" in line]
        assert faults == []
        if bond.returncode == 0:  # some kernels have no bonding; the files were parsed all the same
            assert addresses(links["storage"]) == ["10.20.0.16/24"], log.read_text()
            assert links["card1"]["master"] == "bond0"
            assert links["bond0"]["mtu"] == 9000
            assert links["storage"]["linkinfo"]["info_data"]["id"] == 20  # type: ignore[index]
    finally:
        if daemon is not None:
            daemon.terminate()
            daemon.wait(timeout=10)
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


def show(namespace: list[str], *arguments: str) -> list[dict[str, object]]:
    done = subprocess.run([*namespace, "ip", "-json", *arguments], capture_output=True, text=True, check=True)
    found: list[dict[str, object]] = json.loads(done.stdout or "[]")
    return found


def addresses(link: dict[str, object]) -> list[str]:
    infos = link.get("addr_info", [])
    assert isinstance(infos, list)
    return [f"{info['local']}/{info['prefixlen']}" for info in infos if info["family"] == "inet"]
