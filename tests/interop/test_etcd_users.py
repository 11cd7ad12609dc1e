"""Authentication of a real etcd, switched on by the server through the gateway; what each certificate may do then."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rack import make_cluster, make_machine
from test_etcd_members import Members, Server
from wires import need

from bootstrapper.boot.membership import Begin
from bootstrapper.cluster.model import Machine, Role
from bootstrapper.kube.connection import ServerRefusal
from bootstrapper.kube.etcd_users import EtcdUsers
from bootstrapper.pki.cluster import ClusterPki

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

ADDRESS = "127.78.0.1"


class Rig:
    def __init__(self, directory: Path) -> None:
        roles = frozenset({Role.ETCD, Role.MASTER, Role.FLANNEL})
        cluster = make_cluster(make_machine("00:00:00:00:00:01", "node1", ADDRESS, roles=roles))
        cluster = replace(cluster, flannel=replace(cluster.flannel, datastore="etcd"))
        self.directory, self.machine = directory, cluster.machines[0]
        self.pki = ClusterPki(directory / "pki/cluster", cluster, time.time)
        self.members = Members(directory, cluster, self.pki)
        self.server = Server(cluster, self.pki)
        for name, pair in self.pki.secrets_for(self.machine).pairs.items():
            (directory / f"{name}.crt").write_text(pair.certificate)
            (directory / f"{name}.key").write_text(pair.key)

    def settle(self) -> None:
        EtcdUsers(
            self.server.store, self.server.client, self.server.events.append, time.time, lambda: "secret"
        ).settle()

    def start(self) -> Machine:
        self.members.start(self.machine, Begin(existing=False))
        self.server.until("etcd formed")
        return self.machine

    def etcdctl(self, leaf: str, *words: str) -> str:
        options = [
            f"--endpoints=https://{ADDRESS}:2379",
            f"--cacert={self.directory}/node1/ca.crt",
            f"--cert={self.directory}/{leaf}.crt",
            f"--key={self.directory}/{leaf}.key",
        ]
        env = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            ["etcdctl", *options, *words],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
        ).stdout


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    need("etcd", "etcdctl")
    made = Rig(tmp_path)
    yield made
    made.server.client.close()
    made.members.stop_all()


def test_each_certificate_may_do_its_own_work_only(rig: Rig) -> None:
    rig.start()
    assert rig.etcdctl("flannel-etcd-client", "put", "/registry/secrets/x", "y").strip() == "OK"
    rig.settle()
    assert rig.server.said()[-1] == "etcd users"

    assert rig.etcdctl("flannel-etcd-client", "put", "/coreos.com/network/subnets/a", "{}").strip() == "OK"
    for words in (
        ["get", "/registry/secrets/x"],
        ["get", "", "--prefix"],
        ["put", "/coreos.com/network0", "y"],
        ["member", "add", "evil", "--peer-urls=https://127.78.0.66:2380"],
        ["user", "add", "evil", "--no-password"],
        ["auth", "disable"],
    ):
        assert "permission denied" in rig.etcdctl("flannel-etcd-client", *words), words
    # A certificate of etcd's authority that is no user of it: a member's own.
    assert "OK" not in rig.etcdctl("etcd-server", "put", "/registry/x", "y")
    assert rig.etcdctl("apiserver-etcd-client", "get", "/registry/secrets/x", "--print-value-only").strip() == "y"
    assert "Finished defragmenting" in rig.etcdctl("etcd-healthcheck-client", "defrag")


def test_the_server_goes_on_with_its_work_among_users(rig: Rig) -> None:
    rig.start()
    rig.settle()
    # A second round changes nothing, and neither does a server that has been started again.
    rig.settle()
    rig.server.client._token = ""
    rig.server.round()
    assert rig.server.said().count("etcd users") == 1
    assert [member.name for member in rig.server.client.list_members()] == ["node1"]
    added = rig.server.client.add_learner("https://127.78.0.66:2380")
    rig.server.client.remove(added.id)
    # A token that has run out is fetched anew.
    rig.server.client._token = "nobody.1"
    assert len(rig.server.client.list_members()) == 1


def test_another_password_than_ours_is_told(rig: Rig) -> None:
    rig.start()
    rig.settle()
    rig.server.store.save_note("etcd root password", "lost")
    rig.server.client._token = ""
    with pytest.raises(ServerRefusal, match="password"):
        rig.settle()
    # As docs/etcd.md says: a member switches it off, and the next round begins with our password.
    rig.etcdctl("etcd-healthcheck-client", "auth", "disable")
    rig.settle()
    assert rig.server.said().count("etcd users") == 2
    assert "permission denied" in rig.etcdctl("flannel-etcd-client", "get", "/registry/secrets/x")
