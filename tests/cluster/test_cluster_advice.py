# ruff: noqa: E501 -- messages stand here as one line each, as the admin reads them
"""Every piece of advice, as the admin reads it."""

from __future__ import annotations

from datetime import date

import pytest

from bootstrapper.cluster.advice import advise
from bootstrapper.cluster.load import load

QUIET = """\
version: 1
cluster: {name: prod, domain: prod.internal}
network:
  subnet: 10.10.14.0/24
  bootstrapper: 10.10.14.253
  routers: [10.10.14.254]
  dhcp: {range: 10.10.14.100-10.10.14.199, lease: 12h}
kubernetes:
  version: 1.35.8
  api: {vip: 10.10.14.250}
ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGG4zZHmEkso6L1N7GxxqGk+kCJB/3TOJOco9m8T/DAg nobody]
machines:
  - {mac: "00:25:90:c0:f7:80", host: node1, ip: 10.10.14.11, roles: [etcd, master]}
  - {mac: "0c:c4:7a:82:c5:bc", host: node2, ip: 10.10.14.12, roles: [etcd, master]}
  - {mac: "0c:c4:7a:82:c5:b8", host: node3, ip: 10.10.14.13, roles: [etcd, master, ingress]}
  - {mac: "00:25:90:c0:f6:ee", host: node4, roles: [worker]}
"""
TODAY = date(2026, 11, 20)


def advice(*edits: tuple[str, str], today: date | None = TODAY) -> list[str]:
    text = QUIET
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return [problem.text() for problem in advise(load(text, "d.yaml"), today)]


def test_nothing_to_say() -> None:
    assert advice() == []


CASES = [
    (
        "lease: 12h}",
        "lease: 12h}\n  dns: {records: {nas: 10.10.14.120}}",
        [
            "d.yaml:8: network.dns.records.nas: 10.10.14.120 lies inside the dynamic range: a machine may be given it (give it an address outside the range)"
        ],
    ),
    (
        "routers: [10.10.14.254]",
        "routers: [10.10.14.253]",
        [
            "d.yaml:6: network.routers: this server is a router: while it is off, machines reach nothing beyond their own subnet"
        ],
    ),
    (
        "roles: [etcd, master, ingress]",
        "roles: [master, ingress]",
        ["d.yaml:12: machines: 2 etcd members: an even number bears no more failures than 1 (use 3)"],
    ),
    (
        "[worker]",
        "[worker, etcd], ip: 10.10.14.14",
        ["d.yaml:12: machines: 4 etcd members: an even number bears no more failures than 3 (use 3 or 5)"],
    ),
    (
        "vip: 10.10.14.250",
        "port: 6443",
        [
            "d.yaml:10: kubernetes.api: 3 masters and no virtual address: every node runs a local balancer to reach the API, and nothing outside the cluster fails over (set kubernetes.api.vip to a free address of the masters' network)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  proxy_mode: ipvs",
        ["d.yaml:10: kubernetes.proxy_mode: ipvs is deprecated since Kubernetes 1.35 (use nftables)"],
    ),
    (
        "ssh_authorized_keys",
        "flannel: {backend: udp}\nssh_authorized_keys",
        ["d.yaml:11: flannel.backend: udp is slow and meant for debugging (use vxlan, or host-gw on one link)"],
    ),
    (
        "lease: 12h",
        "lease: 7d",
        [
            "d.yaml:7: network.dhcp.lease: a lease of 168 hours is long for 99 spare addresses: with a new machine each hour they run out (shorten the lease, or widen the range)"
        ],
    ),
    (
        "domain: prod.internal",
        "domain: prod.acme.com",
        [
            "d.yaml:2: cluster.domain: prod.acme.com is a public domain: on this network, we alone answer for all names in it (use a subdomain that is nowhere else, or one in .internal)"
        ],
    ),
    (
        "domain: prod.internal",
        "domain: prod.local",
        [
            "d.yaml:2: cluster.domain: prod.local: names in .local are asked for by multicast DNS (RFC 6762), not of this server (a name in .internal is free for private use)"
        ],
    ),
    (
        "ssh_authorized_keys: [",
        "ssh_authorized_keys: []\n# [",
        ["d.yaml:11: ssh_authorized_keys: no SSH key: nobody can log in to a machine to see why it is stuck"],
    ),
    (
        "ssh_authorized_keys",
        "etcd: {version: 3.5.33}\nssh_authorized_keys",
        ["d.yaml:11: etcd.version: etcd 3.5.33 is past its end of life, 2026-07-08 (use a newer minor)"],
    ),
    (
        "ssh_authorized_keys",
        "containerd: {version: 2.2.7}\nssh_authorized_keys",
        ["d.yaml:11: containerd.version: containerd 2.2.7 is past its end of life, 2026-11-06 (use a newer minor)"],
    ),
    (
        "host: node4",
        "host: node4, disk: {path: /dev/sda}",
        [
            "d.yaml:16: machines[3].disk: /dev/sda may be another disk at the next boot (use /dev/disk/by-id, or a wwn or serial)"
        ],
    ),
    (
        "host: node1",
        "host: node1, hardware: {cpus: 2, memory: 4Gi}",
        ["d.yaml:13: machines[0].hardware: a small master: for 1-5 nodes it should have 4 processors, 8 GiB of memory"],
    ),
    ("host: node1", "host: node1, hardware: {cpus: 4, memory: 8Gi}", []),
    (
        "lease: 12h",
        "lease: 12h, mode: proxy",
        ["d.yaml:7: network.dhcp.range: not used with mode proxy: no address is given from a range"],
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES, ids=[new for _, new, _ in CASES])
def test_advice(old: str, new: str, expected: list[str]) -> None:
    assert advice((old, new)) == expected


def test_unknown_machines_need_a_range() -> None:
    fixed = [("range: 10.10.14.100-10.10.14.199, ", ""), ("host: node4", "host: node4, ip: 10.10.14.14")]
    assert advice(*fixed) == []
    assert advice(*fixed, ("ssh_authorized_keys", "unknown_machines: discover\nssh_authorized_keys")) == [
        "d.yaml:11: unknown_machines: discover gives unknown machines an address, and there is no range to give one from (set network.dhcp.range)"
    ]


def test_one_etcd_member() -> None:
    assert advice(("roles: [etcd, master]", "roles: [worker]"), ("roles: [etcd, master]", "roles: [worker]")) == [
        "d.yaml:12: machines: one etcd member: when its disk is lost, the cluster is (three outlive one)"
    ]


def test_support_that_ends_later_is_quiet_and_without_a_date_nothing_is_said() -> None:
    old = ("ssh_authorized_keys", "etcd: {version: 3.5.33}\nssh_authorized_keys")
    assert advice(old, today=date(2026, 7, 8)) == []
    assert advice(old, today=None) == []


@pytest.mark.parametrize(
    ("workers", "needed"),
    [(3, "6-20 nodes it should have 4 processors, 16 GiB"), (20, "21-100 nodes it should have 8 processors, 32 GiB"),
     (100, "101-200 nodes it should have 16 processors, 64 GiB")],
)  # fmt: skip
def test_the_size_of_masters_follows_the_nodes(workers: int, needed: str) -> None:
    more = "".join(f'  - {{mac: "02:00:00:00:00:{index:02x}", roles: [worker]}}\n' for index in range(workers))
    text = QUIET.replace("host: node1", "host: node1, hardware: {cpus: 4, memory: 8Gi}") + more
    text = text.replace("10.10.14.100-", "10.10.14.20-")
    assert [needed in problem.message for problem in advise(load(text))] == [True]
