"""A cluster of one master on loopback and two workers, its real keys, and a fake API server for it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_api import FakeApi, serve
from fakes import MemoryStore
from rack import make_cluster, make_environment, make_machine

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.model import Api, Cluster, Role
from bootstrapper.kube.loop import Parts
from bootstrapper.pki.certificates import at_time
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.files import make_directory, write_private
from bootstrapper.pki.keys import build_keys, make_keys
from bootstrapper.pki.leaves import Signer

NOW = 1_795_180_000.0
MASTER, WORKER, OTHER = "00:00:00:00:00:01", "00:00:00:00:00:02", "00:00:00:00:00:03"
MEMBER = "00:00:00:00:00:04"


def make_rack(port: int = 6443, **changes: object) -> Cluster:
    cluster = make_cluster(
        make_machine(MASTER, "master", "127.0.0.1", roles=frozenset({Role.MASTER, Role.FLANNEL})),
        make_machine(WORKER, "worker", "10.10.14.12"),
        make_machine(OTHER, "other", None),
        make_machine(MEMBER, "member", "127.77.1.1", roles=frozenset({Role.ETCD})),  # nobody listens there
    )
    api = Api("k8s.prod.example.com", None, port)
    return replace(cluster, kubernetes=replace(cluster.kubernetes, api=api), addons=("coredns",), **changes)  # type: ignore[arg-type]


@cache
def _make_keys() -> bytes:
    return build_keys(make_keys(at_time(NOW)))


def make_pki(directory: Path, cluster: Cluster, now: Callable[[], float] = lambda: NOW) -> ClusterPki:
    """With keys that are made once for all tests: an RSA key takes its time."""
    if not (directory / "pki/cluster/keys.json").exists():
        make_directory(directory / "pki/cluster")
        write_private(directory / "pki/cluster/keys.json", _make_keys())
    return ClusterPki(directory / "pki/cluster", cluster, now)


class Bench:
    """The service's parts, by hand: `events` has what it said, `rounds` how many rounds it may do."""

    def __init__(self, directory: Path, cluster: Cluster, rounds: int = 1) -> None:
        self.cluster = cluster
        self.store = MemoryStore()
        self.clock = NOW
        self.waits: list[float] = []
        self.rounds = rounds
        self.events: list[Event] = []
        self.pki = make_pki(directory, cluster, lambda: self.clock)
        self.between: Any = lambda _round: None

    def parts(self) -> Parts:
        def wait(seconds: float) -> bool:
            self.waits.append(seconds)
            self.clock += seconds
            self.between(len(self.waits))
            return len(self.waits) >= self.rounds

        environment = make_environment()
        now = lambda: self.clock  # noqa: E731
        return Parts(self.cluster, environment, self.store, self.pki, self._record, now, now, wait)

    def _record(self, event: Event) -> None:
        if event.step != "etcd: waiting":  # it is not there in these tests
            self.events.append(event)

    def said(self) -> list[str]:
        return [f"{event.mac[-2:]} {event.step}" for event in self.events]

    def installed(self, *macs: str) -> None:
        for mac in macs:
            self.store.save_history(mac, History(1, 1, MachineState.INSTALLED, NOW))


@contextmanager
def running(directory: Path, api: FakeApi, rounds: int = 1) -> Iterator[Bench]:
    """The API server has a master's own certificate, from the same keys as ours."""
    keys = make_pki(directory, make_rack())
    pair = keys.secrets_for(make_rack().by_mac[MASTER]).pairs["apiserver"]
    keys.tokens.forget(MASTER, NOW)  # handed out along with its keys
    with serve(api, pair.certificate, pair.key, keys.bundle(Signer.CLUSTER)):
        yield Bench(directory, make_rack(api.port), rounds)


def make_node(name: str, ready: bool = True, **labels: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"kubernetes.io/hostname": name, **labels}},
        "status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": str(ready), "message": "cni plugin not initialized" if not ready else "ok"},
            ],
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "10.10.14.12"}],
        },
    }


def make_request(
    host: str = "worker",
    token: str = "abcdef",
    key: Any = None,
    subject: list[tuple[Any, str]] | None = None,
    names: list[x509.GeneralName] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A kubelet's request for its client certificate, as `kubelet` makes it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    wanted = subject or [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, f"system:node:{host}")]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(oid, value) for oid, value in wanted])
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    values = {
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "username": f"system:bootstrap:{token}",
        "groups": ["system:bootstrappers", "system:bootstrappers:bootstrapper", "system:authenticated"],
        "usages": ["digital signature", "key encipherment", "client auth"],
        "request": base64.b64encode(text).decode(),
    }
    return {"metadata": {"name": f"node-csr-{host}"}, "spec": values | spec, "status": {}}


ADDRESS = IPv4Address("10.10.14.12")
