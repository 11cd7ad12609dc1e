"""etcd from the generated settings and certificates: three members, the loss of one, and one that comes back new.

The program is the distribution's 3.4: the two settings of 3.6 that it does not know, it names in its log and ignores.
"""

from __future__ import annotations

import json

import pytest
from cluster_site import Site
from wires import wait_for

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.membership import Begin, Wait

pytestmark = pytest.mark.cluster

MEMBERS = ("m1", "m2", "w1")


def ask(site: Site, host: str, *command: str, check: bool = True) -> str:
    """etcdctl as the generated wrapper calls it, on the machine itself."""
    return str(site.machines[host].run("/opt/bin/etcdctl-member", *command, check=check, timeout=20).stdout)


def healthy(site: Site, host: str, count: int) -> bool:
    text = ask(site, host, "endpoint", "health", "--cluster", "--write-out=json", check=False)
    found = [line for line in text.splitlines() if line.startswith("[")]
    return bool(found) and sum(each["health"] for each in json.loads(found[0])) == count


def test_our_service_waits_and_says_so(events: list[Event]) -> None:
    """etcd forms a cluster while the API does not exist yet."""
    wait_for(lambda: any(event.step == "etcd formed" for event in events), timeout=60)
    wait_for(lambda: any(event.step == "the Kubernetes API: waiting" for event in events), timeout=30)


def test_three_members_elect_a_leader(etcd: Site) -> None:
    wait_for(lambda: healthy(etcd, "m1", 3), timeout=30)
    status = json.loads(ask(etcd, "w1", "endpoint", "status", "--cluster", "--write-out=json").splitlines()[-1])
    assert len({each["Status"]["leader"] for each in status}) == 1
    assert len({each["Status"]["header"]["member_id"] for each in status}) == 3
    for host in etcd.machines:
        etcd.order(host, History(wanted=1, done=1, state=MachineState.INSTALLED))


def test_a_client_without_our_certificate_is_refused(etcd: Site) -> None:
    """TLS both ways: by the authority alone nobody gets in."""
    bare = ["--cacert=/etc/etcd/pki/ca.crt", "--endpoints=https://10.77.0.11:2379", "--command-timeout=5s"]
    tried = etcd.machines["m1"].run("env", "ETCDCTL_API=3", "/opt/bin/etcdctl", *bare, "get", "x", check=False)
    assert tried.returncode != 0
    assert "client didn't provide a certificate" in etcd.machines["m1"].log("etcd.service", 20)


def test_the_loss_of_one_is_survived(etcd: Site) -> None:
    ask(etcd, "m1", "put", "before", "1")
    etcd.machines["w1"].stop("etcd.service")
    wait_for(lambda: "OK" in ask(etcd, "m1", "put", "without-w1", "2", check=False), timeout=20)
    assert ask(etcd, "m2", "get", "--print-value-only", "without-w1").strip() == "2"
    assert not healthy(etcd, "m1", 3)


def test_it_comes_back_with_its_data(etcd: Site) -> None:
    etcd.machines["w1"].start("etcd.service")
    wait_for(lambda: healthy(etcd, "m1", 3), timeout=30)
    assert ask(etcd, "w1", "get", "--print-value-only", "without-w1").strip() == "2"


def reinstall(site: Site, host: str, **changes: object) -> None:
    """The machine as after a new install: an empty root, and what its claim is answered with."""
    machine = site.machines[host]
    machine.power_off()
    machine.power_on()
    machine.install(site.configure(host, **changes))
    for name in ("etcd", "etcdctl"):
        machine.link(f"/opt/bin/{name}", f"/usr/bin/{name}")


def test_a_wiped_member_that_says_new_stays_out(etcd: Site) -> None:
    """Why a second install is answered with another configuration than the first."""
    reinstall(etcd, "w1")
    etcd.machines["w1"].start("etcd.service")
    wait_for(lambda: not etcd.machines["w1"].is_up("etcd.service"), timeout=30)
    assert "has already been bootstrapped" in etcd.machines["w1"].log("etcd.service")


def test_a_reinstall_that_would_cost_the_majority_is_refused(etcd: Site, events: list[Event]) -> None:
    """w1 is off and is to be installed again; without m2 nothing can be agreed on, and w1 has to wait."""
    etcd.machines["m2"].stop("etcd.service")
    etcd.order("w1", History(wanted=2, done=1, state=MachineState.BOOTING))
    wait_for(lambda: any(event.step == "etcd member refused" for event in events), timeout=60)
    assert isinstance(etcd.find_begin("w1"), Wait)


def test_a_reinstalled_member_is_taken_back_by_our_service(etcd: Site, events: list[Event]) -> None:
    """Its old self is removed and a new one added without a vote; it is told `existing`, catches up, and votes."""
    etcd.machines["m2"].start("etcd.service")
    begin = wait_for(lambda: isinstance(found := etcd.find_begin("w1"), Begin) and found, timeout=90)
    assert begin == Begin(existing=True, members=("m1", "m2", "w1"))
    reinstall(etcd, "w1", etcd_existing=begin.existing, etcd_members=begin.members)
    etcd.machines["w1"].start("etcd.service")
    etcd.order("w1", History(wanted=2, done=2, state=MachineState.INSTALLED))
    wait_for(lambda: healthy(etcd, "m1", 3), timeout=30)
    assert ask(etcd, "w1", "get", "--print-value-only", "without-w1").strip() == "2"
    wait_for(lambda: any(event.step == "etcd member votes" for event in events), timeout=60)
    steps = [event.step for event in events if event.step.startswith("etcd member")]
    assert steps == ["etcd member refused", "etcd member removed", "etcd member added", "etcd member votes"]
