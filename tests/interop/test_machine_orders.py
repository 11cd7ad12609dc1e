"""Orders to a running server, given by the CLI as an admin gives them, and what the machine on the wire then gets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Machine, Rack, need, wait_for

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SERVER = "10.61.0.1"
STRANGER, NEW_CARD, OTHER = "02:61:00:00:00:01", "02:61:00:00:00:02", "02:61:00:00:00:03"
DESCRIPTION = f"""\
version: 1
cluster: {{name: orders, domain: orders.example}}
network:
  subnet: 10.61.0.0/24
  bootstrapper: {SERVER}
  routers: []
  dhcp: {{range: 10.61.0.100-10.61.0.109}}
  ntp: {{serve: false}}
registry: {{serve: false}}
unknown_machines: worker
machines:
  - {{mac: "02:61:00:00:00:11", host: master, ip: 10.61.0.11, roles: [etcd, master]}}
"""


class Orders:
    def __init__(self, rack: Rack, folder: Path) -> None:
        self.rack = rack
        self.description, self.state, self.log = folder / "d.yaml", folder / "state", folder / "serve.log"
        self.description.write_text(DESCRIPTION)
        self.server = rack.machine("srv", f"{SERVER}/24")
        self.child = self.server.start(
            sys.executable, "-m", "bootstrapper", "serve", str(self.description), "--state", str(self.state),
            "--admin", "off", log=self.log,
        )  # fmt: skip
        self.run = 0
        wait_for(lambda: (self.state / "admin.sock").exists() and "ok" in self.curl(self.server, "/healthz"),
                 timeout=60, why=self.log.read_text)  # fmt: skip

    def order(self, *words: str) -> str:
        command = (sys.executable, "-m", "bootstrapper", *words, "--state", str(self.state))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return f"{done.stdout}{done.stderr}"

    def machine(self, name: str, mac: str) -> Machine:
        return self.rack.machine(name, mac=mac)

    def curl(self, who: Machine, path: str) -> str:
        return who.run("curl", "-s", "--max-time", "5", f"http://{SERVER}{path}", check=False)

    def lease(self, who: Machine) -> str:
        """The address it is given; it is taken up."""
        said = who.run("udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", "/bin/true", check=False)
        found = re.search(r"lease of (10\.61\.0\.\d+) obtained", said)
        assert found, said
        who.ip("addr", "replace", f"{found[1]}/24", "dev", "eth0")
        return found[1]

    def script(self, who: Machine, mac: str) -> str:
        return self.curl(who, f"/boot.ipxe?mac={mac}&arch=0")

    def known(self) -> dict[str, dict[str, object]]:
        return {each["mac"]: each for each in json.loads(self.order("machines", "--json"))}


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Orders]:
    need("ip", "curl", "udhcpc")
    with Rack("la") as rack:
        yield Orders(rack, tmp_path)


def test_approve_forget_and_move(orders: Orders) -> None:
    stranger = orders.machine("m1", STRANGER)
    address = orders.lease(stranger)
    assert "not in the description" in orders.script(stranger, STRANGER)
    assert STRANGER in orders.order("unknown")

    # approved: a member like one that is written, which waits for its files
    orders.order("approve", STRANGER)
    wait_for(lambda: "waiting for files" in orders.script(stranger, STRANGER), timeout=60, why=orders.log.read_text)
    assert orders.lease(stranger) == address
    assert orders.known()[STRANGER]["state"] == "armed"

    # forgotten, once it is off: the server gives its address to whoever wishes for it next, and it is nobody again
    stranger.ip("link", "set", "eth0", "down")
    orders.order("forget", STRANGER, "--yes")
    other = orders.machine("m2", OTHER)
    wish = ("udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-r", address, "-s", "/bin/true")
    wait_for(lambda: STRANGER not in orders.known(), timeout=60, why=orders.log.read_text)
    # Each a machine never seen: one that asked too early has a lease of its own by now.
    others = iter(range(0x10, 0xFF))

    def is_given() -> bool:
        other.ip("link", "set", "eth0", "address", f"02:61:00:00:01:{next(others):02x}")
        return f"lease of {address} obtained" in other.run(*wish, check=False)

    wait_for(is_given, timeout=60, why=orders.log.read_text)
    stranger.ip("link", "set", "eth0", "up")

    # approved again, and moved to another card: its address and its state go along
    orders.order("approve", STRANGER)
    wait_for(lambda: STRANGER in orders.known(), timeout=60, why=orders.log.read_text)
    address = orders.lease(stranger)
    said = orders.order("move", STRANGER, NEW_CARD)
    stranger.ip("addr", "flush", "dev", "eth0")
    wait_for(lambda: NEW_CARD in orders.known(), timeout=60, why=lambda: said + orders.log.read_text())
    card = orders.machine("m3", NEW_CARD)
    assert orders.lease(card) == address
    assert orders.known()[NEW_CARD]["state"] == "armed"
    assert "not in the description" in orders.script(card, STRANGER)


def test_refused_orders_say_what_to_do(orders: Orders) -> None:
    said = orders.order("install", "02:61:00:00:00:99")
    assert "not in the description" in said
    assert "it is not on hold" in orders.order("release", "master")
    orders.order("hold", "master", "--reason", "bad fan")
    assert orders.known()["02:61:00:00:00:11"]["state"] == "held"
    orders.order("forget", "master", "--yes")
    said = orders.order("machines", "master")
    assert "forgotten by an admin" in said
    orders.order("install", "master")
    assert orders.known()["02:61:00:00:00:11"]["state"] == "armed"
