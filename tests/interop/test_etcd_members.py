"""A member of a real etcd, by the gateway: formed, refused while the majority is in danger, replaced, voting again."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import MemoryStore
from rack import make_cluster, make_machine

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.membership import NOTE, Begin, Wait, decide_member, parse_membership
from bootstrapper.boot.orders import Ask
from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.kube.connection import ServerRefusal, Unreachable
from bootstrapper.kube.etcd_client import EtcdClient
from bootstrapper.kube.etcd_work import EtcdWork
from bootstrapper.kube.forget import Forgetter
from bootstrapper.kube.loop import find_members
from bootstrapper.kube.tls import client_context
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.leaves import Signer
from bootstrapper.state.carry_out import carry_out

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

ADDRESSES = ("127.77.0.1", "127.77.0.2", "127.77.0.3")
"On loopback, and nobody else's."


class Members:
    """The programs, one for each machine, with the keys a machine is given."""

    def __init__(self, directory: Path, cluster: Cluster, pki: ClusterPki) -> None:
        self.directory, self.cluster, self.pki = directory, cluster, pki
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, machine: Machine, begin: Begin) -> None:
        home = self.directory / machine.host
        home.mkdir(exist_ok=True)
        secrets = self.pki.secrets_for(machine)
        (home / "ca.crt").write_text(secrets.authorities["etcd"])
        for leaf, name in (("etcd-server", "server"), ("etcd-peer", "peer")):
            (home / f"{name}.crt").write_text(secrets.pairs[leaf].certificate)
            (home / f"{name}.key").write_text(secrets.pairs[leaf].key)
        hosts = begin.members or tuple(each.host for each in self.cluster.machines)
        initial = ",".join(f"{host}=https://{self.cluster.by_host[host].ip}:2380" for host in hosts)
        options = {
            "name": machine.host, "data-dir": home / "data", "initial-cluster": initial,
            "initial-cluster-state": "existing" if begin.existing else "new", "initial-cluster-token": "prod",
            "listen-peer-urls": f"https://{machine.ip}:2380", "initial-advertise-peer-urls": f"https://{machine.ip}:2380",
            "listen-client-urls": f"https://{machine.ip}:2379", "advertise-client-urls": f"https://{machine.ip}:2379",
            "cert-file": home / "server.crt", "key-file": home / "server.key", "trusted-ca-file": home / "ca.crt",
            "peer-cert-file": home / "peer.crt", "peer-key-file": home / "peer.key",
            "peer-trusted-ca-file": home / "ca.crt", "client-cert-auth": "true", "peer-client-cert-auth": "true",
            "heartbeat-interval": 300, "election-timeout": 3000,
        }  # fmt: skip
        command = ["etcd", *(f"--{key}={value}" for key, value in options.items())]
        with (home / "log").open("ab") as log:
            self.running[machine.host] = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, machine: Machine) -> None:
        process = self.running.pop(machine.host)
        process.kill()
        process.wait()

    def wipe(self, machine: Machine) -> None:
        shutil.rmtree(self.directory / machine.host)

    def stop_all(self) -> None:
        for host in list(self.running):
            self.stop(self.cluster.by_host[host])


class Server:
    """Our side: the state, and rounds of work."""

    def __init__(self, cluster: Cluster, pki: ClusterPki) -> None:
        self.cluster, self.pki = cluster, pki
        self.store = MemoryStore()
        self.events: list[Event] = []
        pair = pki.own("bootstrapper-etcd")
        self.client = EtcdClient(
            find_members(cluster), client_context(pki.bundle(Signer.ETCD), pair.certificate, pair.key)
        )

    def round(self) -> None:
        EtcdWork(self.cluster, self.store, self.client, self.events.append, time.time).run()

    def until(self, step: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while step not in self.said():
            assert time.monotonic() < end, f"no {step!r} in {self.said()}"
            with suppress(Unreachable):
                self.round()
            time.sleep(0.3)

    def said(self) -> list[str]:
        return [event.step for event in self.events]

    def decide(self, machine: Machine) -> Begin | Wait:
        generation = self.store.find_history(machine.mac).wanted
        return decide_member(parse_membership(self.store.load_note(NOTE)), machine.mac, generation)

    def reinstall(self, machine: Machine) -> None:
        history = self.store.find_history(machine.mac)
        self.store.save_history(machine.mac, replace(history, wanted=history.done + 1, state=MachineState.BOOTING))

    def installed(self, machine: Machine) -> None:
        wanted = self.store.find_history(machine.mac).wanted
        self.store.save_history(machine.mac, History(wanted, wanted, MachineState.INSTALLED))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[tuple[Cluster, Members, Server]]:
    roles = frozenset({Role.ETCD})
    cluster = make_cluster(
        *(make_machine(f"00:00:00:00:00:0{n}", f"node{n}", ip, roles=roles) for n, ip in enumerate(ADDRESSES, 1))
    )
    pki = ClusterPki(tmp_path / "pki/cluster", cluster, time.time)
    with ExitStack() as stack:
        members = Members(tmp_path, cluster, pki)
        stack.callback(members.stop_all)
        server = Server(cluster, pki)
        stack.callback(server.client.close)
        yield cluster, members, server


def test_a_member_is_replaced(rig: tuple[Cluster, Members, Server], tmp_path: Path) -> None:
    cluster, members, server = rig
    node1, node2, node3 = cluster.machines

    with pytest.raises(Unreachable):
        server.round()
    for machine in cluster.machines:
        begin = server.decide(machine)
        assert begin == Begin(existing=False)
        members.start(machine, begin)
        server.installed(machine)
    server.until("etcd formed")
    etcdctl(tmp_path, node1, "put", "kept", "yes")

    # Two of three answer: to put out one of them would end it.
    members.stop(node3)
    server.reinstall(node2)
    server.until("etcd member refused")
    refusal = server.decide(node2)
    assert isinstance(refusal, Wait)
    assert refusal.reason == "etcd would lose its majority: without it 2 are left, and node3 does not answer"
    assert len(server.client.list_members()) == 3
    assert etcdctl(tmp_path, node1, "get", "kept", "--print-value-only") == "yes"
    server.store.save_history(node2.mac, History(1, 1, MachineState.INSTALLED))

    # The one that is dead anyway is replaced. Its data is gone.
    server.events.clear()
    members.wipe(node3)
    server.reinstall(node3)
    assert isinstance(server.decide(node3), Wait)
    server.until("etcd member added")
    assert server.said() == ["etcd member removed", "etcd member added"]
    begin = server.decide(node3)
    assert begin == Begin(True, ("node1", "node2", "node3"))
    server.round()
    assert server.said() == ["etcd member removed", "etcd member added"], "a second round changes nothing"
    members.start(node3, begin)
    server.installed(node3)
    server.until("etcd member votes")
    assert [member.learner for member in server.client.list_members()] == [False, False, False]
    assert etcdctl(tmp_path, node3, "get", "kept", "--print-value-only") == "yes"

    # It counts: the cluster lives without another one, once the two have elected a leader.
    members.stop(node1)
    end = time.monotonic() + 60
    while try_etcdctl(tmp_path, node3, "put", "kept", "still").stdout != "OK\n":
        assert time.monotonic() < end, "two of three take no writes"


def test_a_forgotten_member_goes_when_the_others_can_do_without_it_and_may_come_back(
    rig: tuple[Cluster, Members, Server], tmp_path: Path
) -> None:
    cluster, members, server = rig
    node1, node2, node3 = cluster.machines
    with pytest.raises(Unreachable):
        server.round()
    for machine in cluster.machines:
        members.start(machine, server.decide(machine))  # type: ignore[arg-type]
        server.installed(machine)
    server.until("etcd formed")
    etcdctl(tmp_path, node1, "put", "kept", "yes")
    forgetter = Forgetter(cluster, server.store, server.events.append, time.time)

    members.stop(node2)
    carry_out(server.store, cluster, node3.mac, Ask(Order.FORGET), time.time())
    wait_until(lambda: forgetter.forget_members(server.client), server, "etcd member not forgotten yet")
    assert len(server.client.list_members()) == 3
    members.start(node2, Begin(existing=True, members=("node1", "node2", "node3")))
    wait_until(lambda: forgetter.forget_members(server.client), server, "etcd member forgotten")
    assert {member.name for member in server.client.list_members()} == {"node1", "node2"}
    assert etcdctl(tmp_path, node1, "get", "kept", "--print-value-only") == "yes"

    # Its number 1 is used up: installed again it is a new member, and no founder.
    members.stop(node3)
    members.wipe(node3)
    carry_out(server.store, cluster, node3.mac, Ask(Order.INSTALL), time.time())
    server.store.change_history(node3.mac, lambda history: replace(history, state=MachineState.BOOTING))
    assert isinstance(server.decide(node3), Wait)
    server.until("etcd member added")
    begin = server.decide(node3)
    assert begin == Begin(True, ("node1", "node2", "node3"))
    members.start(node3, begin)
    server.installed(node3)
    server.until("etcd member votes")
    assert etcdctl(tmp_path, node3, "get", "kept", "--print-value-only") == "yes"


def wait_until(work: Callable[[], None], server: Server, step: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while step not in server.said():
        assert time.monotonic() < end, f"no {step!r} in {server.said()}"
        with suppress(Unreachable, ServerRefusal):
            work()
        time.sleep(0.3)


def etcdctl(directory: Path, machine: Machine, *arguments: str) -> str:
    result = try_etcdctl(directory, machine, *arguments)
    assert result.returncode == 0, json.dumps(result.stderr)
    return result.stdout.strip()


def try_etcdctl(directory: Path, machine: Machine, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = directory / machine.host
    options = {"endpoints": f"https://{machine.ip}:2379", "cacert": home / "ca.crt", "cert": home / "server.crt",
               "key": home / "server.key", "dial-timeout": "20s", "command-timeout": "20s"}  # fmt: skip
    command = ["etcdctl", *(f"--{key}={value}" for key, value in options.items()), *arguments]
    return subprocess.run(command, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
