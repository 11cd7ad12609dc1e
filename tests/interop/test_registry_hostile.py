"""The image registry, by the real program, and a hostile machine on its segment: it reads images and does no more.

Beside the images lies a planted file, and the machines' events are looked at: nobody pulls in another's name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from oci_layout import make_layout, store_layout
from wires import Machine, Rack, need, wait_for

from bootstrapper.assets.registry_storage import Storage
from bootstrapper.state.sqlite import SqliteStore

pytestmark = pytest.mark.interop

EXAMPLE = Path(__file__).parents[2] / "cluster-desc.example.yaml"
SERVER, VICTIM, EVIL = "10.10.14.253", "10.10.14.11", "10.10.14.66"
NODE1 = "00:25:90:c0:f7:80"
CANARY = "PLANTED-7f3a"
IMAGE = "registry.k8s.io/pause"
KIND = "application/vnd.oci.image.index.v1+json"
DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Scene:
    folder: Path
    server: Machine
    evil: Machine

    def ask(self, who: Machine, path: str, *more: str) -> tuple[str, str]:
        """(status, what came)"""
        reply = who.run(
            "curl", "-sk", "--globoff", "--path-as-is", "--max-time", "10", "-w", "\n%{http_code}", *more,
            f"https://{SERVER}:5000{path}", check=False,
        )  # fmt: skip
        text, _, status = reply.rpartition("\n")
        return status, text

    def pulled(self, step: str = "pulled") -> list[tuple[str, str]]:
        store = SqliteStore(self.folder / "state/state.db")
        events = store.events(limit=1000)
        store.close()
        return [(event.mac, event.detail) for _number, event in events if event.step == step]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    need("curl", "ip", "chronyd", "docker-registry")
    storage = tmp_path / "state/assets/registry"
    make_layout(tmp_path / "layout", "an image")
    store_layout(Storage(storage), f"{IMAGE}:3.10", tmp_path / "layout")
    (tmp_path / "state").chmod(0o700)
    for place in (storage, storage / "docker", storage / "docker/registry/v2/repositories", tmp_path):
        (place / "planted").write_text(CANARY)
    with Rack("h1") as rack:
        server, evil = rack.machine("srv", f"{SERVER}/24"), rack.machine("evil", f"{EVIL}/24")
        made = Scene(tmp_path, server, evil)
        log = tmp_path / "serve.log"
        child = server.start(
            sys.executable, "-m", "bootstrapper", "serve", str(EXAMPLE), "--state", str(tmp_path / "state"), log=log
        )
        wait_for(lambda: child.poll() is not None or made.ask(evil, "/v2/")[0] == "200", timeout=30, why=log.read_text)
        assert child.poll() is None, log.read_text()
        wait_for(lambda: evil.run("curl", "-s", f"http://{SERVER}/healthz", check=False).startswith("{"), timeout=30)
        yield made


OUT = ("../planted", "../../planted", "../../../../planted", "..%2f..%2fplanted", "%2e%2e/%2e%2e/planted",
       "..%252f..%252fplanted", "....//planted", "..\\planted", "/etc/passwd", "%00planted", "planted%00")  # fmt: skip


def test_it_reads_images_and_nothing_else(scene: Scene) -> None:
    status, tags = scene.ask(scene.evil, f"/v2/{IMAGE}/tags/list")
    assert (status, json.loads(tags)["tags"]) == ("200", ["3.10"])
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("blobs/uploads/", "blobs/uploads/x", f"blobs/{DIGEST}", "manifests/3.10", f"manifests/{DIGEST}"):
            status, _ = scene.ask(scene.evil, f"/v2/{IMAGE}/{path}", "-X", method, "-d", "{}")
            assert status in ("404", "405"), (method, path)
    mount = f"/v2/evil/blobs/uploads/?mount={DIGEST}&from={IMAGE}"
    assert scene.ask(scene.evil, mount, "-X", "POST", "-d", "")[0] == "405"
    for out in OUT:
        for path in (f"/{out}", f"/v2/{out}", f"/v2/{out}/manifests/3.10", f"/v2/{IMAGE}/manifests/{out}",
                     f"/v2/{IMAGE}/blobs/{out}", f"/v2/{IMAGE}/blobs/sha256:{out}"):  # fmt: skip
            status, text = scene.ask(scene.evil, path, "-L")
            assert status in ("000", "400", "404"), path
            assert CANARY not in text
            assert "root:" not in text
    for path in ("/debug/vars", "/debug/pprof/", "/metrics", "/debug/health"):
        assert scene.ask(scene.evil, path)[0] == "404"


def test_nobody_pulls_in_anothers_name(scene: Scene) -> None:
    """It believes `X-Forwarded-For` of anybody. The victim's own pull comes last, so that whatever came before is told
    by then."""
    manifest = f"/v2/{IMAGE}/manifests/3.10"
    kinds = ("-H", f"Accept: {KIND}")
    for name in ("X-Forwarded-For", "X-Real-Ip", "Forwarded"):
        for value in (VICTIM, f"{VICTIM}:4000", f"::ffff:{VICTIM}", f"for={VICTIM}", f"{VICTIM}, {EVIL}"):
            assert scene.ask(scene.evil, manifest, *kinds, "-H", f"{name}: {value}")[0] == "200"
    body = {"events": [{"action": "pull", "request": {"addr": f"{VICTIM}:40000"},
                        "target": {"mediaType": KIND, "repository": "evil", "tag": "1"}}]}  # fmt: skip
    for who in (scene.evil, scene.server):  # a local user of the server, too
        reply = who.run("setpriv", "--reuid", "4000", "--clear-groups", "curl", "-s", "--max-time", "10", "-d",
                        json.dumps(body), "-H", f"Authorization: Bearer {'A' * 43}",
                        f"http://{SERVER}/registry-events")  # fmt: skip
        assert reply == "not found\n"
    assert scene.pulled() == []
    scene.evil.ip("address", "add", f"{VICTIM}/24", "dev", "eth0")
    assert scene.ask(scene.evil, manifest, *kinds, "--interface", VICTIM)[0] == "200"
    wait_for(lambda: scene.pulled(), timeout=30)
    assert scene.pulled() == [(NODE1, f"{IMAGE}:3.10")]
    # Nor does anybody ask in vain in another's name.
    for value in (VICTIM, f"{VICTIM}:4000", f"::ffff:{VICTIM}"):
        assert scene.ask(scene.evil, "/v2/none/manifests/1", "-H", f"X-Forwarded-For: {value}")[0] == "404"
    assert scene.ask(scene.evil, "/v2/none/manifests/2", "--interface", VICTIM)[0] == "404"
    wait_for(lambda: scene.pulled("not mirrored"), timeout=30)
    assert scene.pulled("not mirrored") == [(NODE1, "none:2, manifest unknown")]
