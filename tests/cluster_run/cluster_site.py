"""The site of `make cluster`: its description, its keys, and the machines made from what is generated for them."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import jinja2
from cluster_machine import ClusterMachine
from wires import Rack

from bootstrapper.boot.history import History
from bootstrapper.boot.links import Links
from bootstrapper.boot.membership import NOTE, Begin, Wait, decide_member, parse_membership
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.description import load_templates
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.templating import build_environment

VERSION = "1.20.2"
"Of the programs that are run. `check` refuses it, so it is put in after the description was loaded."
OLD_FLATCAR = "4081.3.10"
"One with containerd 1, as the distribution's is: it reads another configuration file than containerd 2."
SERVER = "10.77.0.1"

DESCRIPTION = f"""\
version: 1
cluster: {{name: run, domain: run.internal}}
network:
  subnet: 10.77.0.0/24
  bootstrapper: {SERVER}
  routers: []
  dhcp: {{range: 10.77.0.100-10.77.0.199}}
os: {{channel: beta, version: 4757.1.0}}
kubernetes:
  version: 1.36.4
  extra_args:
    # A limit of the whole kernel's, which a namespace of it cannot set.
    kube-proxy: {{conntrack-max-per-core: "0"}}
machines:
  - {{mac: "02:00:00:77:00:11", host: m1, ip: 10.77.0.11, roles: [etcd, master]}}
  - {{mac: "02:00:00:77:00:12", host: m2, ip: 10.77.0.12, roles: [etcd, master]}}
  - mac: "02:00:00:77:00:13"
    host: w1
    ip: 10.77.0.13
    roles: [etcd, worker]
    labels: {{rack: r7, topology.kubernetes.io/zone: z1, node-restriction.kubernetes.io/pool: gold}}
    taints: ["dedicated=test:NoSchedule"]
"""


@dataclass
class Site:
    cluster: Cluster
    pki: ClusterPki
    environment: jinja2.Environment
    rack: Rack
    directory: Path
    machines: dict[str, ClusterMachine] = field(default_factory=dict)

    def install_all(self) -> None:
        for machine in self.cluster.machines:
            made = self.machines[machine.host] = ClusterMachine(self.rack, machine.host, self.directory)
            made.connect(f"{machine.ip}/24")
            made.power_on()
            made.install(self.configure(machine.host))

    @property
    def description(self) -> Path:
        return self.directory / "cluster-desc.yaml"

    def open_store(self) -> SqliteStore:
        """The state; each thread needs its own."""
        return SqliteStore(self.directory / "state.db")

    def order(self, host: str, history: History) -> None:
        """What the web plane would have kept of a machine that boots, or has reported."""
        store = self.open_store()
        store.save_history(self.cluster.by_host[host].mac, history)
        store.close()

    def find_begin(self, host: str) -> Begin | Wait:
        """How the member `host` is to begin, as its claim is decided."""
        store = self.open_store()
        mac = self.cluster.by_host[host].mac
        decided = decide_member(parse_membership(store.load_note(NOTE)), mac, store.find_history(mac).wanted)
        store.close()
        return decided

    def configure(self, host: str, **changes: object) -> NodeConfig:
        """What the claim of `host` is answered with."""
        machine = self.cluster.by_host[host]
        context = Context(
            self.cluster,
            Links(self.cluster.network.bootstrapper),
            self.environment,
            authority_pem="",
            token="token-of-this-boot",
            secrets=self.pki.secrets_for(machine),
        )
        return build(self.cluster, machine, replace(context, **changes))  # type: ignore[arg-type]


def make_site(rack: Rack, directory: Path) -> Site:
    loaded = load(DESCRIPTION, "cluster-desc.yaml")
    cluster = replace(
        loaded,
        kubernetes=replace(loaded.kubernetes, version=VERSION),
        machines=tuple(replace(each, os=replace(each.os, version=OLD_FLATCAR)) for each in loaded.machines),
    )
    pki = ClusterPki(directory / "pki" / "cluster", cluster, time.time)
    (directory / "cluster-desc.yaml").write_text(DESCRIPTION)
    return Site(cluster, pki, build_environment(load_templates(None)), rack, directory)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread's sockets, and the programs it starts, are in the network namespace `namespace`."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(other, 0):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        libc.setns(own, 0)
        os.close(own)
        os.close(other)
