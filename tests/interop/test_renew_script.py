"""renew.sh as a machine runs it, against the real endpoint over TLS: bash, openssl, curl and jq are real.

The files are those of a rendered machine, below a directory of the test; systemctl only notes what it is told.
"""

from __future__ import annotations

import os
import stat
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pki_keys import open_pki
from rack import LINKS, make_cluster, make_environment, make_machine
from werkzeug.serving import make_server

from bootstrapper.boot.events import Event
from bootstrapper.boot.links import Links
from bootstrapper.cluster.model import Role
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.pki.authority import load_identity
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.leaves import Signer
from bootstrapper.pki.rotation import rotate
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.web.app import create_app
from bootstrapper.web.parts import Parts

pytestmark = pytest.mark.interop

DAY = 86400.0
SCRIPT = Path(__file__).parent.parent.parent / "templates/nodes/renew/renew.sh"
NODE1 = make_machine(
    ip="127.0.0.1", roles=frozenset({Role.ETCD, Role.MASTER, Role.WORKER, Role.FLANNEL})
)  # the source address that the server sees
CLUSTER = make_cluster(NODE1)
LEAVES = {
    "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "controller-manager",
    "scheduler", "admin", "etcd-server", "etcd-peer", "etcd-healthcheck-client", "kube-proxy", "flannel",
}  # fmt: skip


@dataclass
class Rack:
    root: Path
    pki: ClusterPki
    server: object
    clock: list[float]
    events: list[Event]

    @property
    def lines(self) -> list[list[str]]:
        return [line.split() for line in (self.root / "renew.list").read_text().splitlines()]

    @property
    def pairs(self) -> dict[str, tuple[Path, Path]]:
        return {line[1]: (Path(line[3]), Path(line[4])) for line in self.lines if line[0] == "certificate"}

    def read(self) -> dict[str, tuple[bytes, bytes]]:
        return {leaf: (pair[0].read_bytes(), pair[1].read_bytes()) for leaf, pair in self.pairs.items()}

    def run(self) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "BOOTSTRAPPER_RENEW_LIST": str(self.root / "renew.list"),
            "BOOTSTRAPPER_RENEW_ENV": str(self.root / "renew.env"),
            "BOOTSTRAPPER_RENEW_NOW": str(int(self.clock[0])),
            "TMPDIR": str(self.root),
        }
        return subprocess.run(["bash", str(SCRIPT)], env=env, capture_output=True, text=True, timeout=60, check=False)

    def told(self) -> list[str]:
        path = self.root / "systemctl.log"
        return path.read_text().splitlines() if path.exists() else []

    def check(self, leaf: str, signer: str) -> None:
        """openssl takes the pair, by what is trusted on the machine."""
        certificate, key = self.pairs[leaf]
        trusted = next(line[2] for line in self.lines if line[:2] == ["authority", signer])
        command = ["openssl", "verify", "-x509_strict", "-attime", str(int(self.clock[0])), "-CAfile", trusted]
        subprocess.run([*command, str(certificate)], check=True, capture_output=True)
        ours = subprocess.check_output(["openssl", "x509", "-in", str(certificate), "-noout", "-pubkey"])
        assert ours == subprocess.check_output(["openssl", "pkey", "-in", str(key), "-pubout"])
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(certificate.stat().st_mode) == 0o644
        assert not certificate.with_name(f"{certificate.name}.new").exists()
        assert not key.with_name(f"{key.name}.new").exists()


@pytest.fixture
def rack(tmp_path):
    clock, events = [time.time()], []
    state = tmp_path / "state"
    pki = open_pki(state / "pki/cluster", CLUSTER, lambda: clock[0])
    identity = load_identity(state / "pki", "bootstrapper.prod.example.com", [IPv4Address("127.0.0.1")], time.time())
    store = SqliteStore(state / "state.db")
    app = create_app(
        Parts(
            cluster=lambda: CLUSTER,
            store=store,
            environment=make_environment(),
            links=LINKS,
            authority_pem=identity.authority_pem,
            assets=tmp_path / "assets",
            now=lambda: clock[0],
            new_token=lambda: "",
            render=render_output,
            record=events.append,
            pki=pki,
        )
    )
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(str(identity.certificate), str(identity.key)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    root = tmp_path / "node"
    install(root, pki, identity.authority_pem, server.server_port)
    yield Rack(root, pki, server, clock, events)
    server.shutdown()
    thread.join()
    server.server_close()
    store.close()


def install(root: Path, pki: ClusterPki, authority: str, port: int) -> None:
    """The machine's files, with paths below `root`."""
    context = Context(
        CLUSTER,
        Links(IPv4Address("127.0.0.1"), https_port=port),
        make_environment(),
        authority,
        token="x" * 43,
        secrets=pki.secrets_for(NODE1),
    )
    config = build(CLUSTER, NODE1, context)
    files = {file.path: file for file in config.files}
    for path, file in files.items():
        there = root / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(file.content)
        there.chmod(file.mode)
    lines = files["/etc/bootstrapper/renew.list"].content.decode().replace(" /etc/", f" {root}/etc/")
    (root / "renew.list").write_text(lines)
    env = files["/etc/bootstrapper/renew.env"].content.decode()
    (root / "renew.env").write_text(env.replace("/etc/", f"{root}/etc/"))
    stub = root / "bin/systemctl"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho "$@" >>{root}/systemctl.log\n')
    stub.chmod(0o755)


def test_nothing_is_due_on_a_new_machine(rack):
    before = rack.read()
    assert set(before) == LEAVES
    result = rack.run()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert rack.read() == before
    assert rack.told() == []


def test_every_certificate_is_renewed_at_two_thirds_of_its_life(rack):
    before = rack.read()
    rack.clock[0] += 240 * DAY
    assert rack.run().stdout == ""
    rack.clock[0] += 5 * DAY
    result = rack.run()
    assert (result.returncode, result.stderr) == (0, "")
    after = rack.read()
    signers = {line[1]: line[2] for line in rack.lines if line[0] == "certificate"}
    for leaf in LEAVES:
        assert f"{leaf} is renewed, until " in result.stdout
        assert after[leaf][0] != before[leaf][0] and after[leaf][1] != before[leaf][1]
        rack.check(leaf, signers[leaf])
    assert sorted(rack.told()) == ["try-restart flanneld.service", "try-restart kube-proxy.service"]
    assert rack.run().stdout == ""
    assert rack.read() == after


def test_a_server_that_is_off_is_no_fault_until_the_end_is_near(rack):
    rack.server.shutdown()
    rack.server.server_close()
    before = rack.read()
    rack.clock[0] += 300 * DAY
    result = rack.run()
    assert result.returncode == 0
    assert "the server does not answer" in result.stderr
    rack.clock[0] += 40 * DAY
    result = rack.run()
    assert result.returncode == 1
    assert "etcd/pki/peer.crt ends on " in result.stderr
    assert rack.read() == before


def test_a_server_of_another_authority_is_not_asked(rack, tmp_path):
    other = load_identity(tmp_path / "other", "bootstrapper.prod.example.com", [IPv4Address("127.0.0.1")], time.time())
    (rack.root / "etc/bootstrapper/authority.pem").write_text(other.authority_pem)
    before = rack.read()
    rack.clock[0] += 250 * DAY
    assert "the server does not answer" in rack.run().stderr
    assert rack.read() == before
    assert rack.events == []


def test_a_run_that_was_cut_off_between_key_and_certificate_is_mended(rack):
    rack.clock[0] += 250 * DAY
    old = rack.read()["etcd-peer"]
    rack.run()
    certificate, _ = rack.pairs["etcd-peer"]
    certificate.rename(certificate.with_name("peer.crt.new"))
    certificate.write_bytes(old[0])
    certificate.chmod(0o644)
    result = rack.run()
    assert (result.returncode, result.stdout) == (0, "")
    rack.check("etcd-peer", "etcd")


def test_a_pair_that_nothing_can_mend_is_named(rack):
    _, key = rack.pairs["etcd-peer"]
    key.write_bytes(rack.pairs["etcd-server"][1].read_bytes())
    result = rack.run()
    assert result.returncode == 1
    assert "peer.crt is not the certificate of" in result.stderr


def test_a_refusal_leaves_everything_as_it_is(rack):
    before = rack.read()
    rack.clock[0] += 250 * DAY
    rack.pki.cluster = make_cluster(replace(NODE1, roles=frozenset({Role.WORKER, Role.FLANNEL})))
    result = rack.run()
    after = rack.read()
    assert sorted(leaf for leaf in before if before[leaf] != after[leaf]) == ["flannel", "kube-proxy"]
    assert "404" in result.stderr


def test_an_authority_is_replaced_with_overlap(rack):
    etcd_ca = rack.root / "etc/etcd/pki/ca.crt"
    manifest = rack.root / "etc/kubernetes/manifests/kube-apiserver.yaml"
    plain = manifest.read_text()
    before = rack.read()

    rotate(rack.pki.directory, Signer.ETCD, rack.clock[0])
    result = rack.run()
    assert result.returncode == 0, result.stderr
    assert etcd_ca.read_text().count("BEGIN CERTIFICATE") == 2
    assert (rack.root / "etc/kubernetes/pki/etcd/ca.crt").read_text() == etcd_ca.read_text()
    assert "the authorities in" in result.stdout
    assert rack.read() == before
    assert rack.told() == [
        "try-restart etcd.service", "try-restart kubelet.service", "try-restart kube-proxy.service",
        "try-restart flanneld.service"]  # fmt: skip
    assert manifest.read_text().replace(annotation(manifest), "") == plain
    for leaf in ("etcd-peer", "etcd-server", "apiserver-etcd-client"):
        rack.check(leaf, "etcd")

    rack.clock[0] += 3 * DAY
    rotate(rack.pki.directory, Signer.ETCD, rack.clock[0])
    result = rack.run()
    assert result.returncode == 0, result.stderr
    after = rack.read()
    changed = {leaf for leaf in before if before[leaf] != after[leaf]}
    assert changed == {"etcd-peer", "etcd-server", "etcd-healthcheck-client", "apiserver-etcd-client"}

    rotate(rack.pki.directory, Signer.ETCD, rack.clock[0])
    assert rack.run().returncode == 0
    assert etcd_ca.read_text().count("BEGIN CERTIFICATE") == 1
    for leaf in changed:
        rack.check(leaf, "etcd")
    assert manifest.read_text().count("annotations:") == 1


def annotation(manifest: Path) -> str:
    lines = [line for line in manifest.read_text().splitlines(keepends=True) if "bootstrapper/authorities" in line]
    assert len(lines) == 1
    return lines[0]


def test_a_machine_whose_token_ran_out_gets_another(rack):
    bootstrap = rack.root / "etc/kubernetes/bootstrap-kubelet.conf"
    first = rack.pki.tokens.find(NODE1.mac)
    assert first.text in bootstrap.read_text()
    rack.pki.tokens.mark_created(NODE1.mac, first.id, rack.clock[0] + DAY)
    assert rack.run().stdout == ""
    rack.clock[0] += 2 * DAY
    assert rack.run().stdout == "the kubelet has a new bootstrap token\n"
    second = rack.pki.tokens.find(NODE1.mac)
    assert second.id != first.id
    assert second.text in bootstrap.read_text() and first.secret not in bootstrap.read_text()
    assert stat.S_IMODE(bootstrap.stat().st_mode) == 0o600
    assert rack.told() == ["try-restart kubelet.service"]


def test_a_machine_that_has_joined_asks_for_no_token(rack):
    (rack.root / "etc/kubernetes/kubelet.conf").write_text("joined")
    first = rack.pki.tokens.find(NODE1.mac)
    rack.pki.tokens.mark_created(NODE1.mac, first.id, rack.clock[0] + DAY)
    rack.clock[0] += 2 * DAY
    assert rack.run().stdout == ""
    assert rack.pki.tokens.find(NODE1.mac).id == first.id
