"""A small cluster made by hand, for tests of rooms that take a `Cluster` and do not care how it was loaded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import jinja2

from bootstrapper.boot.links import Links
from bootstrapper.cluster.model import (
    AddressRange,
    Api,
    Arch,
    Cluster,
    Dhcp,
    DhcpMode,
    DiskSelector,
    Dns,
    Flannel,
    Kubernetes,
    Machine,
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
from bootstrapper.templating import build_environment

TEMPLATES = Path(__file__).parent.parent / "templates"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nplaceholder\n-----END CERTIFICATE-----\n"
ONE_MACHINE = """\
version: 1
cluster: {name: lf, domain: lf.test}
network: {subnet: 10.9.8.0/24, bootstrapper: 10.9.8.1, routers: [], dhcp: {range: 10.9.8.100-10.9.8.120}}
os: {family: flatcar, channel: stable, version: 4593.2.5}
kubernetes: {version: 1.35.8}
machines:
  - {mac: "52:54:00:00:00:01", host: node1, ip: 10.9.8.11, roles: [etcd, master, worker]}
"""
"A description, for tests that give one to a verb."
NODE1_MAC = "00:25:90:c0:f7:80"
NODE4_MAC = "00:25:90:c0:f6:ee"
LINKS = Links(IPv4Address("10.10.14.253"))

FLATCAR = OperatingSystem(
    family=OsFamily.FLATCAR,
    channel="stable",
    version="4593.2.5",
    provision=Provision.CLOUD_CONFIG,
    timezone="Etc/UTC",
    updates=Updates("off", "Thu 04:00", "3h"),
    kernel_args=("console=ttyS0,115200n8",),
)


def make_machine(
    mac: str = NODE1_MAC, host: str = "node1", ip: str | None = "10.10.14.11", **changes: object
) -> Machine:
    machine = Machine(
        macs=(mac,),
        host=host,
        ip=IPv4Address(ip) if ip else None,
        roles=frozenset({Role.WORKER, Role.FLANNEL}),
        profile=None,
        uuid=None,
        serial=None,
        disk=DiskSelector(),
        data_disk=None,
        interfaces=(),
        labels={},
        taints=(),
        os=FLATCAR,
        arch=Arch.AMD64,
        console=None,
        bmc=None,
        line=1,
    )
    return replace(machine, **changes)  # type: ignore[arg-type]


def make_cluster(*machines: Machine, unknown: UnknownPolicy = UnknownPolicy.IGNORE) -> Cluster:
    """node1 with a fixed address and node4 without, unless `machines` are given."""
    return Cluster(
        name="prod",
        domain="prod.example.com",
        network=Network(
            link=Subnet(
                network=IPv4Network("10.10.14.0/24"),
                routers=(IPv4Address("10.10.14.254"),),
                range=AddressRange(IPv4Address("10.10.14.100"), IPv4Address("10.10.14.199")),
            ),
            bootstrapper=IPv4Address("10.10.14.253"),
            interface=None,
            more_subnets=(),
            dhcp=Dhcp(DhcpMode.AUTHORITATIVE, 43200),
            dns=Dns((), {}),
            ntp=Ntp(True, ()),
        ),
        os=FLATCAR,
        kubernetes=Kubernetes(
            version="1.35.8",
            pod_cidr=IPv4Network("10.244.0.0/16"),
            node_cidr_mask=24,
            dns_domain="cluster.local",
            service_cidr=IPv4Network("10.96.0.0/16"),
            dns_ip=IPv4Address("10.96.0.10"),
            api=Api("k8s.prod.example.com", None, 6443),
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
        unknown_machines=unknown,
        machines=machines or (make_machine(), make_machine(NODE4_MAC, "node4", None)),
    )


def load_templates() -> dict[str, str]:
    return {str(path.relative_to(TEMPLATES)): path.read_text() for path in TEMPLATES.rglob("*") if path.is_file()}


@cache
def make_environment() -> jinja2.Environment:
    """One for all tests: compiling the templates is what takes the time."""
    return build_environment(load_templates())
