"""A small rack made without `cluster.load`: three machines that differ in what matters here, and a context for it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from rack import AUTHORITY, FLATCAR, LINKS, NODE1_MAC, NODE4_MAC, make_cluster, make_environment, make_machine

from bootstrapper.cluster.model import Api, Cluster, Dns, Ntp, OperatingSystem, Provision, Role
from bootstrapper.nodeconfig.context import Context

MASTER = frozenset({Role.ETCD, Role.MASTER})


@pytest.fixture
def os_choice() -> OperatingSystem:
    return replace(FLATCAR, timezone="Europe/Berlin")


@pytest.fixture
def cluster(os_choice: OperatingSystem) -> Cluster:
    made = make_cluster(
        make_machine(NODE1_MAC, "node1", "10.10.14.11", roles=MASTER, os=os_choice),
        make_machine("0c:c4:7a:82:c5:bc", "node2", "10.10.14.12", roles=MASTER, os=os_choice),
        make_machine(NODE4_MAC, "node4", None, os=replace(os_choice, provision=Provision.IGNITION)),
    )
    return replace(
        made,
        os=os_choice,
        network=replace(made.network, dns=Dns((IPv4Address("8.8.8.8"),), {}), ntp=Ntp(True, ("pool.ntp.org",))),
        kubernetes=replace(made.kubernetes, api=Api("k8s.prod.example.com", IPv4Address("10.10.14.250"), 6443)),
    )


@pytest.fixture
def context(cluster: Cluster) -> Context:
    """As for a claim: with a token."""
    return Context(
        cluster=cluster,
        links=LINKS,
        environment=make_environment(),
        authority_pem=AUTHORITY,
        token="secret-of-this-boot",
    )
