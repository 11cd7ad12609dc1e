"""etcd's own users, where flannel keeps its network in etcd: its certificate may then touch nothing but its prefix.

A user is the common name of a client's certificate, and needs no password. Ours has one, and a certificate without a
common name: we speak to etcd's gateway, which refuses every named certificate once authentication is on.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bootstrapper.boot.events import Event
from bootstrapper.kube.connection import ServerRefusal
from bootstrapper.kube.etcd_client import ROOT, EtcdClient
from bootstrapper.state.store import Store

NOTE = "etcd root password"
FLANNEL = "flannel"
PREFIX = "/coreos.com/network/"

USERS: Mapping[str, str] = {
    "kube-apiserver-etcd-client": ROOT,
    # Members' own: snapshots, defragmentation, flannel's network.
    "kube-etcd-healthcheck-client": ROOT,
    FLANNEL: FLANNEL,
}
"Common name of a certificate -> its role."


@dataclass
class EtcdUsers:
    store: Store
    client: EtcdClient
    record: Callable[[Event], None]
    now: Callable[[], float]
    new_password: Callable[[], str]

    def settle(self) -> None:
        """Switches authentication on, with the users made before. Raises Unreachable and ServerRefusal."""
        self.client.password = self._load()
        if self.client.log_in():
            return
        for path, body in list_steps(self.client.password):
            try:
                self.client.change_auth(path, body)
            except ServerRefusal as refusal:
                if "already exists" not in refusal.message:  # an earlier round was cut short
                    raise
        self.record(Event(self.now(), "", "kube", "etcd users", f"{FLANNEL} may touch {PREFIX} only", "info"))

    def _load(self) -> str:
        """Kept before it is used: one that is lost can be set anew by a member only (docs/etcd.md)."""
        kept = self.store.load_note(NOTE)
        if kept:
            return kept
        password = self.new_password()
        self.store.save_note(NOTE, password)
        return password


def list_steps(password: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Path below /v3/auth and body; each may be repeated. The last one locks the door, with every key handed out."""
    yield "user/add", {"name": ROOT, "password": password}
    yield "user/changepw", {"name": ROOT, "password": password}
    yield "user/grant", {"user": ROOT, "role": ROOT}
    yield "role/add", {"name": FLANNEL}
    permission = {"permType": "READWRITE", "key": _encode(PREFIX), "range_end": _encode(_find_end(PREFIX))}
    yield "role/grant", {"name": FLANNEL, "perm": permission}
    for name, role in USERS.items():
        yield "user/add", {"name": name, "options": {"no_password": True}}
        yield "user/grant", {"user": name, "role": role}
    yield "enable", {}


def _find_end(prefix: str) -> str:
    """The first key after all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
