"""The service against a real API server (1.20, the newest that is built here): what a fake cannot know.

Server-side apply, its owners of labels, user impersonation, rights, approval, and the authenticator of tokens.
"""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import MemoryStore
from rack import make_cluster, make_environment, make_machine

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask
from bootstrapper.cluster.model import Api, Cluster, Role
from bootstrapper.kube.client import ApiClient
from bootstrapper.kube.connection import Connection, ServerRefusal, Unreachable
from bootstrapper.kube.loop import USER, KubernetesDuty, Parts
from bootstrapper.kube.tls import client_context
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.leaves import Signer
from bootstrapper.state.carry_out import carry_out

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

PROGRAMS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bootstrapper/kubernetes-1.20.2"
ADDRESS, PORT = "127.77.0.9", 16443
"On loopback, and nobody else's."
MASTER, WORKER = "00:00:00:00:00:01", "00:00:00:00:00:02"
NODES = "/api/v1/nodes"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def make_rack() -> Cluster:
    cluster = make_cluster(
        make_machine(MASTER, "master", ADDRESS, roles=frozenset({Role.MASTER, Role.FLANNEL})),
        make_machine(WORKER, "worker", "10.10.14.12", labels={"node-restriction.kubernetes.io/pool": "gold"}),
    )
    kubernetes = replace(cluster.kubernetes, api=Api("k8s.prod.example.com", None, PORT), version="1.20.2")
    return replace(cluster, kubernetes=kubernetes, addons=("coredns",))


class Rig:
    def __init__(self, directory: Path) -> None:
        self.cluster = make_rack()
        self.pki = ClusterPki(directory / "pki/cluster", self.cluster, time.time)
        self.store = MemoryStore()
        self.events: list[Event] = []
        self.service = KubernetesDuty(self.parts())
        pair = self.pki.own("admin")
        self.admin = self.connect(client_context(self.pki.bundle(Signer.CLUSTER), pair.certificate, pair.key))

    def parts(self) -> Parts:
        return Parts(
            self.cluster, make_environment(), self.store, self.pki, self.events.append, time.time, time.monotonic,
            lambda _seconds: True,
        )  # fmt: skip

    def connect(self, context: ssl.SSLContext) -> Connection:
        return Connection([(ADDRESS, PORT)], context)

    def said(self) -> list[str]:
        return [event.step for event in self.events]

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 120
        while True:
            assert process.poll() is None, "the API server ended"
            assert time.monotonic() < end, "the API server is not ready"
            try:
                return self.service.run()
            except (Unreachable, ServerRefusal):
                time.sleep(0.5)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    if not (PROGRAMS / "kube-apiserver").exists():
        pytest.skip("packaging/build-kubernetes.sh has not made the programs of Kubernetes")
    directory = tmp_path_factory.mktemp("api")
    rig = Rig(directory)
    secrets = rig.pki.secrets_for(rig.cluster.by_mac[MASTER])
    rig.pki.tokens.forget(MASTER, rig.pki.now())
    account = secrets.service_account
    assert account is not None
    files = {
        "ca.crt": secrets.authorities["cluster"], "sa.pub": account.certificate, "sa.key": account.key,
        "tls.crt": secrets.pairs["apiserver"].certificate, "tls.key": secrets.pairs["apiserver"].key,
    }  # fmt: skip
    for name, text in files.items():
        (directory / name).write_text(text)
    etcd = ["etcd", f"--data-dir={directory}/etcd", f"--listen-client-urls=http://{ADDRESS}:12379", "--name=m",
            f"--advertise-client-urls=http://{ADDRESS}:12379", f"--listen-peer-urls=http://{ADDRESS}:12380",
            f"--initial-advertise-peer-urls=http://{ADDRESS}:12380",
            f"--initial-cluster=m=http://{ADDRESS}:12380"]  # fmt: skip
    api = [str(PROGRAMS / "kube-apiserver"), f"--etcd-servers=http://{ADDRESS}:12379", f"--bind-address={ADDRESS}",
           f"--secure-port={PORT}", "--insecure-port=0", f"--advertise-address={ADDRESS}",
           "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
           "--enable-bootstrap-token-auth=true", f"--client-ca-file={directory}/ca.crt",
           f"--tls-cert-file={directory}/tls.crt", f"--tls-private-key-file={directory}/tls.key",
           f"--service-account-key-file={directory}/sa.pub", f"--service-account-signing-key-file={directory}/sa.key",
           "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
           "--service-cluster-ip-range=10.96.0.0/16"]  # fmt: skip
    with ExitStack() as stack:
        for command in (etcd, api):
            log = stack.enter_context((directory / f"{Path(command[0]).name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        rig.wait_until_ready(process)
        yield rig


def test_roles_and_add_ons_are_there_and_a_second_time_changes_nothing(rig: Rig) -> None:
    assert rig.said()[0] == "applied", rig.events
    path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
    before = rig.admin.ask("GET", path)
    rig.service._until = 0.0  # a new connection, as after ten minutes
    KubernetesDuty(rig.parts()).run()
    assert rig.admin.ask("GET", path)["metadata"]["generation"] == before["metadata"]["generation"]
    assert "apply refused" not in rig.said()


def test_the_daily_work_has_no_more_rights_than_it_needs(rig: Rig) -> None:
    pair = rig.pki.own("bootstrapper")
    connection = rig.connect(client_context(rig.pki.bundle(Signer.CLUSTER), pair.certificate, pair.key))
    every_right, daily = ApiClient(connection), ApiClient(connection, act_as=USER)
    assert len(list(every_right.list("/api/v1/namespaces/default/secrets"))) >= 0
    for path in ("/api/v1/namespaces/default/secrets", "/api/v1/pods"):
        with pytest.raises(ServerRefusal) as caught:
            list(daily.list(path))
        assert caught.value.status == 403


def test_a_machine_joins(rig: Rig) -> None:
    token = rig.pki.tokens.hand_out(WORKER)
    rig.store.save_history(WORKER, History(1, 1, MachineState.INSTALLED))
    rig.service.run()
    anonymous = ssl.create_default_context(cadata=rig.pki.bundle(Signer.CLUSTER))
    as_machine = {"Authorization": f"Bearer {token.text}"}

    def ask_for(host: str) -> None:
        value = make_request(host)
        rig.connect(anonymous).ask("POST", REQUESTS, value, as_machine)

    ask_for("worker")
    ask_for("master")
    with pytest.raises(ServerRefusal) as caught:
        rig.connect(anonymous).ask("GET", NODES, headers=as_machine)
    assert caught.value.status == 403

    rig.service.run()
    found = {each["metadata"]["name"]: each for each in rig.admin.ask("GET", REQUESTS)["items"]}
    kinds = {name: [each["type"] for each in value["status"]["conditions"]] for name, value in found.items()}
    assert kinds == {"csr-worker": ["Approved"], "csr-master": ["Denied"]}
    assert found["csr-worker"]["spec"]["username"] == f"system:bootstrap:{token.id}"

    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker", "labels": {"mine": "yes"}}}
    rig.admin.ask("POST", NODES, node)
    rig.service.run()
    assert find_labels(rig) == {"node-role.kubernetes.io/worker": "", "node-restriction.kubernetes.io/pool": "gold",
                                "mine": "yes"}  # fmt: skip
    said = len(rig.events)
    rig.service.run()
    assert len(rig.events) == said, "nothing is left to do"


def test_a_label_that_the_description_lost_goes_away(rig: Rig) -> None:
    machine = replace(rig.cluster.by_mac[WORKER], labels={})
    cluster = replace(rig.cluster, machines=(rig.cluster.by_mac[MASTER], machine))
    KubernetesDuty(replace(rig.parts(), cluster=cluster)).run()
    assert find_labels(rig) == {"node-role.kubernetes.io/worker": "", "mine": "yes"}


def test_a_forgotten_machines_node_is_deleted_with_the_daily_rights(rig: Rig) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"}}
    with suppress(ServerRefusal):
        rig.admin.ask("POST", NODES, node)
    rig.store.save_history(WORKER, History(1, 1, MachineState.JOINED))
    carry_out(rig.store, rig.cluster, WORKER, Ask(Order.FORGET), time.time())
    rig.service.run()
    assert "worker" not in {each["metadata"]["name"] for each in rig.admin.ask("GET", NODES)["items"]}
    rig.admin.ask("POST", NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "stays"}})


def test_a_node_that_was_deleted_meanwhile_is_not_made_by_its_labels(rig: Rig) -> None:
    pair = rig.pki.own("bootstrapper")
    client = ApiClient(rig.connect(client_context(rig.pki.bundle(Signer.CLUSTER), pair.certificate, pair.key)))
    ghost = {"name": "ghost", "uid": "11111111-2222-3333-4444-555555555555", "labels": {"a": "b"}}
    with pytest.raises(ServerRefusal) as caught:
        client.apply({"apiVersion": "v1", "kind": "Node", "metadata": ghost})
    assert caught.value.status in (404, 409)


def test_the_admins_kubeconfig_is_an_admins(rig: Rig) -> None:
    assert len(rig.admin.ask("GET", NODES)["items"]) >= 1


def find_labels(rig: Rig) -> dict[str, str]:
    return dict(rig.admin.ask("GET", f"{NODES}/worker")["metadata"]["labels"])


def make_request(host: str) -> dict[str, Any]:
    """With openssl, since kubelets do not use our library either."""
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
               "/dev/null", "-subj", f"/O=system:nodes/CN=system:node:{host}"]  # fmt: skip
    text = subprocess.run(command, check=True, capture_output=True).stdout
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": f"csr-{host}"},
        "spec": {
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "key encipherment", "client auth"],
            "request": base64.b64encode(text).decode(),
        },
    }
