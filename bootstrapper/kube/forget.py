"""What is left of a machine in the cluster after an admin had it forgotten: its keys, its Node, its etcd member.

`state.carry_out` leaves an errand for each; it is done when the one it takes can be reached, however long that is, and
its result is told once. Doing one twice changes nothing more: the server may be killed between the deed and its note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from bootstrapper.boot.events import Event
from bootstrapper.boot.membership import NOTE, drop_member, format_membership, parse_membership
from bootstrapper.cluster.model import Cluster
from bootstrapper.kube.client import ApiClient
from bootstrapper.kube.etcd_client import PEER_PORT
from bootstrapper.kube.etcd_plan import Keep, Member, Refuse, plan_forgetting
from bootstrapper.kube.nodes import NODES
from bootstrapper.state.carry_out import FORGET_KEYS, FORGET_MEMBER, FORGET_NODE, RESTORE_KEYS
from bootstrapper.state.store import Errand, Store


class Keys(Protocol):
    """`pki.cluster.ClusterPki`."""

    def forget(self, mac: str, at: float) -> None: ...
    def restore(self, mac: str) -> None: ...


class Members(Protocol):
    """`kube.etcd_client.EtcdClient`."""

    def list_members(self) -> tuple[Member, ...]: ...
    def find_alive(self) -> frozenset[int]: ...
    def remove(self, member_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Forgetter:
    cluster: Cluster
    store: Store
    record: Callable[[Event], None]
    now: Callable[[], float]
    told: dict[int, str] = field(default_factory=dict)
    "Errand -> why it waits."

    def settle_keys(self, keys: Keys) -> None:
        """At once, in the order in which they were left: the certificates that it had when it was forgotten renew
        nothing any more, and its bootstrap token is gone; those of one that was released since renew again."""
        for errand in self.store.load_errands():
            if errand.kind == FORGET_KEYS:
                keys.forget(errand.mac, errand.at)
                self._finish(errand, "keys forgotten", "its certificates are not renewed any more, its token is gone")
            elif errand.kind == RESTORE_KEYS:
                keys.restore(errand.mac)
                self._finish(errand, "keys restored", "its certificates are renewed again")

    def forget_nodes(self, client: ApiClient) -> None:
        """Raises Unreachable and ServerRefusal."""
        for errand in self._errands(FORGET_NODE):
            if self._is_in_use(errand.host):
                self._finish(errand, "node kept", f"{errand.host} was installed or released since")
            else:
                gone = client.delete(f"{NODES}/{errand.host}")
                self._finish(errand, "node forgotten", errand.host if gone else f"there was no node {errand.host}")

    def forget_members(self, client: Members) -> None:
        """Raises Unreachable and ServerRefusal. What would cost etcd its majority waits until it does not."""
        for errand in self._errands(FORGET_MEMBER):
            if self._is_in_use(errand.host):
                self._finish(errand, "etcd member kept", f"{errand.host} was installed or released since")
                continue
            machine = self.cluster.by_host.get(errand.host)
            url = f"https://{machine.ip}:{PEER_PORT}" if machine and machine.ip else ""
            plan = plan_forgetting(client.list_members(), client.find_alive(), errand.host, url)
            match plan:
                case Refuse(reason):
                    self._wait(errand, reason)
                    continue
                case Keep(reason):
                    self._finish(errand, "etcd member kept", reason, "warning")
                case None:
                    self._finish(errand, "etcd member forgotten", f"{errand.host} was none")
                case member_id:
                    client.remove(member_id)
                    self._finish(errand, "etcd member forgotten", f"{member_id:x}, {errand.host}")
            self._drop(errand.mac)

    def _errands(self, kind: str) -> Iterator[Errand]:
        return (errand for errand in self.store.load_errands() if errand.kind == kind)

    def _is_in_use(self, host: str) -> bool:
        """Whether a machine of that name has a system since, which must not lose what the errand is about."""
        machine = self.cluster.by_host.get(host)
        if machine is None:
            return False
        history = self.store.find_history(machine.mac)
        return not history.forgotten and not history.open

    def _drop(self, mac: str) -> None:
        """From the note: it is no founder any more, and is admitted anew when it is installed again."""
        before = parse_membership(self.store.load_note(NOTE))
        after = drop_member(before, mac)
        if after != before:
            self.store.save_note(NOTE, format_membership(after))

    def _wait(self, errand: Errand, reason: str) -> None:
        if self.told.get(errand.id) != reason:
            self.told[errand.id] = reason
            self._tell(errand.mac, "etcd member not forgotten yet", reason, "warning")

    def _finish(self, errand: Errand, step: str, detail: str, level: str = "info") -> None:
        self.store.finish_errand(errand.id)
        self.told.pop(errand.id, None)
        self._tell(errand.mac, step, detail, level)

    def _tell(self, mac: str, step: str, detail: str, level: str) -> None:
        self.record(Event(self.now(), mac, "kube", step, detail, level))
