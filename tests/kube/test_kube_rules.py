"""The small pure rules: tokens, labels, who has joined, how long to wait, the admin's kubeconfig."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from kube_rack import MASTER, NOW, OTHER, WORKER, make_node, make_pki, make_rack, make_request

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.errors import UserError
from bootstrapper.kube.connection import ServerRefusal, Unreachable
from bootstrapper.kube.duty import Duty, find_wait
from bootstrapper.kube.joined import NOT_READY, READY, Step, apply_step, find_steps
from bootstrapper.kube.kubeconfig import admin_kubeconfig
from bootstrapper.kube.labels import plan_labels
from bootstrapper.kube.nodes import explain_readiness, find_address
from bootstrapper.kube.tokens import build_secret, find_owners, find_used, plan_tokens
from bootstrapper.pki.bootstrap_tokens import BootstrapToken

RACK = make_rack()
WAITING = BootstrapToken(WORKER, "aaaaaa", "0123456789abcdef", NOW)
CREATED = replace(WAITING, expires_at=NOW + 3600)
EXPIRED = replace(WAITING, expires_at=NOW - 1)
USED = replace(CREATED, secret="", used_at=NOW - 5)
SECRET = build_secret(CREATED, "worker", NOW + 3600)
NAME = "bootstrap-token-aaaaaa"


# -- tokens ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("token", "secrets", "used", "apply", "delete", "spent", "expired"),
    [
        (WAITING, [], set(), [NOW + 86400], (), 0, 0),
        (CREATED, [SECRET], set(), [], (), 0, 0),
        (CREATED, [], set(), [NOW + 3600], (), 0, 0),
        (CREATED, [{**SECRET, "data": {}}], set(), [NOW + 3600], (), 0, 0),
        (CREATED, [SECRET], {"aaaaaa"}, [], (NAME,), 1, 0),
        (USED, [SECRET], set(), [], (NAME,), 0, 0),
        (USED, [], set(), [], (), 0, 0),
        (EXPIRED, [SECRET], set(), [], (NAME,), 0, 1),
        (EXPIRED, [], set(), [], (), 0, 1),
        (replace(CREATED, mac="00:00:00:00:00:99"), [SECRET], set(), [], (NAME,), 0, 0),
    ],
    ids=["new", "there", "removed by hand", "changed by hand", "joined", "used", "used and gone", "expired",
         "expired and gone", "not in the description any more"],
)  # fmt: skip
def test_tokens(
    token: BootstrapToken, secrets: list[Any], used: set[str], apply: list[float], delete: tuple[str, ...],
    spent: int, expired: int,
) -> None:  # fmt: skip
    plan = plan_tokens([token], RACK.by_mac, secrets, frozenset(used), NOW)
    assert [new.ends_at for new in plan.apply] == apply
    assert (plan.delete, len(plan.used), len(plan.expired)) == (delete, spent, expired)


def test_a_secret_is_what_the_authenticator_reads() -> None:
    data = {key: base64.b64decode(value).decode() for key, value in SECRET["data"].items()}
    assert SECRET["type"] == "bootstrap.kubernetes.io/token"
    assert SECRET["metadata"]["name"] == NAME
    assert data == {
        "auth-extra-groups": "system:bootstrappers:bootstrapper", "description": "the kubelet of worker",
        "expiration": "2026-11-20T14:06:40Z", "token-id": "aaaaaa", "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
    }  # fmt: skip


def test_who_a_token_speaks_for() -> None:
    other = BootstrapToken(OTHER, "bbbbbb", "0" * 16, NOW, NOW + 60)
    owners = find_owners([CREATED, other], RACK.by_mac, NOW)
    assert {key: machine.host for key, machine in owners.items()} == {"aaaaaa": "worker", "bbbbbb": "other"}
    assert find_owners([WAITING], RACK.by_mac, NOW) == {}, "its Secret is not there yet"
    assert find_owners([EXPIRED], RACK.by_mac, NOW) == {}
    assert find_owners([USED], RACK.by_mac, NOW) == {}
    assert find_owners([CREATED, replace(other, id="aaaaaa")], RACK.by_mac, NOW) == {}, "one id twice is nobody's"


@pytest.mark.parametrize(
    ("status", "ready", "expected"),
    [
        ({"certificate": "LS0t"}, {"worker"}, {"aaaaaa"}),
        ({"certificate": "LS0t"}, set(), set()),
        ({}, {"worker"}, set()),
        ({"certificate": "LS0t"}, {"other"}, set()),
    ],
    ids=["joined", "not Ready yet", "a Node of an earlier install", "another's"],
)
def test_when_a_token_has_served(status: dict[str, str], ready: set[str], expected: set[str]) -> None:
    request = make_request("worker", "aaaaaa") | {"status": status}
    assert find_used([request], frozenset(ready), {"aaaaaa": RACK.by_mac[WORKER]}) == expected


# -- labels ---------------------------------------------------------------------------
def owned(*labels: str) -> list[dict[str, Any]]:
    fields = {"f:metadata": {"f:labels": {".": {}, **{f"f:{label}": {} for label in labels}}}}
    return [{"manager": "bootstrapper", "operation": "Apply", "fieldsV1": fields},
            {"manager": "kubelet", "operation": "Update", "fieldsV1": fields}]  # fmt: skip


def test_labels_are_set_once() -> None:
    node = make_node("worker")
    (wanted,) = plan_labels([node], RACK.by_host)
    assert wanted == {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "worker", "uid": "uid-worker", "labels": {"node-role.kubernetes.io/worker": ""}},
    }  # fmt: skip
    node["metadata"]["labels"].update(wanted["metadata"]["labels"])
    node["metadata"]["managedFields"] = owned("node-role.kubernetes.io/worker")
    assert list(plan_labels([node], RACK.by_host)) == []


def test_a_label_of_ours_that_is_not_wanted_any_more_is_given_up() -> None:
    node = make_node("worker", **{"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/ingress": ""})
    node["metadata"]["managedFields"] = owned("node-role.kubernetes.io/worker", "node-role.kubernetes.io/ingress")
    (wanted,) = plan_labels([node], RACK.by_host)
    assert wanted["metadata"]["labels"] == {"node-role.kubernetes.io/worker": ""}


def test_labels_of_others_are_not_ours_to_take() -> None:
    node = make_node("worker", **{"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/gpu": ""})
    assert list(plan_labels([node], RACK.by_host)) == []
    assert list(plan_labels([make_node("stranger")], RACK.by_host)) == []


# -- who has joined -------------------------------------------------------------------
JOINED = History(1, 1, MachineState.JOINED, NOW - 60, reason=READY)


@pytest.mark.parametrize(
    ("history", "reason", "state", "kept"),
    [
        (History(1, 1, MachineState.INSTALLED, NOW - 60), READY, MachineState.JOINED, READY),
        (History(1, 1, MachineState.FAILED, NOW - 60), READY, MachineState.JOINED, READY),
        (History(1, 1, MachineState.JOINED, NOW - 60, reason="multi-user"), READY, MachineState.JOINED, READY),
        (JOINED, NOT_READY, MachineState.JOINED, NOT_READY),
        (replace(JOINED, reason=NOT_READY), READY, MachineState.JOINED, READY),
    ],
)
def test_a_step_that_is_news(history: History, reason: str, state: MachineState, kept: str) -> None:
    after = apply_step(history, Step(RACK.by_mac[WORKER], reason), NOW)
    assert after is not None
    assert (after.state, after.reason, after.wanted, after.done) == (state, kept, 1, 1)
    assert after.state_at == (NOW - 60 if history.state is MachineState.JOINED else NOW)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        (JOINED, READY),
        (replace(JOINED, reason=NOT_READY), NOT_READY),
        (History(1, 1, MachineState.INSTALLED), NOT_READY),
        (History(2, 1, MachineState.INSTALLING), READY),
        (replace(JOINED, held="by the admin"), NOT_READY),
        (History(), READY),
    ],
    ids=["told", "told that it is not", "not joined yet", "installed again", "on hold", "never installed"],
)
def test_a_step_that_is_none(history: History, reason: str) -> None:
    assert apply_step(history, Step(RACK.by_mac[WORKER], reason), NOW) is None


def test_steps_of_nodes() -> None:
    nodes = [make_node("worker"), make_node("other", ready=False), make_node("stranger")]
    histories = {WORKER: History(1, 1, MachineState.INSTALLED), OTHER: JOINED}
    steps = find_steps(nodes, RACK.by_host, histories)
    assert [(step.machine.host, step.reason, step.detail) for step in steps] == [
        ("worker", READY, ""), ("other", NOT_READY, "cni plugin not initialized"),
    ]  # fmt: skip


def test_what_a_node_says_of_itself() -> None:
    assert find_address(make_node("worker")) == IPv4Address("10.10.14.12")
    assert find_address({"status": {"addresses": [{"type": "InternalIP", "address": "fe80::1"}]}}) is None
    assert find_address({}) is None
    assert explain_readiness({}) == ""
    spoiled = {"status": {"conditions": [{"type": "Ready", "message": "a\x1b[2Jb\n" + "c" * 999}]}}
    assert explain_readiness(spoiled).isprintable() and len(explain_readiness(spoiled)) == 300


# -- patience -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "before", "wait_s", "expected"),
    [("up", "up", 5, 5), ("up", "waiting", 30, 5), ("waiting", "", 5, 5), ("waiting", "waiting", 5, 7.5),
     ("waiting", "waiting", 29, 30), ("waiting", "up", 5, 5), ("refused", "waiting", 30, 5)],
)  # fmt: skip
def test_how_long_until_the_next_try(state: str, before: str, wait_s: float, expected: float) -> None:
    assert find_wait(state, before, wait_s) == expected


def test_a_duty_tells_what_changes() -> None:
    outcomes: list[Exception | None] = [
        Unreachable("a: no answer"), Unreachable("b: no answer"), ServerRefusal(503, "no leader"),
        ServerRefusal(403, "forbidden"), UserError("pki is damaged", "restore it"), None, None, Unreachable("gone"),
    ]  # fmt: skip

    def run() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    duty, events = Duty("etcd", run), list[Event]()
    while outcomes:
        duty.try_now(events.append, lambda: NOW)
    assert [(event.step, event.detail, event.level) for event in events] == [
        ("etcd: waiting", "no answer yet (a: no answer); it is asked again", "info"),
        ("etcd: refused", "403: forbidden", "error"),
        ("etcd: failed", "pki is damaged (restore it)", "error"),
        ("etcd: up", "", "info"),
        ("etcd: waiting", "no answer yet (gone); it is asked again", "warning"),
    ]


# -- the admin ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("vip", "server"), [(None, "https://127.0.0.1:6443"), (IPv4Address("10.10.14.250"), "https://10.10.14.250:6443")]
)
def test_the_admins_kubeconfig(tmp_path: Path, vip: IPv4Address | None, server: str) -> None:
    cluster = replace(RACK, kubernetes=replace(RACK.kubernetes, api=replace(RACK.kubernetes.api, vip=vip)))
    pki = make_pki(tmp_path, cluster)
    document = json.loads(admin_kubeconfig(cluster, pki))
    assert document["clusters"][0]["name"] == "prod"
    assert document["clusters"][0]["cluster"]["server"] == server
    assert document["current-context"] == document["contexts"][0]["name"] == "admin@prod"
    user = document["users"][0]["user"]
    assert base64.b64decode(user["client-certificate-data"]).decode() == pki.own("admin").certificate
    assert base64.b64decode(user["client-key-data"]).startswith(b"-----BEGIN PRIVATE KEY-----")
    assert MASTER not in json.dumps(document)
