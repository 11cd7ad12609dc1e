"""A real server without its files: machines wait and are told for what; with them, they install, without a restart."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Machine, Rack, need, wait_for

pytestmark = pytest.mark.interop
SERVER, NODE = "10.9.7.1", "52:54:00:00:09:01"
DESCRIPTION = f"""\
version: 1
cluster: {{name: lf, domain: lf.test}}
network: {{subnet: 10.9.7.0/24, bootstrapper: {SERVER}, routers: [], dhcp: {{range: 10.9.7.100-10.9.7.120}}, ntp: {{serve: false}}}}
os: {{family: flatcar, channel: stable, version: 4593.2.5}}
kubernetes: {{version: 1.35.8}}
registry: {{serve: false}}
machines:
  - {{mac: "{NODE}", host: node1, ip: 10.9.7.11, roles: [etcd, master, worker]}}
"""  # noqa: E501 - one line of the description


class Site:
    def __init__(self, rack: Rack, folder: Path, *more: str) -> None:
        self.description = folder / "cluster-desc.yaml"
        self.description.write_text(DESCRIPTION)
        self.assets, self.log = folder / "state/assets", folder / "serve.log"
        self.node: Machine = rack.machine("node1", "10.9.7.11/24", mac=NODE)
        command = [
            sys.executable,
            "-m",
            "bootstrapper",
            "serve",
            str(self.description),
            "--state",
            str(folder / "state"),
        ]
        self.child = rack.machine("srv", f"{SERVER}/24").start(*command, "--user", "root", *more, log=self.log)
        wait_for(lambda: "bootstrapper" in self.script(), timeout=30, why=self.log.read_text)

    def script(self) -> str:
        return self.node.run(
            "curl", "-s", "--max-time", "5", f"http://{SERVER}/boot.ipxe?mac={NODE}&arch=7", check=False
        )

    def list_files(self) -> list[str]:
        listed = subprocess.run(
            [sys.executable, "-m", "bootstrapper", "fetch", str(self.description), "--list", "--json"],
            check=True, capture_output=True,
        )  # fmt: skip
        return [each["name"] for each in json.loads(listed.stdout)]

    def put(self, names: list[str]) -> None:
        lines = ["version = 1", "[files]"]
        for name in names:
            path = self.assets / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
            lines.append(f'"{name}" = "sha256:{hashlib.sha256(name.encode()).hexdigest()}"')
        (self.description.parent / "assets.lock").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    need("curl", "ip")
    with Rack("lf") as rack:
        made = Site(rack, tmp_path)
        assert made.child.poll() is None, made.log.read_text()
        yield made


def test_a_machine_waits_for_its_files_and_goes_on_when_they_are_here(site: Site) -> None:
    wait_for(lambda: "vmlinuz" in site.script(), timeout=20, why=site.log.read_text)
    script = site.script()
    assert "reason:  waiting for files: flatcar_production_pxe.vmlinuz, " in script
    assert "Asking again in 30 seconds." in script and f"chain --replace --autofree http://{SERVER}/boot.ipxe" in script
    assert "flatcar_production_pxe.vmlinuz (kernel) is not in" in site.log.read_text()

    names = site.list_files()
    assert len(names) == 11
    site.put(names[:-1])
    wait_for(lambda: f"waiting for files: {names[-1].rpartition('/')[2]}\n" in site.script(), timeout=20)
    site.put(names)
    wait_for(lambda: "installing flatcar 4593.2.5, generation 1" in site.script(), timeout=20, why=site.log.read_text)
    assert "every file and image that machines will ask for is here" in site.log.read_text()

    (site.assets / names[-1]).write_bytes(b"forged")
    wait_for(lambda: "is not genuine: expected sha256" in site.log.read_text(), timeout=60)
    assert "waiting for files" in site.script()


def test_a_lab_needs_only_what_its_machines_boot(tmp_path: Path) -> None:
    need("curl", "ip")
    with Rack("lf") as rack:
        site = Site(rack, tmp_path, "--require", "boot")
        wait_for(lambda: "vmlinuz" in site.script(), timeout=20, why=site.log.read_text)
        site.put([name for name in site.list_files() if name.startswith("flatcar/")])
        (site.description.parent / "assets.lock").unlink()
        wait_for(lambda: "installing flatcar 4593.2.5" in site.script(), timeout=20, why=site.log.read_text)
        assert "--require boot: machines are installed although" in site.log.read_text()
