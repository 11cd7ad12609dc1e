"""`bootstrapper serve` whose state's disk is full, whose database another program keeps locked, or whose description is
broken: what machines get all the same, and what the admin sees."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filled_assets import fill
from wires import Machine, Rack, need, run, wait_for

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SERVER = "10.67.0.1"
INSTALLED, NEW = "02:67:00:00:00:12", "02:67:00:00:00:13"
DESCRIPTION = f"""\
version: 1
cluster: {{name: full, domain: full.example}}
network:
  subnet: 10.67.0.0/24
  bootstrapper: {SERVER}
  routers: []
  dhcp: {{range: 10.67.0.100-10.67.0.109}}
  ntp: {{serve: false}}
registry: {{serve: false}}
machines:
  - {{mac: "02:67:00:00:00:11", host: master, ip: 10.67.0.11, roles: [etcd, master]}}
  - {{mac: "{INSTALLED}", host: old, ip: 10.67.0.12, roles: [worker]}}
  - {{mac: "{NEW}", host: new, ip: 10.67.0.13, roles: [worker]}}
"""


class Site:
    """A server whose state is on a small disk of its own, an installed machine, and one about to be installed."""

    def __init__(self, rack: Rack, folder: Path) -> None:
        self.description, self.state, self.log = folder / "d.yaml", folder / "state", folder / "serve.log"
        self.description.write_text(DESCRIPTION)
        assets = folder / "assets"
        fill(self.description, assets, folder / "layouts")
        self.asset = next(str(each.relative_to(assets)) for each in sorted((assets / "flatcar").rglob("*.gz")))
        self.server = rack.machine("srv", f"{SERVER}/24")
        places = {mac: f"10.67.0.{mac[-2:]}/24" for mac in (INSTALLED, NEW)}
        self.machines = {mac: rack.machine(f"m{mac[-2:]}", place, mac=mac) for mac, place in places.items()}
        self.child = self.server.start(
            sys.executable, "-m", "bootstrapper", "serve", str(self.description), "--state", str(self.state),
            "--assets", str(assets), "--admin", "off", "--require", "boot", log=self.log,
        )  # fmt: skip
        self.wait(lambda: (self.state / "admin.sock").exists() and self.get("/healthz")[0] == 200)
        token = self.boot(INSTALLED)
        assert self.claim(token, INSTALLED)[0] == 200
        body = json.dumps({"step": "installed", "detail": "", "generation": 1})
        assert self.get(f"/m/{token}/report", INSTALLED, "https", "--data", body)[0] == 200
        self.old_script = self.script(INSTALLED)
        self.token = self.boot(NEW)

    def wait(self, what: object) -> None:
        wait_for(what, timeout=60, why=self.log.read_text)  # type: ignore[arg-type]

    def get(self, path: str, mac: str = NEW, scheme: str = "http", *more: str) -> tuple[int, str, float]:
        """Status, headers and body, seconds."""
        who: Machine = self.machines[mac]
        url = f"{scheme}://{SERVER}{path}"
        began = time.monotonic()
        said = who.run("curl", "-sk", "-i", "--max-time", "60", "--globoff", *more, url, check=False)
        found = re.match(r"HTTP/1.1 (\d+)", said)
        return int(found[1]) if found else 0, said, time.monotonic() - began

    def script(self, mac: str) -> str:
        return self.get(f"/boot.ipxe?mac={mac}&arch=7", mac)[1].partition("\n\n")[2]

    def boot(self, mac: str) -> str:
        said: list[str] = []

        def ask() -> re.Match[str] | None:
            said[:] = [self.script(mac)]
            return re.search(r"/m/([\w-]{43})/install", said[0])

        wait_for(ask, timeout=60, why=lambda: f"{said}\n{self.log.read_text()}")
        found = re.search(r"/m/([\w-]{43})/install", said[0])
        assert found
        return found[1]

    def claim(self, token: str, mac: str = NEW) -> tuple[int, str, float]:
        return self.get(f"/m/{token}/config", mac, "https")

    def ask(self, *words: str) -> str:
        command = (sys.executable, "-m", "bootstrapper", *words, "--state", str(self.state))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return f"{done.stdout}{done.stderr}"

    def status(self) -> dict[str, object]:
        said = run("curl", "-s", "--unix-socket", str(self.state / "admin.sock"), "http://localhost/api/v1/status")
        found: dict[str, object] = json.loads(said)
        return found

    def warnings(self) -> list[str]:
        return [each["text"] for each in self.status()["warnings"]]  # type: ignore[attr-defined]

    def writable(self) -> bool:
        said = self.get("/metrics")[1]
        assert "bootstrapper_state_writable" in said, said
        return "bootstrapper_state_writable 1.0" in said

    def check_what_writes_nothing(self, within_s: float) -> None:
        """Each twice: who asks must not wait for those before, either."""
        for _ in range(2):
            for path, mac, scheme, status in (
                (f"/assets/{self.asset}", NEW, "http", 200),
                (f"/assets/{self.asset}", NEW, "https", 200),
                (f"/boot.ipxe?mac={INSTALLED}&arch=7", INSTALLED, "http", 200),
                (f"/m/{'x' * 43}/config", NEW, "https", 404),
                (f"/m/{'x' * 43}/install", NEW, "http", 404),
                ("/healthz", NEW, "http", 200),
            ):
                found, said, took = self.get(path, mac, scheme)
                assert (found, took < within_s) == (status, True), f"{path}: {took:.1f} s\n{said[:300]}"
        assert self.script(INSTALLED) == self.old_script


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    need("ip", "curl", "mount", "umount")
    state = tmp_path / "state"
    state.mkdir(0o700)
    run("mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(state))
    try:
        with Rack("h7") as rack:
            yield Site(rack, tmp_path)
    finally:
        run("umount", "-l", str(state))


def test_a_full_disk(site: Site) -> None:
    ballast = site.state / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    site.wait(lambda: not site.writable())
    for _ in range(4):
        status, said, _ = site.claim(site.token)
        assert (status, "Retry-After: 10" in said) == (503, True), said[:300]
        time.sleep(1.1)
    site.check_what_writes_nothing(within_s=5)
    site.wait(lambda: any("the disk is full" in text for text in site.warnings()))
    assert "the state cannot be written" in site.ask("machines")

    # A description saved now cannot be kept: the last good one stays, and the server with it.
    site.description.write_text(DESCRIPTION.replace("host: new", "host: newer"))
    site.wait(lambda: "the last good description stays in force" in site.log.read_text())
    assert site.child.poll() is None
    site.check_what_writes_nothing(within_s=5)

    ballast.unlink()
    site.wait(site.writable)
    assert site.claim(site.token)[0] == 200
    site.wait(lambda: '"description": 2' in site.get("/healthz")[1])
    site.wait(lambda: site.status()["refused"] is None and not site.warnings()[1:])
    log = site.log.read_text()
    assert "Traceback" not in log, log[-4000:]
    assert "ended unexpectedly" not in log, log[-4000:]
    assert log.count("events cannot be stored") <= 10, "once for each process"
    assert "events are stored again" in log


def test_a_locked_database(site: Site) -> None:
    """`sqlite3 state.db`, `BEGIN IMMEDIATE`, and the admin goes to lunch."""
    other = sqlite3.connect(site.state / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(1.5)  # every process has something to write by now
    site.check_what_writes_nothing(within_s=3)
    status, said, took = site.claim(site.token)
    assert (status, "Retry-After: 10" in said, took < 15) == (503, True, True), f"{took}\n{said[:300]}"
    site.check_what_writes_nothing(within_s=3)
    assert not site.writable()
    site.wait(lambda: any("locked" in text for text in site.warnings()))
    other.execute("ROLLBACK")
    other.close()
    site.wait(site.writable)
    assert site.claim(site.token)[0] == 200
    assert "Traceback" not in site.log.read_text()


def test_a_broken_description_is_seen_until_it_is_mended(site: Site) -> None:
    def see() -> bool:
        refused = site.status()["refused"]
        return isinstance(refused, dict) and refused["more"] == 1 and "machines[1].ip" in refused["problem"]

    assert site.status()["refused"] is None
    site.description.write_text(DESCRIPTION.replace("10.67.0.12", "10.67.0.999").replace("host: new", "hots: new"))
    site.wait(see)
    site.wait(lambda: "machines[1].ip" in site.ask("machines"))
    site.wait(lambda: "description refused" in site.ask("events"))
    assert "bootstrapper_description_refused 1.0" in site.get("/metrics")[1]
    os.kill(site.child.pid, signal.SIGHUP)
    site.wait(lambda: site.ask("events").count("description refused") == 2)

    # And after a restart with it.
    site.server.stop(site.child)
    site.child = site.server.start(
        sys.executable, "-m", "bootstrapper", "serve", str(site.description), "--state", str(site.state),
        "--assets", str(site.state.parent / "assets"), "--admin", "off", "--require", "boot", log=site.log,
    )  # fmt: skip
    site.wait(lambda: site.get("/healthz")[0] == 200 and (site.state / "admin.sock").exists())
    site.wait(see)
    site.wait(lambda: site.ask("events").count("description refused") == 3)

    site.description.write_text(DESCRIPTION)
    site.wait(lambda: site.status()["refused"] is None)
    site.wait(lambda: not any("refused" in text for text in site.warnings()))
    site.wait(lambda: "description in force" in site.ask("events"))
    assert "bootstrapper_description_refused 0.0" in site.get("/metrics")[1]
