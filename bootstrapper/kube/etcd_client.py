"""etcd's API as JSON over HTTPS (its gRPC gateway), which every member serves on its client port."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

from bootstrapper.kube.connection import Address, Connection, ServerRefusal, Unreachable
from bootstrapper.kube.etcd_plan import Member

CLIENT_PORT = 2379
ROOT = "root"
"The user, and the role, that etcd knows before any other."
UNKNOWN = (
    "user name is empty",
    "invalid auth token",
    "revision of auth store is old",
    "revision in the provided header",
)
"What etcd says to a request without a token, or with one that has run out."
PEER_PORT = 2380


class EtcdClient:
    """Every method raises Unreachable when no member answers, and ServerRefusal for what etcd refuses."""

    def __init__(self, addresses: Sequence[Address], tls: ssl.SSLContext) -> None:
        self._any = Connection(addresses, tls)
        self._each = {address: Connection([address], tls) for address in addresses}
        self.password = ""
        "Of etcd's root, where authentication is on (`kube.etcd_users`); empty: it is not."
        self._token = ""

    def list_members(self) -> tuple[Member, ...]:
        answer = self._ask(self._any, "/v3/cluster/member/list", {})
        return tuple(sorted(map(_parse_member, answer["members"])))

    def find_alive(self) -> frozenset[int]:
        """Ids of the members that answer and know a leader."""
        found = set()
        for connection in self._each.values():
            try:
                status = self._ask(connection, "/v3/maintenance/status", {})
            except (Unreachable, ServerRefusal):
                continue
            if int(status.get("leader", 0)):
                found.add(int(status["header"]["member_id"]))
        return frozenset(found)

    def remove(self, member_id: int) -> None:
        self._ask(self._any, "/v3/cluster/member/remove", {"ID": str(member_id)})

    def add_learner(self, peer_url: str) -> Member:
        """A learner has no vote: should it never come up, the others keep their majority."""
        answer = self._ask(self._any, "/v3/cluster/member/add", {"peerURLs": [peer_url], "isLearner": True})
        return _parse_member(answer["member"])

    def promote(self, member_id: int) -> bool:
        """False: it has not caught up with the leader yet."""
        try:
            self._ask(self._any, "/v3/cluster/member/promote", {"ID": str(member_id)})
        except ServerRefusal as refusal:
            if "in sync" in refusal.message:
                return False
            raise
        return True

    def log_in(self) -> bool:
        """False: authentication is not on. Raises ServerRefusal for a password that is not etcd's."""
        try:
            answer = self._any.ask("POST", "/v3/auth/authenticate", {"name": ROOT, "password": self.password})
        except ServerRefusal as refusal:
            if "not enabled" in refusal.message:
                return False
            raise
        self._token = str(answer["token"])
        return True

    def change_auth(self, path: str, body: object) -> None:
        self._ask(self._any, f"/v3/auth/{path}", body)

    def _ask(self, connection: Connection, path: str, body: object) -> Any:
        headers = {"Authorization": self._token} if self._token else {}
        try:
            return connection.ask("POST", path, body, headers)
        except ServerRefusal as refusal:
            if not self.password or not any(text in refusal.message for text in UNKNOWN) or not self.log_in():
                raise
        return connection.ask("POST", path, body, {"Authorization": self._token})

    def close(self) -> None:
        for connection in (self._any, *self._each.values()):
            connection.close()


def _parse_member(value: dict[str, Any]) -> Member:
    """The gateway leaves out what is empty, and writes 64-bit numbers as text."""
    return Member(
        int(value["ID"]),
        str(value.get("name", "")),
        tuple(value.get("peerURLs", ())),
        tuple(value.get("clientURLs", ())),
        bool(value.get("isLearner", False)),
    )
