"""`bootstrapper doctor` on a rack that could install, and with each fault made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filled_assets import fill
from wires import Machine, Rack, need, wait_for

from bootstrapper.assets.registry_storage import REGISTRY

pytestmark = pytest.mark.interop

SERVER = "10.82.0.1"
DESCRIPTION = """
version: 1
cluster: {name: doc, domain: doc.internal}
network:
  subnet: 10.82.0.0/24
  bootstrapper: 10.82.0.1
  routers: []
  dhcp: {range: 10.82.0.100-10.82.0.199}
kubernetes: {version: 1.35.8}
machines:
  - {mac: "02:00:00:00:00:01", host: one, ip: 10.82.0.11, roles: [etcd, master, worker]}
"""


@dataclass
class Site:
    folder: Path
    rack: Rack
    server: Machine
    wait_s: float = 0.2

    @property
    def description(self) -> Path:
        return self.folder / "cluster-desc.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def assets(self) -> Path:
        return self.folder / "assets"

    def command(self, verb: str, *more: str) -> list[str]:
        places = ("--state", str(self.state), "--assets", str(self.assets))
        return [sys.executable, "-m", "bootstrapper", verb, str(self.description), *places, *more]

    def ask(self, *more: str, before: tuple[str, ...] = ()) -> dict[str, list[tuple[str, str, str]]]:
        """Check -> (grade, message, hint) of what it found."""
        command = self.command("doctor", "--json", "--wait", str(self.wait_s), *more)
        said = self.server.run(*before, *command, check=False)
        document = json.loads(said[said.index("{") :])
        found: dict[str, list[tuple[str, str, str]]] = {}
        for each in document["findings"]:
            found.setdefault(each["check"], []).append((each["grade"], each["message"], each["hint"]))
        fails = any(grade == "fail" for findings in found.values() for grade, _, _ in findings)
        assert document["ok"] is not fails
        return found

    def fails(self, *more: str) -> dict[str, str]:
        """Check -> message, of the checks that fail."""
        found = self.ask(*more)
        for findings in found.values():
            assert all(hint for grade, _, hint in findings if grade in ("fail", "warn")), findings
        return {name: text for name, findings in found.items() for grade, text, _ in findings if grade == "fail"}

    def edit(self, old: str, new: str) -> None:
        text = self.description.read_text()
        assert old in text
        self.description.write_text(text.replace(old, new))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    need("ip", "chronyd", "docker-registry")
    with Rack("lgd") as rack:
        made = Site(tmp_path, rack, rack.machine("srv", f"{SERVER}/24"))
        made.description.write_text(DESCRIPTION)
        made.state.mkdir(mode=0o700)
        fill(made.description, made.assets, tmp_path / "layouts")
        yield made


def serve(site: Site) -> subprocess.Popen[str]:
    log = site.folder / "serve.log"
    child = site.server.start(*site.command("serve"), log=log)
    status = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{SERVER}/healthz")
    wait_for(lambda: child.poll() is not None or site.server.run(*status, check=False) == "200", why=log.read_text)
    assert child.poll() is None, log.read_text()
    return child


def test_a_rack_that_could_install_before_and_while_it_is_served(site: Site) -> None:
    before = sorted(str(path) for path in site.folder.rglob("*"))
    assert site.fails("--verify") == {}
    text = site.server.run(*site.command("doctor"))
    assert text.splitlines()[-1] == "machines can be installed"
    # It changes nothing; the lock that `fetch` takes is not taken.
    assert sorted(str(path) for path in site.folder.rglob("*")) == before
    child = serve(site)
    found = site.ask()
    assert [grade for grade, _, _ in found["ports"]] == ["ok"]
    ours = found["ports"][0][1]
    assert ours.startswith("held by our running server: DHCP, PXE, TFTP, DNS, NTP"), ours
    assert "the image registry" in ours and "the admin's pages" in ours
    assert [grade for grade, _, _ in found["rivals"]] == ["ok"]
    assert "are good for at least" in found["certificates"][0][1]
    assert site.server.stop(child) == 0


def test_files_and_images(site: Site) -> None:
    kernel = next(site.assets.rglob("*.vmlinuz"))
    good = kernel.read_bytes()
    kernel.unlink()
    failed = site.fails()
    assert list(failed) == ["files"]
    assert "is not in" in failed["files"] and "needed by one" in failed["files"]
    kernel.write_bytes(b"x" * len(good))
    assert "is not genuine: expected sha256" in site.fails()["files"]
    kernel.write_bytes(good)
    layers = (path for path in (site.assets / REGISTRY).rglob("data") if path.read_bytes()[:2] == b"\x1f\x8b")
    blob = next(layers)
    content = blob.read_bytes()
    blob.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert site.fails() == {}, "layers are looked at by size, unless --verify"
    assert "is not genuine" in site.fails("--verify")["images"]
    blob.unlink()
    assert "is not complete" in site.fails()["images"]


def test_the_description_and_its_lock(site: Site) -> None:
    lock = site.folder / "assets.lock"
    good = lock.read_text()
    lock.write_text(good.replace("sha256:", "md5:", 1))
    assert "expected" in site.fails()["description"]
    lock.write_text(good)
    site.edit("roles: [etcd, master, worker]", "roles: [etcd, mastre]")
    failed = site.fails()
    assert "mastre" in failed["description"]
    assert site.ask()["everything else"][0][0] == "skip"
    site.description.unlink()
    assert "cannot be read" in site.fails()["description"]


def test_the_interface(site: Site) -> None:
    site.server.ip("link", "set", "eth0", "down")
    assert "is down" in site.fails()["interface"]
    site.server.ip("link", "set", "eth0", "up")
    site.server.ip("address", "replace", f"{SERVER}/24", "dev", "eth0")
    site.rack._switch.ip("link", "set", "p1", "down")
    wait_for(lambda: "NO-CARRIER" in site.server.ip("link", "show", "eth0"))
    assert "no link" in site.fails()["interface"]
    site.server.ip("address", "flush", "dev", "eth0")
    found = site.ask()
    assert found["interface"][0][0] == "fail" and "ip address add" in found["interface"][0][2]
    assert {found[check][0][0] for check in ("ports", "rivals")} == {"skip"}


def test_ports_and_rivals(site: Site) -> None:
    need("dnsmasq")
    site.wait_s = 5.0
    taker = site.server.start(
        sys.executable, "-c",
        f"import socket, time; s = socket.create_server(('{SERVER}', 5000)); time.sleep(600)",
    )  # fmt: skip
    wait_for(lambda: ":5000" in site.server.run("ss", "-lnt"))
    message = site.fails()["ports"]
    assert "TCP port 5000 (the image registry)" in message and f"(process {taker.pid})" in message
    site.server.stop(taker)
    rival = site.rack.machine("rival", "10.82.0.9/24")
    rival.start(
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--dhcp-range=10.82.0.210,10.82.0.220",
        "--leasefile-ro", "--no-ping",
    )  # fmt: skip
    wait_for(lambda: ":67" in rival.run("ss", "-lnu"))
    failed = site.fails()
    assert list(failed) == ["rivals"]
    assert "10.82.0.9" in failed["rivals"]
    site.edit("dhcp: {range", "dhcp: {mode: off, range")
    assert site.fails() == {}


def test_the_host(site: Site, tmp_path: Path) -> None:
    # Programs: a PATH that has none, and no boot files
    empty = site.folder / "empty"
    empty.mkdir()
    failed = site.fails("--boot-files", str(empty))
    assert "boot file is missing" in failed["programs"]
    # The state directory: open to others, on a filesystem in memory, full
    site.state.chmod(0o755)
    assert site.ask()["state"][0][:2] == ("warn", f"{site.state} may be read by others (mode 755): keys are in it")
    site.state.chmod(0o700)
    small = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m,mode=700 tmpfs "$0" && exec "$@"', str(site.state))
    found = site.ask(before=small)
    assert "is in memory (tmpfs)" in found["state"][0][1]
    assert [grade for grade, _, _ in found["disk"]] == ["fail"]


def test_the_clock_and_certificates(site: Site) -> None:
    child = serve(site)
    assert site.server.stop(child) == 0
    at = (sys.executable, "-c", LATER)

    def found(days: int) -> dict[str, list[tuple[str, str, str]]]:
        said = site.server.run(*at, str(days), *site.command("doctor", "--json", "--wait", "0.2")[3:], check=False)
        assert '"findings"' in said, said
        grades: dict[str, list[tuple[str, str, str]]] = {}
        for each in json.loads(said)["findings"]:
            grades.setdefault(each["check"], []).append((each["grade"], each["message"], each["hint"]))
        return grades

    past = found(-3650)
    assert past["clock"][0][0] == "fail" and "was written on" in past["clock"][0][1]
    year = found(390)
    assert any("https of server ends in" in message for _, message, _ in year["certificates"]), year["certificates"]
    ended = found(36500)
    assert any(grade == "fail" and "authority" in message for grade, message, _ in ended["certificates"])


LATER = """
import sys, time
shift = int(sys.argv.pop(1)) * 86400
real = time.time
time.time = lambda: real() + shift
from bootstrapper.cli import main
main()
"""


def test_without_its_powers_it_says_what_it_could_not_see(site: Site) -> None:
    need("setpriv")
    found = site.ask(before=("setpriv", "--bounding-set=-all", "--inh-caps=-all"))
    assert [grade for grade, _, _ in found["ports"]] == ["skip", "ok"]
    assert found["rivals"][0][0] == "skip"
    assert "as root" in found["rivals"][0][2]
