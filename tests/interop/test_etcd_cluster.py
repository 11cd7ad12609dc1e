"""Three real etcd members from their generated settings, keys and scripts, in network namespaces over TLS.

Neither the distribution's etcd (3.4) nor the newest that Debian has (3.5) knows the two variables of 3.6 (NEWER): those
are left out, and the log proves that it knew every other one. Unit files are only read (test_render_outputs).
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from newer_programs import SETS
from wires import Machine as Namespace
from wires import Rack, need, run, wait_for

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.description import load_templates
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.templating import build_environment

pytestmark = pytest.mark.interop

NEWER = {"ETCD_FEATURE_GATES", "ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL"}
DESCRIPTION = """
version: 1
cluster: {name: trio, domain: trio.internal}
network:
  subnet: 10.77.0.0/24
  bootstrapper: 10.77.0.1
  routers: []
  dhcp: {range: 10.77.0.100-10.77.0.199}
kubernetes: {version: 1.35.8}
flannel: {datastore: etcd, backend: vxlan}
machines:
  - {mac: "02:00:00:00:00:01", host: one, ip: 10.77.0.11, roles: [etcd, master]}
  - {mac: "02:00:00:00:00:02", host: two, ip: 10.77.0.12, roles: [etcd, master]}
  - {mac: "02:00:00:00:00:03", host: three, ip: 10.77.0.13, roles: [etcd, master]}
"""


class Member:
    """One machine's etcd in its namespace, its files below a directory of its own."""

    def __init__(self, machine: Machine, root: Path, namespace: Namespace, programs: Path) -> None:
        self.machine = machine
        self.programs = programs
        self.root = root
        self.namespace = namespace
        self.log = root / "log"
        self.process: subprocess.Popen[str] | None = None

    def install(self, config: NodeConfig) -> None:
        """As an install does: every file anew, and no data."""
        shutil.rmtree(self.root, ignore_errors=True)
        for file in config.files:
            path = self.root / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            text = file.content.decode()
            # Programs are the distribution's; all else of ours stands below the root.
            text = re.sub(r"/opt/bin/etcd(ctl|utl)\b(?!-)", f"{self.root}/bin/etcd\\1", text)
            path.write_text(re.sub(r"(?<![\w/])/(etc/etcd|var/lib/etcd|etc/flannel)", f"{self.root}/\\1", text))
            path.chmod(file.mode)
        (self.root / "bin").mkdir()
        for name in ("etcdctl", "etcdutl"):
            found = self.programs / name
            (self.root / "bin" / name).symlink_to(found if found.exists() else self.programs / "etcdctl")
        (self.root / "var/lib/etcd").mkdir(parents=True, mode=0o700)

    def environment(self, name: str) -> dict[str, str]:
        lines = (self.root / "etc/etcd" / name).read_text().splitlines()
        pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
        return {key: value.strip('"') for key, value in pairs}

    def start(self) -> None:
        settings = {key: value for key, value in self.environment("etcd.env").items() if key not in NEWER}
        assert {"ETCD_LOGGER", *NEWER}.isdisjoint(settings)
        env = {"PATH": "/usr/bin:/bin", "ETCD_LOGGER": "zap", **settings}
        # Root without a capability, as the unit has it.
        bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        self.process = self.namespace.start(*bare, str(self.programs / "etcd"), log=self.log, env=env)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def script(self, name: str, check: bool = True) -> str:
        """One of ours, with the environment that its unit gives it."""
        path = self.root / "opt/bootstrapper" / name
        words = [f"{key}={value}" for key, value in self.environment("etcdctl.env").items()]
        return self.namespace.run("env", *words, "bash", str(path), check=check)

    def etcdctl(self, *words: str, check: bool = True) -> str:
        return self.namespace.run(str(self.root / "opt/bin/etcdctl-member"), *words, check=check)

    def is_healthy(self) -> bool:
        return "is healthy" in self.etcdctl("endpoint", "health", check=False)

    def leader(self) -> int:
        (status,) = json.loads(self.etcdctl("endpoint", "status", "--write-out=json"))
        return int(status["Status"]["leader"])


@pytest.fixture
def cluster() -> Cluster:
    return load(DESCRIPTION, "trio.yaml")


@pytest.fixture
def context(cluster: Cluster) -> Context:
    links = Links(cluster.network.bootstrapper)
    return Context(cluster, links, build_environment(load_templates(None)), "placeholder\n", token="TOKEN")


@pytest.fixture(params=SETS)
def members(
    cluster: Cluster, context: Context, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[list[Member]]:
    need("etcd", "etcdctl", "curl", "setpriv")
    pki = ClusterPki(tmp_path / "pki", cluster, time.time)
    with Rack("hk") as rack:
        found = []
        for machine in cluster.machines:
            namespace = rack.machine(machine.host, f"{machine.ip}/24")
            member = Member(machine, tmp_path / machine.host, namespace, request.param)
            member.install(build(cluster, machine, replace(context, secrets=pki.secrets_for(machine))))
            found.append(member)
        for member in found:
            member.start()
        yield found


def test_three_members_live_through_what_happens_to_members(
    members: list[Member], cluster: Cluster, context: Context, tmp_path: Path
) -> None:
    one, two, three = members
    for member in members:
        wait_for(member.is_healthy, timeout=20, every=0.3)
        assert "unrecognized environment variable" not in member.log.read_text()
    leader = one.leader()
    assert leader != 0
    assert {member.leader() for member in members} == {leader}

    # flannel's network is written once: the second time, by another member, it is left alone.
    for member in (one, two):
        member.script("flannel-network.sh")
    text = three.etcdctl("get", "--print-value-only", "/coreos.com/network/config")
    assert json.loads(text)["Backend"] == {"Type": "vxlan", "Port": 8472}
    assert json.loads(one.etcdctl("get", "--write-out=json", "/coreos.com/network/config"))["kvs"][0]["version"] == 1

    # Nobody is answered without a certificate of etcd's authority; metrics are for the machine itself.
    ca = str(one.root / "etc/etcd/pki/ca.crt")
    keys = two.root / "etc/etcd/pki/healthcheck-client"
    pair = ("--cert", f"{keys}.crt", "--key", f"{keys}.key")
    refused = two.namespace.run("curl", "-sS", "--cacert", ca, "https://10.77.0.11:2379/health", check=False)
    assert "curl: (" in refused and "health" not in refused
    assert '"health":"true"' in two.namespace.run(
        "curl", "-sS", "--cacert", ca, *pair, "https://10.77.0.11:2379/health"
    )
    assert '"health":"true"' in one.namespace.run("curl", "-sS", "http://127.0.0.1:2381/health")
    far = two.namespace.run("curl", "-sS", "--max-time", "2", "http://10.77.0.11:2381/health", check=False)
    assert "Connection refused" in far or "Couldn't connect" in far

    # Maintenance, as the timers would do it.
    assert "Finished defragmenting" in one.script("etcd-defragment.sh")
    for _ in range(2):
        two.script("etcd-snapshot.sh")
        time.sleep(1.1)  # one a second is what their names can tell apart
    kept = sorted((two.root / "var/lib/etcd-snapshots").iterdir())
    assert [path.suffix for path in kept] == [".db", ".db"]
    assert kept[0].parent.stat().st_mode & 0o777 == 0o700

    # The leader is lost: the others elect one and go on.
    by_id = {
        str(each["ID"]): each["name"] for each in json.loads(one.etcdctl("member", "list", "-w", "json"))["members"]
    }
    lost = next(member for member in members if member.machine.host == by_id[str(leader)])
    left = [member for member in members if member is not lost]
    lost.stop()
    wait_for(lambda: left[0].is_healthy() and left[0].leader() not in (0, leader), timeout=20, every=0.3)
    left[0].etcdctl("put", "written", "with two")
    assert "nothing is defragmented" in left[0].script("etcd-defragment.sh")

    # It is installed again, with an empty disk: its old self is removed, and it joins what runs.
    left[0].etcdctl("member", "remove", f"{leader:x}")
    left[0].etcdctl("member", "add", lost.machine.host, f"--peer-urls=https://{lost.machine.ip}:2380")
    pki = ClusterPki(tmp_path / "pki", cluster, time.time)
    secrets = pki.secrets_for(lost.machine)
    lost.install(build(cluster, lost.machine, replace(context, secrets=secrets, etcd_existing=True)))
    assert lost.environment("etcd.env")["ETCD_INITIAL_CLUSTER_STATE"] == "existing"
    lost.start()
    wait_for(lost.is_healthy, timeout=20, every=0.3)
    assert lost.etcdctl("get", "--print-value-only", "written").strip() == "with two"

    # Rendered anew, `existing` or `new` says nothing to a member that has its data.
    lost.stop()
    path = lost.root / "etc/etcd/etcd.env"
    path.write_text(path.read_text().replace('"existing"', '"new"'))
    lost.start()
    wait_for(lost.is_healthy, timeout=20, every=0.3)
    assert len(json.loads(lost.etcdctl("member", "list", "-w", "json"))["members"]) == 3


def test_a_snapshot_beyond_the_last_twelve_is_given_up(members: list[Member]) -> None:
    one = members[0]
    wait_for(one.is_healthy, timeout=20, every=0.3)
    directory = one.root / "var/lib/etcd-snapshots"
    directory.mkdir(parents=True)
    for day in range(1, 15):
        (directory / f"202601{day:02}T000000Z.db").write_text("old")
    (directory / "20260101T000000Z.db.part").write_text("cut short")
    one.script("etcd-snapshot.sh")
    names = sorted(path.name for path in directory.iterdir())
    assert len(names) == 12
    assert names[0] == "20260104T000000Z.db"
    assert run(str(one.root / "bin/etcdutl"), "snapshot", "status", str(directory / names[-1]))


def test_a_cluster_is_made_of_a_snapshot_as_the_page_says(members: list[Member]) -> None:
    """docs/etcd.md, when all members are lost."""
    one = members[0]
    if not (one.programs / "etcdutl").exists():
        pytest.skip("needs etcdutl")
    for member in members:
        wait_for(member.is_healthy, timeout=20, every=0.3)
    one.etcdctl("put", "kept", "by the snapshot")
    one.script("etcd-snapshot.sh")
    (snapshot,) = (one.root / "var/lib/etcd-snapshots").iterdir()
    revision = json.loads(one.etcdctl("get", "kept", "-w", "json"))["header"]["revision"]
    for member in members:
        member.stop()
    for member in members:
        settings = member.environment("etcd.env")
        shutil.rmtree(settings["ETCD_DATA_DIR"])
        run(
            str(member.programs / "etcdutl"), "snapshot", "restore", str(snapshot),
            "--data-dir", settings["ETCD_DATA_DIR"],
            "--name", settings["ETCD_NAME"],
            "--initial-cluster", settings["ETCD_INITIAL_CLUSTER"],
            "--initial-cluster-token", settings["ETCD_INITIAL_CLUSTER_TOKEN"],
            "--initial-advertise-peer-urls", settings["ETCD_INITIAL_ADVERTISE_PEER_URLS"],
            "--bump-revision", "1000000000", "--mark-compacted",
        )  # fmt: skip
    for member in members:
        member.start()
    for member in members:
        wait_for(member.is_healthy, timeout=20, every=0.3)
    found = json.loads(members[2].etcdctl("get", "kept", "-w", "json"))
    assert found["header"]["revision"] >= revision + 1000000000
    assert members[1].etcdctl("get", "--print-value-only", "kept").strip() == "by the snapshot"


def test_flannels_user_may_touch_its_own_prefix_only(members: list[Member], cluster: Cluster, tmp_path: Path) -> None:
    """docs/etcd.md: the users are the certificates' common names; our own maintenance goes on under authentication."""
    one = members[0]
    wait_for(one.is_healthy, timeout=20, every=0.3)
    for words in (
        ["role", "add", "flannel"],
        ["role", "grant-permission", "flannel", "readwrite", "--prefix=true", "/coreos.com/network/"],
        *(["user", "add", name, "--no-password"] for name in ("root", "kube-etcd-healthcheck-client", "flannel")),
        *(["user", "grant-role", name, "root"] for name in ("root", "kube-etcd-healthcheck-client")),
        ["user", "grant-role", "flannel", "flannel"],
        ["auth", "enable"],
    ):
        one.etcdctl(*words)
    flannel = one.root / "etc/flannel/pki/client"

    def as_flannel(*words: str) -> str:
        env = one.environment("etcdctl.env") | {"ETCDCTL_CERT": f"{flannel}.crt", "ETCDCTL_KEY": f"{flannel}.key"}
        pairs = [f"{key}={value}" for key, value in env.items()]
        return one.namespace.run("env", *pairs, str(one.root / "bin/etcdctl"), *words, check=False)

    one.script("flannel-network.sh")
    assert "10.244.0.0/16" in as_flannel("get", "--print-value-only", "/coreos.com/network/config")
    assert as_flannel("put", "/coreos.com/network/subnets/10.244.1.0-24", "{}").strip() == "OK"
    for words in (
        ["get", "/registry/secrets/x"],
        ["put", "/registry/x", "y"],
        ["get", "/coreos.com/networks"],
        ["member", "add", "evil", "--peer-urls=https://10.77.0.66:2380"],
        ["user", "add", "evil", "--no-password"],
    ):
        assert "permission denied" in as_flannel(*words), words
    assert "Finished defragmenting" in one.script("etcd-defragment.sh")
    one.script("etcd-snapshot.sh")
