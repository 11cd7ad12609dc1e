"""Every image of the catalogue: copied from an upstream, served by `serve`, pulled where no route leads out.

The upstream is a registry on loopback, in the namespace of the computer that fetches; skopeo is told by its own
configuration that the real names are to be had there.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from containerd_node import install_containerd
from newer_programs import NEWER, SYSTEM
from oci_layout import make_layout
from wires import Machine, Rack, need, run, wait_for

from bootstrapper.assets.item import Kind
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Arch
from bootstrapper.description import load_templates, read_lock
from bootstrapper.mirroring import build_catalogue
from bootstrapper.state.sqlite import SqliteStore

pytestmark = pytest.mark.interop

SERVER = "10.81.0.1"
NAME = "bootstrapper.pull.internal"
DESCRIPTION = """
version: 1
cluster: {name: pull, domain: pull.internal}
network:
  subnet: 10.81.0.0/24
  bootstrapper: 10.81.0.1
  routers: []
  dhcp: {range: 10.81.0.100-10.81.0.199}
  ntp: {serve: false}
kubernetes: {version: 1.35.8, api: {vip: 10.81.0.50}}
containerd: {version: 2.1.9}
machines:
  - {mac: "02:00:00:00:00:01", host: one, ip: 10.81.0.11, roles: [etcd, master]}
  - {mac: "02:00:00:00:00:02", host: two, arch: arm64, roles: [worker, ceph-osd]}
"""
UPSTREAM = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:5555"}}
"""
MIRRORED = ("registry.k8s.io", "ghcr.io", "quay.io", "docker.io")


@dataclass
class Place:
    """The computer that fetches and serves, what it fetches from, and a folder for all."""

    folder: Path
    machine: Machine
    images: dict[str, tuple[Arch, ...]]
    "The catalogue's, with the architectures of the machines that need them."
    digests: dict[str, str] = field(default_factory=dict)
    upstream: subprocess.Popen[str] | None = None

    @property
    def description(self) -> Path:
        return self.folder / "cluster-desc.yaml"

    @property
    def assets(self) -> Path:
        return self.folder / "assets"

    @property
    def log(self) -> Path:
        return self.folder / "serve.log"

    def start_upstream(self) -> None:
        config = self.folder / "upstream.yml"
        config.write_text(UPSTREAM.format(root=self.folder / "upstream"))
        log = self.folder / "upstream.log"
        self.upstream = self.machine.start("docker-registry", "serve", str(config), log=log)
        answers = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:5555/v2/")
        wait_for(lambda: self.machine.run(*answers, check=False) == "200", why=log.read_text)
        lines = [
            f'[[registry]]\nprefix = "{host}"\nlocation = "127.0.0.1:5555/{host}"\ninsecure = true' for host in MIRRORED
        ]
        (self.folder / ".config/containers").mkdir(parents=True)
        (self.folder / ".config/containers/registries.conf").write_text("\n".join(lines))

    def publish(self, image: str, text: str, docker: bool = False) -> str:
        """Put an image of that name upstream; its digest."""
        layout = self.folder / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        self.digests[image] = digest = make_layout(layout, text, docker=docker)
        target = f"docker://127.0.0.1:5555/{image}"
        copy = ("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests")
        self.machine.run(*copy, "--dest-tls-verify=false", f"oci:{layout}", target)
        return digest

    def publish_built(self, image: str, arches: tuple[Arch, ...]) -> None:
        """The same with one that buildah makes from scratch, for each of `arches`."""
        layout = self.folder / "built"
        (self.folder / "built.txt").write_text(image)
        storage = ("--root", str(self.folder / "buildah"), "--runroot", str(self.folder / "buildah-run"))

        def buildah(*command: str) -> str:
            environment = ("env", "STORAGE_DRIVER=vfs", "BUILDAH_ISOLATION=chroot")
            return self.machine.run(*environment, "buildah", *storage, *command).strip().rpartition("\n")[2]

        buildah("manifest", "create", "built")
        for arch in arches:
            container = buildah("from", "--arch", arch, "scratch")
            buildah("copy", container, str(self.folder / "built.txt"), "/built.txt")
            buildah("config", "--os", "linux", "--arch", arch, container)
            buildah("commit", "--quiet", "--manifest", "built", container)
        buildah("manifest", "push", "--quiet", "--all", "built", f"oci:{layout}:built")
        self.digests[image] = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        copy = ("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests")
        target = f"docker://127.0.0.1:5555/{image}"
        self.machine.run(*copy, "--dest-tls-verify=false", f"oci:{layout}:built", target)

    def fetch(self, *more: str) -> list[list[str]]:
        """[name, outcome, digest, message] of each image."""
        said = self.machine.run(*self.fetch_command(*more), check=False)
        last = said.splitlines()[-1] if said else ""
        assert last.startswith('{"ok"'), said
        found = [[each[key] for key in ("name", "state", "sha256", "message")] for each in json.loads(last)["files"]]
        print(*(message for *_, message in found if message), sep="\n")
        return found

    def locked(self) -> int:
        return len(read_lock(self.description).images)

    def fetch_command(self, *more: str) -> list[str]:
        fetch = (sys.executable, "-m", "bootstrapper", "fetch", str(self.description), "--assets", str(self.assets))
        return ["env", f"HOME={self.folder}", *fetch, "--only", "images", "--json", *more]

    def serve(self) -> subprocess.Popen[str]:
        command = (sys.executable, "-m", "bootstrapper", "serve", str(self.description), "--log", "json")
        directories = ("--state", str(self.folder / "state"), "--assets", str(self.assets))
        child = self.machine.start(*command, *directories, log=self.log)
        status = ("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", f"https://{SERVER}:5000/v2/")
        wait_for(
            lambda: child.poll() is not None or self.machine.run(*status, check=False) == "200", why=self.log.read_text
        )
        assert child.poll() is None, self.log.read_text()
        return child


@pytest.fixture
def rack() -> Iterator[Rack]:
    need("docker-registry", "skopeo", "curl", "ip")
    with Rack("lgp") as made:
        yield made


@pytest.fixture
def place(rack: Rack, tmp_path: Path) -> Place:
    (tmp_path / "cluster-desc.yaml").write_text(DESCRIPTION)
    cluster = load(DESCRIPTION, "pull.yaml")
    items = build_catalogue(cluster, load_templates(None), read_lock(tmp_path / "cluster-desc.yaml"))
    images = {item.name: item.arches for item in items if item.kind is Kind.IMAGE}
    made = Place(tmp_path, rack.machine("srv", f"{SERVER}/24"), images)
    made.start_upstream()
    for number, image in enumerate(images):
        made.publish(image, image, docker=number % 2 == 0)
    return made


@dataclass(frozen=True)
class Node:
    """A machine with the containerd and the files that it would have been given."""

    machine: Machine
    programs: Path
    root: Path

    def pull(self, image: str, *more: str) -> str:
        hosts = str(self.root / "etc/containerd/certs.d")
        ctr = (str(self.programs / "ctr"), "--address", str(self.root / "run/containerd/containerd.sock"))
        local = ("--local", "--skip-metadata") if self.programs == NEWER else ()
        # As the kubelet's pulls: ctr alone asks for the manifests of platforms that it has no use for.
        where = ("--hosts-dir", hosts, "--snapshotter", "native")
        return self.machine.run(*ctr, "-n", "k8s.io", "images", "pull", *local, *where, *more, image, check=False)


def start_node(rack: Rack, place: Place, programs: Path) -> Node:
    root = place.folder / "node"
    install_containerd(root, DESCRIPTION, (place.folder / "state/pki/authority.pem").read_text())
    machine = rack.machine("one", "10.81.0.11/24")
    assert "default" not in machine.ip("route")
    names = Path("/etc/netns") / machine.name
    names.mkdir(parents=True, exist_ok=True)
    (names / "hosts").write_text(f"127.0.0.1 localhost\n{SERVER} {NAME}\n")
    log = place.folder / "containerd.log"
    machine.start(str(programs / "containerd"), "--config", str(root / "etc/containerd/config.toml"), log=log)
    wait_for((root / "run/containerd/containerd.sock").exists, why=log.read_text)
    return Node(machine, programs, root)


def pulled(place: Place, step: str = "pulled") -> set[str]:
    """The images that the first machine was told to have pulled (or what else is said of one)."""
    store = SqliteStore(place.folder / "state/state.db")
    events = [event for _, event in store.events("02:00:00:00:00:01")]
    store.close()
    return {event.detail for event in events if (event.service, event.step) == ("registry", step)}


def test_each_catalogue_image_is_pulled_where_no_route_leads_out(rack: Rack, place: Place) -> None:
    programs = NEWER if (NEWER / "containerd").exists() else SYSTEM
    need("containerd", "ctr", "buildah")
    assert {image.partition("/")[0] for image in place.images} == {"registry.k8s.io", "ghcr.io", "quay.io"}
    built = next(image for image in place.images if "/pause:" in image)
    place.publish_built(built, place.images[built])
    fetched = place.fetch()
    assert [(name, outcome, digest) for name, outcome, digest, _ in fetched] == [
        (image, "fetched", place.digests[image]) for image in place.images
    ]
    assert read_lock(place.description).images == place.digests
    assert {outcome for _, outcome, _, _ in place.fetch()} == {"present"}
    place.machine.stop(place.upstream)  # type: ignore[arg-type]
    assert {outcome for _, outcome, _, _ in place.fetch("--verify")} == {"present"}

    place.serve()
    try:
        node = start_node(rack, place, programs)
        assert set(place.images.values()) == {("amd64",), ("arm64",), ("amd64", "arm64")}
        for image, arches in place.images.items():
            for arch in arches:
                output = node.pull(image, "--platform", f"linux/{arch}")
                assert "done" in output and place.digests[image].removeprefix("sha256:")[:12] in output, output
        # ... and each is told in the machine's timeline, by the registry's own word.
        wait_for(lambda: pulled(place) == set(place.images), timeout=15, why=lambda: str(pulled(place)))
        # What nobody mirrored is not there, and nobody else is asked for it.
        for image in ("docker.io/library/nginx:1", "registry.example.com/x/y:1"):
            output = node.pull(image)
            assert "not found" in output, output
            assert "dial" not in output and "lookup" not in output
        why = "its registry is not in registry.mirror"
        # docker.io is mirrored, and has no such image; the other registry is unknown.
        missing = {"docker.io/library/nginx:1, manifest unknown", f"registry.example.com/x/y:1, {why}"}
        wait_for(lambda: pulled(place, "not mirrored") == missing, timeout=30, why=place.log.read_text)
        assert pulled(place) == set(place.images)
        ask = ("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}")
        repository = f"https://{SERVER}:5000/v2/registry.k8s.io/pause"
        assert node.machine.run(*ask, "-X", "POST", f"{repository}/blobs/uploads/") == "405"
        assert node.machine.run(*ask, "-X", "PUT", "-d", "{}", f"{repository}/manifests/3.10.1") == "405"
        assert node.machine.run(*ask, "-X", "DELETE", f"{repository}/manifests/sha256:{'0' * 64}") == "405"
        assert node.machine.run(*ask, f"http://{SERVER}/assets/registry/docker/registry/v2/", check=False) == "404"
    finally:
        shutil.rmtree(f"/etc/netns/{rack.prefix}-one", ignore_errors=True)


def test_the_registry_comes_back_and_survives_an_edit_elsewhere(place: Place) -> None:
    assert {outcome for _, outcome, _, _ in place.fetch()} == {"fetched"}
    child = place.serve()

    def registry() -> str:
        return place.machine.run("pgrep", "-P", str(child.pid), "-f", "registry/config.yml", check=False).strip()

    def answers() -> bool:
        url = f"https://{SERVER}:5000/v2/registry.k8s.io/pause/tags/list"
        return '"name":"registry.k8s.io/pause"' in place.machine.run("curl", "-sk", url, check=False)

    first = registry()
    assert first and answers()
    place.machine.run("kill", "-KILL", first)
    second = wait_for(lambda: registry() not in ("", first) and registry())
    wait_for(answers)
    place.description.write_text(DESCRIPTION + "ssh_authorized_keys: []\n")
    wait_for(lambda: "(revision 2, 2 machines)" in place.log.read_text())
    assert registry() == second
    place.description.write_text(DESCRIPTION + "registry: {port: 5001}\n")
    wait_for(lambda: "(revision 3, 2 machines)" in place.log.read_text())
    wait_for(lambda: registry() not in ("", second))
    place.description.write_text(DESCRIPTION + "registry: {serve: false}\n")
    wait_for(lambda: "(revision 4, 2 machines)" in place.log.read_text())
    wait_for(lambda: registry() == "")
    assert place.machine.stop(child) == 0
    assert "Traceback" not in place.log.read_text()


def test_a_kill_anywhere_leaves_whole_images_or_none(place: Place) -> None:
    """Killed again and again, fetch gets there; what is served in between is complete."""
    for _ in range(6):
        child = place.machine.start(*place.fetch_command(), log=place.folder / "fetch.log", start_new_session=True)
        before = place.locked()
        wait_for(lambda child=child, before=before: child.poll() is not None or place.locked() > before, every=0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        if not [each for each in (place.assets / "registry").rglob("current/link") if not each.read_text()]:
            continue
        pytest.fail("half a tag")
    assert {outcome for _, outcome, _, _ in place.fetch()} <= {"fetched", "present"}
    assert read_lock(place.description).images == place.digests


def test_what_is_not_genuine_or_not_there_is_refused(place: Place) -> None:
    assert {outcome for _, outcome, _, _ in place.fetch()} == {"fetched"}
    pause = next(image for image in place.images if "/pause:" in image)
    # Upstream moves the tag: the lock says what it was, and what is here is kept.
    place.publish(pause, "something else")
    assert {outcome for _, outcome, _, _ in place.fetch()} == {"present"}
    # A blob that rots is found by --verify, and fetched again under its locked digest.
    kept = read_lock(place.description).images
    blobs = place.assets / "registry/docker/registry/v2/blobs/sha256"
    big = max(blobs.glob("??/*/data"), key=lambda path: path.stat().st_size)
    content = bytearray(big.read_bytes())
    content[0] ^= 1
    big.write_bytes(content)
    assert {outcome for _, outcome, _, _ in place.fetch("--verify")} == {"present", "fetched"}
    assert big.read_bytes() != bytes(content)
    assert read_lock(place.description).images == kept
    # A digest that nobody has
    lock = place.folder / "assets.lock"
    lock.write_text(lock.read_text().replace(kept[pause], f"sha256:{'0' * 64}"))
    failed = [(name, message) for name, outcome, _, message in place.fetch() if outcome == "failed"]
    assert [name for name, _ in failed] == [pause]
    assert "cannot be had" in failed[0][1]


def test_on_a_full_disk_it_says_so_and_goes_on_later(place: Place) -> None:
    place.assets.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(place.assets))
    try:
        found = place.fetch()
        failed = [message for _, outcome, _, message in found if outcome == "failed"]
        assert failed and all("no space left on device" in message.lower() for message in failed), failed
        tags = [path.read_text() for path in (place.assets / "registry").rglob("current/link")]
        assert sorted(tags) == sorted(digest for _, outcome, digest, _ in found if outcome == "fetched")
        run("mount", "-o", "remount,size=64m", str(place.assets))
        assert {outcome for _, outcome, _, _ in place.fetch()} <= {"fetched", "present"}
        assert read_lock(place.description).images == place.digests
    finally:
        run("umount", str(place.assets))
