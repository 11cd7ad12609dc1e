"""A small rack made without `cluster.load`: three machines that differ in what matters here, and a context for it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from nodeconfig_rack import AUTHORITY, make_environment, make_machine

from bootstrapper.boot.links import Links
from bootstrapper.cluster.model import (
    AddressRange,
    Api,
    Cluster,
    Dhcp,
    DhcpMode,
    Dns,
    Flannel,
    Kubernetes,
    Network,
    Ntp,
    OperatingSystem,
    OsFamily,
    Provision,
    Registry,
    Role,
    Subnet,
    UnknownPolicy,
    Updates,
)
from bootstrapper.nodeconfig.context import Context


@pytest.fixture
def os_choice() -> OperatingSystem:
    return OperatingSystem(
        family=OsFamily.FLATCAR,
        channel="stable",
        version="4593.2.5",
        provision=Provision.CLOUD_CONFIG,
        timezone="Europe/Berlin",
        updates=Updates("off", "Thu 04:00", "3h"),
        kernel_args=("console=ttyS0,115200n8",),
    )


@pytest.fixture
def cluster(os_choice: OperatingSystem) -> Cluster:
    return Cluster(
        name="prod",
        domain="prod.example.com",
        network=Network(
            link=Subnet(
                IPv4Network("10.10.14.0/24"),
                (IPv4Address("10.10.14.254"),),
                AddressRange(IPv4Address("10.10.14.100"), IPv4Address("10.10.14.199")),
            ),
            bootstrapper=IPv4Address("10.10.14.253"),
            interface=None,
            more_subnets=(),
            dhcp=Dhcp(DhcpMode.AUTHORITATIVE, 43200),
            dns=Dns((IPv4Address("8.8.8.8"),), {}),
            ntp=Ntp(True, ("pool.ntp.org",)),
        ),
        os=os_choice,
        kubernetes=Kubernetes(
            version="1.35.8",
            pod_cidr=IPv4Network("10.244.0.0/16"),
            node_cidr_mask=24,
            dns_domain="cluster.local",
            service_cidr=IPv4Network("10.96.0.0/16"),
            dns_ip=IPv4Address("10.96.0.10"),
            api=Api("k8s.prod.example.com", IPv4Address("10.10.14.250"), 6443),
            proxy_mode="nftables",
            max_pods=110,
            extra_args={},
        ),
        etcd_version="3.6.14",
        flannel=Flannel("0.28.9", "host-gw", "kubernetes"),
        containerd_version="os",
        registry=Registry(True, 5000, ()),
        assets={},
        addons=(),
        ssh_authorized_keys=("ssh-ed25519 AAAA admin",),
        unknown_machines=UnknownPolicy.IGNORE,
        machines=(
            make_machine("00:25:90:c0:f7:80", "node1", "10.10.14.11", {Role.ETCD, Role.MASTER}, os_choice),
            make_machine("0c:c4:7a:82:c5:bc", "node2", "10.10.14.12", {Role.ETCD, Role.MASTER}, os_choice),
            make_machine(
                "00:25:90:c0:f6:ee",
                "node4",
                None,
                {Role.WORKER, Role.FLANNEL},
                replace(os_choice, provision=Provision.IGNITION),
            ),
        ),
    )


@pytest.fixture
def context(cluster: Cluster) -> Context:
    """As for a claim: with a token."""
    return Context(
        cluster=cluster,
        links=Links(IPv4Address("10.10.14.253")),
        environment=make_environment(),
        authority_pem=AUTHORITY,
        token="secret-of-this-boot",
    )
