"""`bundle` as a command: killed anywhere, on a full disk, with a changed byte; `assets prune` beside `serve`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filled_assets import fill
from wires import Rack, need, run, wait_for

from bootstrapper.nodeconfig.asset_lock import AssetLock

pytestmark = pytest.mark.interop

DESCRIPTION = """
version: 1
cluster: {name: carried, domain: carried.internal}
network:
  subnet: 10.83.0.0/24
  bootstrapper: 10.83.0.1
  routers: []
  dhcp: {range: 10.83.0.100-10.83.0.199}
  ntp: {serve: false}
kubernetes: {version: 1.35.8}
machines:
  - {mac: "02:00:00:00:00:01", host: one, ip: 10.83.0.11, roles: [etcd, master, worker]}
"""


@dataclass
class Carried:
    folder: Path
    lock: AssetLock

    def command(self, *words: str) -> list[str]:
        config = f"XDG_CONFIG_HOME={self.folder}/config"
        return ["env", config, sys.executable, "-m", "bootstrapper", *words]

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
        )
        assert done.returncode == status, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def export(self, target: str = "rack.tar", *more: str) -> str:
        source = (f"{self.folder}/out/cluster-desc.yaml", f"{self.folder}/{target}")
        return self.run("bundle", "export", *source, "--assets", f"{self.folder}/out/assets", *more)

    def importing(self, source: str, where: str, *more: str) -> list[str]:
        places = ("--assets", f"{self.folder}/{where}/assets", "--desc", f"{self.folder}/{where}/cluster-desc.yaml")
        return ["bundle", "import", str(self.folder / source), *places, *more]

    def same(self, where: str) -> bool:
        """Whether all that went out has arrived, byte for byte, and nothing else."""
        return self.tree("out") == self.tree(where)

    def tree(self, where: str) -> dict[str, bytes]:
        root = self.folder / where
        found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        needed = {path for path in found if "/." not in path and not path.startswith("state")}
        return {path: found[path] for path in needed if path.rpartition("/")[2] != "cluster-desc.yaml.before"}


@pytest.fixture
def carried(tmp_path: Path) -> Carried:
    out = tmp_path / "out"
    out.mkdir()
    (out / "cluster-desc.yaml").write_text(DESCRIPTION)
    lock = fill(out / "cluster-desc.yaml", out / "assets", tmp_path / "layouts", repeat=20000)
    return Carried(tmp_path, lock)


def test_out_and_in_by_the_commands(carried: Carried) -> None:
    said = carried.export()
    fingerprint = next(word for word in said.split() if word.startswith("sha256:")).rstrip(":")
    refused = carried.run(*carried.importing("rack.tar", "in"), status=1)
    assert f"not trusted here: {fingerprint}" in refused.replace("\n", " ")
    carried.run(*carried.importing("rack.tar", "in", "--key", fingerprint))
    wanted = carried.tree("out")
    got = carried.tree("in")
    assert got.keys() <= wanted.keys()
    assert {name for name in wanted if name not in got} == set(), "what was left behind"
    assert got == wanted
    # Trusted from now on; and nothing is left to do.
    assert "0 put in place" in carried.run(*carried.importing("rack.tar", "in"))
    changed = carried.folder / "out/cluster-desc.yaml"
    changed.write_text(DESCRIPTION + "ssh_authorized_keys: []\n")
    carried.export("second.tar", "--since", f"{carried.folder}/rack.tar.manifest.json")
    assert (carried.folder / "second.tar").stat().st_size < (carried.folder / "rack.tar").stat().st_size / 10
    said = carried.run(*carried.importing("second.tar", "in"))
    assert "is kept as" in said
    assert (carried.folder / "in/cluster-desc.yaml.before").read_text() == DESCRIPTION
    assert carried.same("in")
    first = next((carried.folder / "in/assets/etcd").rglob("*.gz"))
    first.unlink()
    assert "what it builds on is not here" in carried.run(*carried.importing("second.tar", "in"), status=1)


def test_killed_anywhere_it_goes_on(carried: Carried) -> None:
    """An export leaves a whole bundle or none; an import a whole rack's files or, of the old one, everything."""
    target = carried.folder / "rack.tar"
    words = ("bundle", "export", f"{carried.folder}/out/cluster-desc.yaml", str(target))
    command = carried.command(*words, "--assets", f"{carried.folder}/out/assets")
    part = target.with_name(".rack.tar.part")
    for _ in range(4):
        part.unlink(missing_ok=True)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda child=child: child.poll() is not None or part.exists(), every=0.002)
        child.kill()
        child.wait()
        assert not target.exists()
    said = carried.export()
    fingerprint = next(word for word in said.split() if word.startswith("sha256:")).rstrip(":")
    command = carried.command(*carried.importing("rack.tar", "in", "--key", fingerprint))
    staged = carried.folder / "in/assets/.import"
    description = carried.folder / "in/cluster-desc.yaml"
    total = 0
    for count in (0, 3, 8, 15, 22):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def far(child: subprocess.Popen[bytes] = child, count: int = count) -> bool:
            return child.poll() is not None or (staged.exists() and len(list(staged.iterdir())) > count)

        wait_for(far, every=0.001)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
        child.wait()
        total += child.returncode == -signal.SIGKILL
        assert child.returncode == 0 or not description.exists()
    assert total >= 3
    carried.run(*carried.importing("rack.tar", "in", "--key", fingerprint))
    assert carried.same("in")
    assert not staged.exists()


def test_a_changed_byte_names_the_file(carried: Carried) -> None:
    carried.export("rack/")
    (carried.folder / "config/bootstrapper/trusted-bundle-keys").write_text("")
    manifest = json.loads((carried.folder / "rack/manifest.json").read_text())
    entry = next(each for each in manifest["entries"] if each["path"].endswith("vmlinuz"))
    blob = carried.folder / "rack/blobs" / entry["sha256"]
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)
    key = str(carried.folder / "config/bootstrapper/bundle.pub")
    said = carried.run(*carried.importing("rack", "in", "--key", key), status=1)
    assert f"{entry['path']} was changed" in said
    assert carried.tree("in") == {}


def test_on_a_full_disk_nothing_changes_and_the_next_run_goes_on(carried: Carried) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small filesystem")
    carried.export()
    key = str(carried.folder / "config/bootstrapper/bundle.pub")
    small = carried.folder / "in"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small))
    try:
        said = carried.run(*carried.importing("rack.tar", "in", "--key", key), status=1)
        assert "MB free, and the bundle needs" in said
        assert "make room" in said
        assert carried.tree("in") == {}
        run("mount", "-o", "remount,size=300m", str(small))
        carried.run(*carried.importing("rack.tar", "in", "--key", key))
        assert carried.same("in")
    finally:
        run("umount", str(small))
    # The exporting side: no room for the bundle
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small))
    try:
        target = (f"{carried.folder}/out/cluster-desc.yaml", str(small / "rack.tar"))
        said = carried.run("bundle", "export", *target, "--assets", f"{carried.folder}/out/assets", status=1)
        assert "has 1.0 MB free, and the bundle needs" in said
        assert list(small.iterdir()) == []
    finally:
        run("umount", str(small))


def test_prune_beside_a_running_server(carried: Carried) -> None:
    need("docker-registry", "curl", "ip")
    out, other = carried.folder / "out", carried.folder / "other"
    other.mkdir()
    (other / "cluster-desc.yaml").write_text(DESCRIPTION.replace("1.35.8", "1.35.7"))
    lock = fill(other / "cluster-desc.yaml", out / "assets", carried.folder / "layouts2")
    assert set(lock.images) - set(carried.lock.images)
    both = (f"{out}/cluster-desc.yaml", f"{other}/cluster-desc.yaml", "--assets", f"{out}/assets")
    with Rack("lgb") as rack:
        server = rack.machine("srv", "10.83.0.1/24")
        log = carried.folder / "serve.log"
        child = server.start(
            *carried.command("serve", f"{out}/cluster-desc.yaml"),
            *("--state", f"{out}/state", "--assets", f"{out}/assets"),
            log=log,
        )
        url = "https://10.83.0.1:5000/v2/registry.k8s.io/kube-apiserver/manifests"
        accept = "Accept: application/vnd.oci.image.index.v1+json"

        def status(tag: str) -> str:
            ask = ("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", accept, f"{url}/{tag}")
            return server.run(*ask, check=False)

        wait_for(lambda: child.poll() is not None or status("v1.35.8") == "200", why=log.read_text)
        carried.run("assets", "prune", *both, "--yes")
        assert (status("v1.35.8"), status("v1.35.7")) == ("200", "200")
        only = (f"{out}/cluster-desc.yaml", "--assets", f"{out}/assets")
        said = carried.run("assets", "prune", *only, "--dry-run")
        assert "nothing was removed" in said
        assert (status("v1.35.8"), status("v1.35.7")) == ("200", "200")
        carried.run("assets", "prune", *only, "--yes")
        assert (status("v1.35.8"), status("v1.35.7")) == ("200", "404")
        found = carried.run("fetch", *only, "--list", "--json")
        assert [each["name"] for each in json.loads(found) if each["problem"]] == []
        assert server.stop(child) == 0
