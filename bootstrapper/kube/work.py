"""One round of what this server does in a cluster whose API is up. Every step may be repeated at any moment.

Each step reads what is there, asks a pure rule what should be, and makes the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import islice
from typing import Protocol

import jinja2

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.kube.approve import Decision, Verdict, decide_request, is_open
from bootstrapper.kube.client import ApiClient, Object
from bootstrapper.kube.connection import ServerRefusal, Unreachable
from bootstrapper.kube.forget import Forgetter
from bootstrapper.kube.joined import READY, Step, apply_step, find_steps
from bootstrapper.kube.labels import plan_labels
from bootstrapper.kube.manifests import render_manifests
from bootstrapper.kube.nodes import NODES, find_address, find_ready, name_of
from bootstrapper.kube.tokens import PREFIX, SECRETS, SELECTOR, find_owners, find_used, plan_tokens
from bootstrapper.pki.bootstrap_tokens import BootstrapToken
from bootstrapper.state.store import Store

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
APPLY_EVERY_S = 900.0
"Ours is put right again this often, should somebody have changed it."
MOST_REQUESTS = 20_000
UNFIT_S = 60.0
"What the API refused is tried again after this long: a kind of an operator's that is still starting."


class Shelf(Protocol):
    """`pki.bootstrap_tokens.TokenShelf`."""

    def load_all(self) -> list[BootstrapToken]: ...
    def mark_created(self, mac: str, token_id: str, expires_at: float) -> None: ...
    def mark_used(self, mac: str, token_id: str) -> None: ...


@dataclass
class Work:
    cluster: Cluster
    environment: jinja2.Environment
    store: Store
    shelf: Shelf
    every_right: ApiClient
    "For what takes every right: applying roles."
    client: ApiClient
    "For all else."
    record: Callable[[Event], None]
    now: Callable[[], float]
    forgetter: Forgetter
    manifests: list[Object] | None = None
    applied: bool = False
    "All of them, when they were last."
    apply_at: float = 0.0
    told: dict[str, str] = field(default_factory=dict)
    "Request or token -> the last that was said of it. Bounded by what there is: what is gone is forgotten."

    def run(self) -> None:
        """One round. Raises Unreachable and ServerRefusal."""
        if not self.every_right.is_ready():
            raise Unreachable("an API server answers, and is not ready")
        self.apply_manifests()
        self.forgetter.forget_nodes(self.client)
        nodes = list(self.client.list(NODES))
        # Whoever has a token can make requests without end; the cluster forgets old ones within a day.
        requests = list(islice(self.client.list(REQUESTS), MOST_REQUESTS))
        seen = self.keep_tokens(nodes, requests) | self.answer_requests(requests)
        self.told = {key: text for key, text in self.told.items() if key in seen}
        for labels in plan_labels(nodes, self.cluster.by_host):
            self._set_labels(labels)
        self.tell_joined(nodes)

    # -- roles and add-ons ------------------------------------------------------
    def apply_manifests(self) -> None:
        """At the start, and now and then. One object that the API refuses does not keep the others away."""
        if self.manifests is None:
            self.manifests = render_manifests(self.environment, self.cluster)
        if self.now() < self.apply_at:
            return
        refused = []
        for value in self.manifests:
            try:
                self.every_right.apply(value)
            except ServerRefusal as refusal:
                refused.append(f"{value['kind']} {value['metadata']['name']}: {refusal}")
        if refused:
            self._tell("", "apply refused", "; ".join(refused)[:500], "error")
        elif not self.applied:
            names = ", ".join(self.cluster.addons) or "no add-ons"
            self._tell("", "applied", f"{len(self.manifests)} objects: roles and {names}")
        self.applied = not refused
        self.apply_at = self.now() + (UNFIT_S if refused else APPLY_EVERY_S)

    # -- tokens -----------------------------------------------------------------
    def keep_tokens(self, nodes: list[Object], requests: list[Object]) -> set[str]:
        tokens, now, by_mac = self.shelf.load_all(), self.now(), self.cluster.by_mac
        secrets = self.client.list(SECRETS, labelSelector=SELECTOR)
        used = find_used(requests, find_ready(nodes), find_owners(tokens, by_mac, now))
        plan = plan_tokens(tokens, by_mac, secrets, used, now)
        for new in plan.apply:
            self.client.apply(new.secret)
            self.shelf.mark_created(new.token.mac, new.token.id, new.ends_at)
            if new.token.expires_at is None:
                self._tell(new.token.mac, "token", f"{new.token.id} may join for {(new.ends_at - now) / 3600:.0f} h")
        for token in plan.used:
            self.shelf.mark_used(token.mac, token.id)
        for name in plan.delete + tuple(f"{PREFIX}{token.id}" for token in plan.used):
            self.client.delete(f"{SECRETS}/{name}")
        for token in plan.expired:
            self._tell_once(f"token {token.id}", token.mac, "token expired", "it did not join in time", "warning")
        return {f"token {token.id}" for token in plan.expired}

    # -- certificate requests ---------------------------------------------------
    def answer_requests(self, requests: list[Object]) -> set[str]:
        owners = find_owners(self.shelf.load_all(), self.cluster.by_mac, self.now())
        waiting = [each for each in requests if is_open(each)]
        for request in waiting:
            decision = decide_request(request, owners, self.cluster.by_host, self._find_addresses)
            self._answer(request, decision)
        return {_key(request) for request in waiting}

    def _answer(self, request: Object, decision: Decision) -> None:
        mac = decision.machine.mac if decision.machine else ""
        if decision.verdict is Verdict.IGNORE:
            return
        approved = decision.verdict is Verdict.APPROVE
        try:
            self.client.replace(f"{REQUESTS}/{name_of(request)}/approval", build_answer(request, decision))
        except ServerRefusal as refusal:
            if refusal.status not in (404, 409):  # answered by another, or gone, meanwhile
                self._tell_once(_key(request), mac, "certificate", f"the answer was refused: {refusal}", "error")
            return
        step = "certificate approved" if approved else "certificate denied"
        self._tell_once(_key(request), mac, step, decision.reason, "info" if approved else "error")

    def _find_addresses(self, machine: Machine) -> frozenset[IPv4Address]:
        """Those given to it here: never what its Node says of itself."""
        leases = [lease for mac in machine.macs if (lease := self.store.find_lease(mac))]
        return frozenset([*(lease.address for lease in leases), *([machine.ip] if machine.ip else [])])

    # -- nodes ------------------------------------------------------------------
    def _set_labels(self, labels: Object) -> None:
        machine = self.cluster.by_host[labels["metadata"]["name"]]
        try:
            self.client.apply(labels)
        except ServerRefusal as refusal:
            if refusal.status not in (404, 409):  # its Node is gone, or another by now
                raise
            return
        self._tell(machine.mac, "labels", ", ".join(sorted(labels["metadata"]["labels"])) or "none of ours")

    def tell_joined(self, nodes: list[Object]) -> None:
        for step in find_steps(nodes, self.cluster.by_host, self.store.load_histories()):
            self._take_step(step, next(each for each in nodes if name_of(each) == step.machine.host))

    def _take_step(self, step: Step, node: Object) -> None:
        moved = False

        def change(history: History) -> History:
            nonlocal moved
            after = apply_step(history, step, self.now())
            moved = after is not None
            return after or history

        self.store.change_history(step.machine.mac, change)
        if not moved:
            return
        if step.reason == READY:
            self._tell(step.machine.mac, "node ready", str(find_address(node) or ""))
        else:
            self._tell(step.machine.mac, "node not ready", step.detail, "warning")

    # -- telling ----------------------------------------------------------------
    def _tell(self, mac: str, step: str, detail: str, level: str = "info") -> None:
        self.record(Event(self.now(), mac, "kube", step, detail, level))

    def _tell_once(self, key: str, mac: str, step: str, detail: str, level: str) -> None:
        if self.told.get(key) != detail:
            self.told[key] = detail
            self._tell(mac, step, detail, level)


def build_answer(request: Object, decision: Decision) -> Object:
    """The request with our condition; its resourceVersion makes an answer to an older one a conflict."""
    kind = "Approved" if decision.verdict is Verdict.APPROVE else "Denied"
    condition = {"type": kind, "status": "True", "reason": "Bootstrapper", "message": decision.reason}
    status = dict(request.get("status") or {})
    status["conditions"] = [*(status.get("conditions") or ()), condition]
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": request["metadata"],
        "spec": request["spec"],
        "status": status,
    }


def _key(request: Object) -> str:
    return f"request {name_of(request)}"
