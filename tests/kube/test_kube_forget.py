"""A forgotten machine's keys, Node and etcd member go, once each, and whatever is down is waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi
from fakes import MemoryStore
from kube_rack import NOW, OTHER, WORKER, Bench, make_node, make_rack, running
from rack import make_cluster, make_machine

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.membership import NOTE, Membership, Wait, decide_member, format_membership, parse_membership
from bootstrapper.boot.orders import Ask
from bootstrapper.cluster.model import Role
from bootstrapper.kube.connection import Unreachable
from bootstrapper.kube.etcd_plan import Keep, Member, Refuse, plan_forgetting
from bootstrapper.kube.forget import Forgetter
from bootstrapper.kube.loop import run_kube
from bootstrapper.pki.renew import may_renew
from bootstrapper.state.carry_out import carry_out, give_new_keys

MACS = [f"00:00:00:00:00:0{number}" for number in (1, 2, 3)]
ETCD = make_cluster(
    *(make_machine(mac, f"node{n}", f"10.10.14.1{n}", roles=frozenset({Role.ETCD})) for n, mac in enumerate(MACS, 1))
)
DONE = History(1, 1, MachineState.JOINED, 5.0, booted_at=5.0)


def make_member(number: int, **changes: Any) -> Member:
    member = Member(number, f"node{number}", (f"https://10.10.14.1{number}:2380",), ("https://x:2379",))
    return replace(member, **changes)


THREE = (make_member(1), make_member(2), make_member(3))
EVERYONE = frozenset({1, 2, 3})


def forget(store: MemoryStore, mac: str, cluster: Any, at: float = NOW) -> None:
    store.save_history(mac, DONE)
    carry_out(store, cluster, mac, Ask(Order.FORGET), at)


@pytest.mark.loopback
def test_node_token_and_certificates_go_when_the_api_is_there(tmp_path: Path) -> None:
    api = FakeApi(ready=False)
    api.objects["/api/v1/nodes/worker"] = make_node("worker")
    api.objects["/api/v1/nodes/other"] = make_node("other")
    with running(tmp_path, api, rounds=4) as bench:
        worker = bench.cluster.by_mac[WORKER]
        certificate = bench.pki.secrets_for(worker).pairs["kube-proxy"].certificate
        forget(bench.store, WORKER, bench.cluster)

        def play(turn: int) -> None:
            if turn == 2:
                api.ready = True

        bench.between = play
        run_kube(bench.parts())
    assert api.names("/api/v1/nodes") == {"other"}
    assert api.names("/api/v1/namespaces/kube-system/secrets") == set()
    assert bench.pki.tokens.find(WORKER) is None
    assert not renews(bench, certificate)
    assert [step for step in bench.said() if step.startswith("02")] == ["02 keys forgotten", "02 node forgotten"]
    assert [errand.kind for errand in bench.store.load_errands()] == ["forget etcd member"], "etcd is not there"


@pytest.mark.loopback
def test_a_machine_that_is_released_renews_its_certificates_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_rack())
    certificate = bench.pki.secrets_for(bench.cluster.by_mac[WORKER]).pairs["kube-proxy"].certificate
    forgetter = Forgetter(bench.cluster, bench.store, bench.events.append, lambda: NOW)
    for released_at in (NOW + 2, NOW + 12):
        forget(bench.store, WORKER, bench.cluster, released_at - 2)
        if released_at == NOW + 2:  # the errand was done before; the second time it was not
            forgetter.settle_keys(bench.pki)
            assert not renews(bench, certificate)
        carry_out(bench.store, bench.cluster, WORKER, Ask(Order.RELEASE), released_at)
        forgetter.settle_keys(bench.pki)
        assert renews(bench, certificate)
    forget(bench.store, WORKER, bench.cluster, NOW + 20)
    carry_out(bench.store, bench.cluster, WORKER, Ask(Order.RELEASE), NOW + 21)
    carry_out(bench.store, bench.cluster, WORKER, Ask(Order.FORGET), NOW + 22)
    forgetter.settle_keys(bench.pki)
    assert not renews(bench, certificate), "the last order counts"
    assert bench.said() == ["02 keys forgotten", "02 keys restored", "02 keys restored", "02 keys forgotten"]


@pytest.mark.loopback
def test_new_keys_outlive_a_clock_that_was_set_back_since_the_forget(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_rack())
    machine = bench.cluster.by_mac[WORKER]
    before = bench.pki.secrets_for(machine)
    forget(bench.store, WORKER, bench.cluster, bench.clock + 1000)
    given = []
    for _ in range(2):  # the claim, and once more within its grace
        give_new_keys(bench.store, bench.pki, WORKER)
        given.append(bench.pki.secrets_for(machine))
        bench.pki.mark_claimed(machine)
    Forgetter(bench.cluster, bench.store, bench.events.append, lambda: NOW).settle_keys(bench.pki)
    assert given[0] == given[1] == bench.pki.secrets_for(machine) != before
    assert renews(bench, given[0].pairs["kube-proxy"].certificate)
    assert not renews(bench, before.pairs["kube-proxy"].certificate)


def renews(bench: Bench, pem: str) -> bool:
    from cryptography import x509

    from bootstrapper.pki.issued import load_issued

    kept = load_issued(bench.pki.directory, WORKER)["kube-proxy"]
    return may_renew(kept, x509.load_pem_x509_certificate(pem.encode()), bench.clock)


def test_certificates_of_a_machine_that_is_not_forgotten_renew(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_rack())
    certificate = bench.pki.secrets_for(bench.cluster.by_mac[WORKER]).pairs["kube-proxy"].certificate
    assert renews(bench, certificate)


@pytest.mark.loopback
def test_a_machine_that_was_taken_back_meanwhile_keeps_its_node(tmp_path: Path) -> None:
    api = FakeApi()
    api.objects["/api/v1/nodes/worker"] = make_node("worker")
    with running(tmp_path, api, rounds=2) as bench:
        forget(bench.store, WORKER, bench.cluster)
        carry_out(bench.store, bench.cluster, WORKER, Ask(Order.RELEASE), NOW)
        run_kube(bench.parts())
    assert api.names("/api/v1/nodes") == {"worker"}
    assert "02 node forgotten" not in bench.said()
    assert bench.store.load_errands() == []
    assert bench.store.find_history(WORKER).state is MachineState.JOINED


@pytest.mark.loopback
def test_a_machine_that_is_to_be_installed_again_loses_its_old_node(tmp_path: Path) -> None:
    api = FakeApi()
    api.objects["/api/v1/nodes/other"] = make_node("other")
    with running(tmp_path, api, rounds=2) as bench:
        forget(bench.store, OTHER, bench.cluster)
        carry_out(bench.store, bench.cluster, OTHER, Ask(Order.INSTALL), NOW)
        run_kube(bench.parts())
    assert api.names("/api/v1/nodes") == set()


@pytest.mark.parametrize(
    ("members", "alive", "host", "plan"),
    [
        (THREE, EVERYONE, "node1", 1),
        (THREE, frozenset({2, 3}), "node1", 1),
        (THREE, EVERYONE, "node9", None),
        ((make_member(1), make_member(2), make_member(3, name="", client_urls=())), EVERYONE, "node3", 3),
        ((make_member(1), make_member(2, learner=True)), frozenset({1}), "node2", 2),
        (THREE, frozenset({1, 2}), "node1",
         Refuse("etcd would lose its majority: without it 2 are left, and node3 does not answer")),
        ((make_member(1),), frozenset({1}), "node1", Keep("it is etcd's only member")),
    ],
)  # fmt: skip
def test_which_member_goes(members: tuple[Member, ...], alive: frozenset[int], host: str, plan: object) -> None:
    url = f"https://10.10.14.1{host[-1]}:2380"
    assert plan_forgetting(members, alive, host, url) == plan


class FakeEtcd:
    def __init__(self) -> None:
        self.members = list(THREE)
        self.alive = set(EVERYONE)
        self.down = False

    def list_members(self) -> tuple[Member, ...]:
        if self.down:
            raise Unreachable("no answer")
        return tuple(self.members)

    def find_alive(self) -> frozenset[int]:
        return frozenset(self.alive)

    def remove(self, member_id: int) -> None:
        self.members = [member for member in self.members if member.id != member_id]


def test_a_member_goes_when_etcd_can_bear_it_and_is_admitted_anew() -> None:
    store, etcd = MemoryStore(), FakeEtcd()
    events: list[Event] = []
    forgetter = Forgetter(ETCD, store, events.append, lambda: NOW)
    store.save_note(NOTE, format_membership(Membership(True, dict.fromkeys(MACS, 1))))
    forget(store, MACS[0], ETCD)
    etcd.down = True
    with pytest.raises(Unreachable):
        forgetter.forget_members(etcd)
    etcd.down, etcd.alive = False, {1, 2}
    for _ in range(3):
        forgetter.forget_members(etcd)
    assert len(etcd.members) == 3
    etcd.alive = {1, 2, 3}
    for _ in range(3):
        forgetter.forget_members(etcd)
    assert [member.name for member in etcd.members] == ["node2", "node3"]
    assert [(event.step, event.level) for event in events] == [
        ("etcd member not forgotten yet", "warning"),
        ("etcd member forgotten", "info"),
    ]
    membership = parse_membership(store.load_note(NOTE))
    assert isinstance(decide_member(membership, MACS[0], 1), Wait)
    assert membership.founders == {MACS[1]: 1, MACS[2]: 1}


def test_the_only_member_is_kept_and_that_is_told_once() -> None:
    store, etcd = MemoryStore(), FakeEtcd()
    etcd.members = [make_member(1)]
    events: list[Event] = []
    forget(store, MACS[0], ETCD)
    for _ in range(3):
        Forgetter(ETCD, store, events.append, lambda: NOW).forget_members(etcd)
    assert [(event.step, event.detail) for event in events] == [("etcd member kept", "it is etcd's only member")]
