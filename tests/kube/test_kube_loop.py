"""The service against an API server on loopback: what it does there, and that doing it again changes nothing."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi
from kube_rack import MASTER, NOW, WORKER, Bench, make_node, make_rack, make_request, running

from bootstrapper.boot.history import History, MachineState
from bootstrapper.errors import UserError
from bootstrapper.kube.loop import Stopped, run_kube, stop_on_signal
from bootstrapper.pki.cluster import ClusterPki

pytestmark = pytest.mark.loopback

SECRETS = "/api/v1/namespaces/kube-system/secrets"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
WRITES = ("PATCH", "PUT", "DELETE", "POST")


def writes(api: FakeApi) -> list[tuple[str, str, str]]:
    return [each for each in api.requests if each[0] in WRITES]


def test_a_first_round_applies_roles_and_add_ons(tmp_path: Path) -> None:
    api = FakeApi()
    with running(tmp_path, api) as bench:
        run_kube(bench.parts())
    roles = api.names("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings")
    assert "bootstrapper:node-bootstrapper" in roles
    assert "bootstrapper:cluster-admins" in roles
    assert api.names("/apis/apps/v1/namespaces/kube-system/deployments") == {"coredns"}
    assert bench.said() == [" applied", " the Kubernetes API: up"]
    assert {user for method, _, user in writes(api)} == {""}
    assert {user for _, path, user in api.requests if path.endswith("/nodes")} == {"bootstrapper:loop"}


def test_a_machine_joins(tmp_path: Path) -> None:
    """Its token gets a Secret, its request is approved, its node is labelled, and the token is gone."""
    api = FakeApi()
    with running(tmp_path, api, rounds=4) as bench:
        token = bench.pki.tokens.hand_out(WORKER)
        bench.installed(WORKER)

        def play(turn: int) -> None:
            if turn == 1:
                assert api.names(SECRETS) == {f"bootstrap-token-{token.id}"}
                api.objects[f"{REQUESTS}/node-csr-worker"] = make_request("worker", token.id)
                api.objects[f"{REQUESTS}/node-csr-other"] = make_request("other", token.id)
            if turn == 2:
                api.objects[f"{REQUESTS}/node-csr-worker"]["status"]["certificate"] = "LS0t"
                api.objects["/api/v1/nodes/worker"] = make_node("worker")

        bench.between = play
        run_kube(bench.parts())
    approved, denied = (
        api.objects[f"{REQUESTS}/node-csr-{host}"]["status"]["conditions"] for host in ("worker", "other")
    )
    assert [each["type"] for each in approved] == ["Approved"]
    assert [each["type"] for each in denied] == ["Denied"]
    assert api.objects["/api/v1/nodes/worker"]["metadata"]["labels"]["node-role.kubernetes.io/worker"] == ""
    assert api.names(SECRETS) == set()
    kept = bench.pki.tokens.find(WORKER)
    assert kept is not None and kept.used_at is not None and kept.secret == ""
    assert bench.store.find_history(WORKER).state is MachineState.JOINED
    assert bench.said() == [
        " applied", "02 token", " the Kubernetes API: up", "02 certificate denied", "02 certificate approved",
        "02 labels", "02 node ready",
    ]  # fmt: skip


def test_rounds_that_find_nothing_to_do_write_nothing(tmp_path: Path) -> None:
    api = FakeApi()
    with running(tmp_path, api, rounds=2) as bench:
        bench.pki.tokens.hand_out(WORKER)
        bench.installed(MASTER)
        api.objects["/api/v1/nodes/master"] = make_node("master")
        run_kube(bench.parts())
        done = len(writes(api))
        bench.rounds = 8
        bench.waits.clear()
        again = Bench(tmp_path, bench.cluster, rounds=5)
        again.store = bench.store
        run_kube(again.parts())
    applied = [each for each in writes(api)[done:] if each[2] == ""]
    assert writes(api)[done:] == applied, "a restart applies roles once more, and nothing else"
    assert len(applied) == len(set(applied))
    assert again.said() == [" applied", " the Kubernetes API: up"]


def test_it_waits_for_an_api_that_is_not_up_and_says_so_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_rack(port=1), rounds=12)
    run_kube(bench.parts())
    assert [event.step for event in bench.events] == ["the Kubernetes API: waiting"]
    assert bench.events[0].detail == "no answer yet (127.0.0.1:1: Connection refused); it is asked again"
    assert bench.waits[0] == 5.0
    assert bench.waits == sorted(bench.waits)
    assert bench.waits[-1] == 30.0


def test_it_takes_up_work_when_the_api_comes_up_and_says_when_it_goes(tmp_path: Path) -> None:
    api = FakeApi(ready=False)
    with running(tmp_path, api, rounds=6) as bench:

        def play(turn: int) -> None:
            if turn == 2:
                api.ready = True
            if turn == 4:
                api.ready = False

        bench.between = play
        run_kube(bench.parts())
    assert [(event.step, event.level) for event in bench.events] == [
        ("the Kubernetes API: waiting", "info"),
        ("applied", "info"),
        ("the Kubernetes API: up", "info"),
        ("the Kubernetes API: waiting", "warning"),
    ]
    assert bench.waits[:3] == [5.0, 7.5, 5.0]


def test_a_server_that_another_authority_vouches_for_is_not_spoken_to(tmp_path: Path) -> None:
    api = FakeApi()
    with running(tmp_path / "theirs", api) as theirs:
        ClusterPki(tmp_path / "ours/pki/cluster", theirs.cluster, lambda: NOW)
        bench = Bench(tmp_path / "ours", theirs.cluster)
        run_kube(bench.parts())
    assert [event.step for event in bench.events] == ["the Kubernetes API: waiting"]
    assert "its certificate is not good" in bench.events[0].detail
    assert api.requests == []


def test_what_is_refused_does_not_keep_the_rest_away(tmp_path: Path) -> None:
    api = FakeApi(refuse={"/apis/apps/v1": 404})
    with running(tmp_path, api, rounds=2) as bench:
        bench.pki.tokens.hand_out(WORKER)
        run_kube(bench.parts())
    assert bench.said() == [" apply refused", "02 token", " the Kubernetes API: up"]
    assert bench.events[0].detail == "Deployment coredns: 404: refused /apis/apps/v1"
    assert "coredns" in api.names("/api/v1/namespaces/kube-system/configmaps")
    assert len(api.names(SECRETS)) == 1


def test_ours_is_put_right_now_and_then(tmp_path: Path) -> None:
    api = FakeApi()
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/bootstrapper:cluster-admins"
    with running(tmp_path, api, rounds=4) as bench:

        def play(turn: int) -> None:
            if turn == 1:
                del api.objects[path]
            if turn == 2:
                assert path not in api.objects
                bench.clock += 900

        bench.between = play
        run_kube(bench.parts())
    assert path in api.objects
    assert bench.said() == [" applied", " the Kubernetes API: up"]


def test_an_expired_token_is_told_once_and_not_put_back(tmp_path: Path) -> None:
    api = FakeApi()
    with running(tmp_path, api, rounds=4) as bench:
        bench.pki.tokens.hand_out(WORKER)

        def play(turn: int) -> None:
            if turn == 1:
                bench.clock += 25 * 3600

        bench.between = play
        run_kube(bench.parts())
    assert bench.said() == [" applied", "02 token", " the Kubernetes API: up", "02 token expired"]
    assert api.names(SECRETS) == set()


def test_others_secrets_and_labels_are_left_alone(tmp_path: Path) -> None:
    api = FakeApi()
    api.objects[f"{SECRETS}/bootstrap-token-kubead"] = {"metadata": {"name": "bootstrap-token-kubead"}}
    api.objects["/api/v1/nodes/other"] = make_node("other", team="storage")
    api.objects["/api/v1/nodes/stranger"] = make_node("stranger")
    with running(tmp_path, api) as bench:
        run_kube(bench.parts())
    assert api.names(SECRETS) == {"bootstrap-token-kubead"}
    assert api.objects["/api/v1/nodes/other"]["metadata"]["labels"] == {
        "kubernetes.io/hostname": "other", "team": "storage", "node-role.kubernetes.io/worker": "",
    }  # fmt: skip
    assert api.objects["/api/v1/nodes/stranger"] == make_node("stranger")


def test_a_node_that_is_not_ready_any_more_is_told(tmp_path: Path) -> None:
    api = FakeApi()
    api.objects["/api/v1/nodes/worker"] = make_node("worker")
    with running(tmp_path, api, rounds=6) as bench:
        bench.installed(WORKER)

        def play(turn: int) -> None:
            api.objects["/api/v1/nodes/worker"]["status"] = make_node("worker", ready=turn in (1, 4, 5))["status"]

        bench.between = play
        run_kube(bench.parts())
    steps = [(event.step, event.level) for event in bench.events if event.mac == WORKER and "node" in event.step]
    assert steps == [("node ready", "info"), ("node not ready", "warning"), ("node ready", "info")]
    assert bench.store.find_history(WORKER).state is MachineState.JOINED


def test_the_node_of_a_machine_that_is_installed_again_says_nothing(tmp_path: Path) -> None:
    api = FakeApi()
    api.objects["/api/v1/nodes/worker"] = make_node("worker")
    with running(tmp_path, api) as bench:
        bench.store.save_history(WORKER, History(2, 1, MachineState.ARMED, NOW))
        run_kube(bench.parts())
    assert bench.store.find_history(WORKER).state is MachineState.ARMED


def test_an_answer_that_comes_too_late_is_left_alone(tmp_path: Path) -> None:
    api = FakeApi(conflicts={f"{REQUESTS}/node-csr-worker"})
    with running(tmp_path, api, rounds=2) as bench:
        token = bench.pki.tokens.hand_out(WORKER)
        api.objects[f"{REQUESTS}/node-csr-worker"] = make_request("worker", token.id)
        run_kube(bench.parts())
    assert bench.said() == [" applied", "02 token", " the Kubernetes API: up"]


def test_a_fault_of_one_round_is_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    with running(tmp_path, api, rounds=3) as bench:
        real, calls = bench.pki.tokens.load_all, []

        def load_all() -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise UserError("pki/tokens is damaged", "restore it")
            if len(calls) == 2:
                raise ZeroDivisionError
            return real()

        monkeypatch.setattr(bench.pki.tokens, "load_all", load_all)
        run_kube(bench.parts())
    assert [(each.step, each.detail) for each in bench.events[1:]] == [
        ("the Kubernetes API: failed", "pki/tokens is damaged (restore it)"),
        ("the Kubernetes API: faulty", "ZeroDivisionError: see the log"), ("the Kubernetes API: up", ""),
    ]  # fmt: skip


def test_a_signal_ends_a_round_at_once_wherever_it_is() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop = stop_on_signal()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Stopped):
            stop.wait(20)
        assert stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)  # a second one must not cut short what is put in order at the end
    finally:
        signal.signal(signal.SIGTERM, before)
