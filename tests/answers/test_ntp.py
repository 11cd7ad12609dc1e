"""chrony.conf from the description."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from rack import make_cluster

from bootstrapper.answers.ntp import render_chrony
from bootstrapper.cluster.model import Cluster, Ntp, Subnet


def with_upstream(*upstream: str) -> Cluster:
    cluster = make_cluster()
    return replace(cluster, network=replace(cluster.network, ntp=Ntp(True, upstream)))


def test_without_an_upstream() -> None:
    assert render_chrony(make_cluster(), "/var/lib/b/chrony") == (
        "port 123\n"
        "bindaddress 10.10.14.253\n"
        "allow 10.10.14.0/24\n"
        "local stratum 10\n"
        "ratelimit interval 1 burst 16\n"
        "clientloglimit 4194304\n"
        "cmdport 0\n"
        "bindcmdaddress /\n"
        "driftfile /var/lib/b/chrony/drift\n"
        "pidfile /var/lib/b/chrony/chronyd.pid\n"
    )


def test_upstreams_by_name_and_address_and_never_ourselves() -> None:
    text = render_chrony(with_upstream("pool.ntp.org", "192.0.2.7", "10.10.14.253"), "/d")
    assert [line for line in text.splitlines() if line.endswith("iburst")] == [
        "pool pool.ntp.org iburst",
        "server 192.0.2.7 iburst",
    ]
    assert "local stratum 10\n" in text


def test_every_subnet_may_ask() -> None:
    cluster = make_cluster()
    more = (Subnet(IPv4Network("10.20.0.0/23"), (), None),)
    text = render_chrony(replace(cluster, network=replace(cluster.network, more_subnets=more)), "/d")
    assert "allow 10.10.14.0/24\nallow 10.20.0.0/23\n" in text


def test_the_hosts_clock_is_left_alone_unless_told() -> None:
    assert "makestep" not in render_chrony(make_cluster(), "/d")
    assert render_chrony(make_cluster(), "/d", port=1123, set_clock=True).endswith("makestep 1.0 3\nrtcsync\n")
