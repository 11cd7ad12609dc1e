"""Bootstrap-token Secrets: each machine that waits to join has one, for a day from when it exists.

`pki.bootstrap_tokens` keeps the tokens and says what became of them; this says what the cluster should hold. A token
whose node has joined, or whose day is over, is taken away and never put back.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bootstrapper.cluster.model import Machine
from bootstrapper.kube.approve import BOOTSTRAPPERS, CLIENT, TOKEN_USER
from bootstrapper.kube.client import Object
from bootstrapper.kube.manifests import MANAGED
from bootstrapper.pki.bootstrap_tokens import LIFE_S, BootstrapToken, TokenState, find_state

NAMESPACE = "kube-system"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED.items())
PREFIX = "bootstrap-token-"
TYPE = "bootstrap.kubernetes.io/token"


@dataclass(frozen=True, slots=True)
class NewSecret:
    token: BootstrapToken
    secret: Object
    ends_at: float


@dataclass(frozen=True, slots=True)
class TokenPlan:
    apply: tuple[NewSecret, ...]
    delete: tuple[str, ...]
    "Names of Secrets."
    used: tuple[BootstrapToken, ...]
    "Served: their machines have joined."
    expired: tuple[BootstrapToken, ...]
    "Their machines did not join in time."


def plan_tokens(
    tokens: Sequence[BootstrapToken],
    by_mac: Mapping[str, Machine],
    secrets: Iterable[Object],
    used: frozenset[str],
    now: float,
) -> TokenPlan:
    """`secrets` are those of ours in the cluster, `used` the ids whose node has joined (`find_used`)."""
    there = {str(each["metadata"]["name"]): each for each in secrets}
    apply: list[NewSecret] = []
    spent: list[BootstrapToken] = []
    expired: list[BootstrapToken] = []
    wanted: set[str] = set()
    for token in tokens:
        machine, state = by_mac.get(token.mac), find_state(token, now)
        if machine is None:
            continue
        if state is TokenState.EXPIRED:
            expired.append(token)
        elif state is not TokenState.USED and token.id in used:
            spent.append(token)
        elif state is not TokenState.USED:
            ends_at = token.expires_at if token.expires_at is not None else now + LIFE_S
            secret = build_secret(token, machine.host, ends_at)
            name = secret["metadata"]["name"]
            wanted.add(name)
            if token.expires_at is None or name not in there or not _is_same(there[name], secret):
                apply.append(NewSecret(token, secret, ends_at))
    delete = tuple(name for name in there if name.startswith(PREFIX) and name not in wanted)
    return TokenPlan(tuple(apply), delete, tuple(spent), tuple(expired))


def build_secret(token: BootstrapToken, host: str, ends_at: float) -> Object:
    data = {
        "auth-extra-groups": f"{BOOTSTRAPPERS}:bootstrapper",
        "description": f"the kubelet of {host}",
        "expiration": datetime.fromtimestamp(ends_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "token-id": token.id,
        "token-secret": token.secret,
        "usage-bootstrap-authentication": "true",
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{PREFIX}{token.id}", "namespace": NAMESPACE, "labels": dict(MANAGED)},
        "type": TYPE,
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def find_owners(tokens: Sequence[BootstrapToken], by_mac: Mapping[str, Machine], now: float) -> dict[str, Machine]:
    """Token id -> its machine, for tokens in force. Two tokens of one id are nobody's."""
    counts = Counter(token.id for token in tokens)
    return {
        token.id: by_mac[token.mac]
        for token in tokens
        if token.mac in by_mac and counts[token.id] == 1 and find_state(token, now) is TokenState.CREATED
    }


def find_used(
    requests: Iterable[Mapping[str, Any]], ready: frozenset[str], owners: Mapping[str, Machine]
) -> frozenset[str]:
    """Ids of tokens that have served: a certificate was made by them, and the node it is for is Ready.

    Both: a machine that is installed again has a Node that may still look Ready; and a kubelet that has its certificate
    but lost the answer asks by its token again.
    """
    issued = {
        str(each["spec"].get("username", "")).removeprefix(TOKEN_USER)
        for each in requests
        if each["spec"].get("signerName") == CLIENT and each.get("status", {}).get("certificate")
    }
    return frozenset(identity for identity, machine in owners.items() if machine.host in ready and identity in issued)


def _is_same(there: Object, wanted: Object) -> bool:
    return all(there.get(key) == wanted[key] for key in ("type", "data"))
