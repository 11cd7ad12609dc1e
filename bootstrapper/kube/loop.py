"""The service: what this server does in the cluster, in a process of its own, for as long as it runs."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jinja2

from bootstrapper.boot.events import Event
from bootstrapper.cluster.model import Cluster, Role
from bootstrapper.kube.client import ApiClient
from bootstrapper.kube.connection import Address, Connection
from bootstrapper.kube.duty import Duty
from bootstrapper.kube.etcd_client import CLIENT_PORT, EtcdClient
from bootstrapper.kube.etcd_users import NOTE, EtcdUsers
from bootstrapper.kube.etcd_work import EtcdWork
from bootstrapper.kube.forget import Forgetter
from bootstrapper.kube.tls import client_context
from bootstrapper.kube.work import Shelf, Work
from bootstrapper.nodeconfig.secrets import Pair
from bootstrapper.pki.leaves import Signer
from bootstrapper.state.store import Store

FRESH_S = 600.0
"A connection is made anew this often: our certificate may have been renewed, an authority replaced."
MINIMUM_S = 0.1
USER = "bootstrapper:loop"
"Whose rights the daily work is done with (templates/addons/rbac)."


class Pki(Protocol):
    """`pki.cluster.ClusterPki`."""

    def own(self, name: str) -> Pair: ...
    def bundle(self, signer: Signer) -> str: ...
    def forget(self, mac: str, at: float) -> None: ...
    def restore(self, mac: str) -> None: ...
    @property
    def tokens(self) -> Shelf: ...


@dataclass(frozen=True)
class Parts:
    """All that the service is made of."""

    cluster: Cluster
    environment: jinja2.Environment
    store: Store
    pki: Pki
    record: Callable[[Event], None]
    now: Callable[[], float]
    "Wall clock, seconds."
    monotonic: Callable[[], float]
    "For when to do what: it is never set back."
    wait: Callable[[float], bool]
    "Waits so many seconds; True when the service is to end (`stop_on_signal().wait`)."


def run_kube(parts: Parts) -> None:
    """Until `wait` says so. `Stopped` comes through, from wherever it was raised."""
    duties = [Duty("etcd", EtcdDuty(parts).run), Duty("the Kubernetes API", KubernetesDuty(parts).run)]
    while True:
        for duty in duties:
            if parts.monotonic() >= duty.next_at:
                duty.try_now(parts.record, parts.now)
                duty.next_at = parts.monotonic() + duty.wait_s
        if parts.wait(max(MINIMUM_S, min(duty.next_at for duty in duties) - parts.monotonic())):
            return


class KubernetesDuty:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._forgetter = make_forgetter(parts)
        self._connection: Connection | None = None
        self._work: Work | None = None
        self._until = 0.0

    def run(self) -> None:
        now = self._parts.now()
        self._forgetter.settle_keys(self._parts.pki)
        if self._connection is None or now >= self._until:
            self._connect()
            self._until = now + FRESH_S
        assert self._work is not None
        self._work.run()

    def _connect(self) -> None:
        parts = self._parts
        if self._connection is not None:
            self._connection.close()
        pair = parts.pki.own("bootstrapper")
        tls = client_context(parts.pki.bundle(Signer.CLUSTER), pair.certificate, pair.key)
        self._connection = Connection(find_api_servers(parts.cluster), tls)
        every_right, client = ApiClient(self._connection), ApiClient(self._connection, act_as=USER)
        if self._work is None:
            self._work = Work(
                parts.cluster,
                parts.environment,
                parts.store,
                parts.pki.tokens,
                every_right,
                client,
                parts.record,
                parts.now,
                self._forgetter,
            )
        else:
            self._work.every_right, self._work.client = every_right, client


class EtcdDuty:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._forgetter = make_forgetter(parts)
        self._client: EtcdClient | None = None
        self._until = 0.0
        self._settled = False

    def run(self) -> None:
        parts, now = self._parts, self._parts.now()
        if self._client is None or now >= self._until:
            if self._client is not None:
                self._client.close()
            pair = parts.pki.own("bootstrapper-etcd")
            tls = client_context(parts.pki.bundle(Signer.ETCD), pair.certificate, pair.key)
            self._client = EtcdClient(find_members(parts.cluster), tls)
            self._until = now + FRESH_S
            self._settled = parts.cluster.flannel.datastore != "etcd"
            self._client.password = "" if self._settled else parts.store.load_note(NOTE)
        EtcdWork(parts.cluster, parts.store, self._client, parts.record, parts.now).run()
        self._forgetter.forget_members(self._client)
        if not self._settled:
            EtcdUsers(parts.store, self._client, parts.record, parts.now, lambda: secrets.token_urlsafe(32)).settle()
            self._settled = True


def make_forgetter(parts: Parts) -> Forgetter:
    return Forgetter(parts.cluster, parts.store, parts.record, parts.now)


def find_members(cluster: Cluster) -> list[Address]:
    return [(str(member.ip), CLIENT_PORT) for member in cluster.with_role(Role.ETCD) if member.ip is not None]


def find_api_servers(cluster: Cluster) -> list[Address]:
    """The masters by their own addresses: their certificates name them, and the virtual address may not be up yet."""
    port = cluster.kubernetes.api.port
    return [(str(master.ip), port) for master in cluster.with_role(Role.MASTER) if master.ip is not None]


class Stopped(BaseException):
    """SIGTERM has come. Not an Exception: a round that is under way must not take it for a fault of its own."""


def stop_on_signal() -> threading.Event:
    """Set by SIGTERM, which ends a round as well, wherever it is: for the main thread of this service's process.

    A round may wait for seconds for each machine that is off, longer than a service is given to stop.
    """
    stop = threading.Event()

    def end(*_: object) -> None:
        if not stop.is_set():
            stop.set()
            raise Stopped

    signal.signal(signal.SIGTERM, end)
    return stop
