"""One round with etcd: keeps the note about its members, and lets a machine that is installed again back in.

A member is put out only when its machine has booted its installer, never when the order was given: until then it is a
good member. The claim waits a few seconds for it (`boot.membership`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.membership import (
    NOTE,
    Membership,
    can_have_formed,
    find_founders,
    find_waiting,
    format_membership,
    parse_membership,
)
from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.errors import UserError
from bootstrapper.kube.connection import ServerRefusal, Unreachable
from bootstrapper.kube.etcd_client import PEER_PORT, EtcdClient
from bootstrapper.kube.etcd_plan import Add, Existing, Member, Refuse, Remove, find_promotable, plan_replacement
from bootstrapper.state.store import Store

COMING = frozenset({MachineState.BOOTING, MachineState.INSTALLING, MachineState.FAILED})
"States of a machine whose installer runs, or has run: its old system is not up any more."
STEPS = 4
"Remove, add, ready: more would be a fault of ours."


@dataclass
class EtcdWork:
    cluster: Cluster
    store: Store
    client: EtcdClient
    record: Callable[[Event], None]
    now: Callable[[], float]

    def run(self) -> None:
        """Raises Unreachable and ServerRefusal; what can be known without etcd is kept by then."""
        histories = self._load_histories()
        before = self._load()
        membership = find_founders(before, histories)
        if membership != before:
            self._save(membership)
            if before.formed and not membership.formed:
                self._tell(
                    "", "etcd begins anew", "every member is to be installed: what it holds now is gone", "warning"
                )
            elif membership.formed and not before.formed:
                self._tell("", "etcd goes on", "the order to install one of its members was taken back")
        waiting = [mac for mac in find_waiting(membership, histories) if is_coming(histories[mac])]
        try:
            members, alive = self.client.list_members(), self.client.find_alive()
        except Unreachable:
            for mac in waiting:
                membership = self._refuse(membership, mac, "etcd does not answer, so nothing can be agreed on")
            raise
        if alive and not membership.formed and can_have_formed(membership, histories):
            membership = self._change(replace(membership, formed=True))
            self._tell("", "etcd formed", ", ".join(member.name or "?" for member in members))
        self._promote(members, alive)
        for mac in waiting:
            membership = self._admit(membership, self.cluster.by_mac[mac], histories[mac])

    def _load_histories(self) -> Mapping[str, History]:
        return {each.mac: self.store.find_history(each.mac) for each in self.cluster.with_role(Role.ETCD)}

    # -- members ----------------------------------------------------------------
    def _admit(self, membership: Membership, machine: Machine, history: History) -> Membership:
        peer_url = f"https://{machine.ip}:{PEER_PORT}"
        for _ in range(STEPS):
            members = self.client.list_members()
            plan = plan_replacement(members, self.client.find_alive(), machine.host, peer_url)
            match plan:
                case Refuse(reason):
                    return self._refuse(membership, machine.mac, reason)
                case Remove(member_id):
                    self.client.remove(member_id)
                    self._tell(machine.mac, "etcd member removed", f"{member_id:x}: its machine is installed again")
                case Add():
                    added = self._add(peer_url)
                    if added is None:
                        return membership
                    self._tell(machine.mac, "etcd member added", f"{added.id:x}, without a vote until it has caught up")
                case Existing():
                    return self._keep_admitted(membership, machine, history, members)
        return self._refuse(membership, machine.mac, "its place among etcd's members could not be made")

    def _add(self, peer_url: str) -> Member | None:
        """None for the first seconds after a removal: etcd wants its members connected for a while before a change."""
        try:
            return self.client.add_learner(peer_url)
        except ServerRefusal as refusal:
            if refusal.status == 503:
                return None
            raise

    def _keep_admitted(
        self, membership: Membership, machine: Machine, history: History, members: tuple[Member, ...]
    ) -> Membership:
        hosts = {f"https://{each.ip}:{PEER_PORT}": each.host for each in self.cluster.with_role(Role.ETCD)}
        urls = [member.peer_urls[0] for member in members if member.peer_urls]
        strangers = [url for url in urls if url not in hosts]
        if strangers:
            return self._refuse(
                membership, machine.mac, f"etcd has a member that the description has not: {strangers[0]}"
            )
        return self._change(
            replace(
                membership,
                admitted={**membership.admitted, machine.mac: history.wanted},
                members=tuple(host for url, host in hosts.items() if url in urls),
                refusals={mac: reason for mac, reason in membership.refusals.items() if mac != machine.mac},
            )
        )

    def _promote(self, members: tuple[Member, ...], alive: frozenset[int]) -> None:
        for member_id in find_promotable(members, alive):
            if self.client.promote(member_id):
                name = next(member.name for member in members if member.id == member_id)
                machine = self.cluster.by_host.get(name)
                self._tell(machine.mac if machine else "", "etcd member votes", f"{name} has caught up")

    # -- the note ---------------------------------------------------------------
    def _refuse(self, membership: Membership, mac: str, reason: str) -> Membership:
        if membership.refusals.get(mac) == reason:
            return membership
        self._tell(mac, "etcd member refused", reason, "error")
        return self._change(replace(membership, refusals={**membership.refusals, mac: reason}))

    def _change(self, membership: Membership) -> Membership:
        self._save(membership)
        return membership

    def _load(self) -> Membership:
        try:
            return parse_membership(self.store.load_note(NOTE))
        except (ValueError, KeyError, AttributeError) as error:
            raise UserError("the state's note about etcd cannot be read", "restore a backup of the state") from error

    def _save(self, membership: Membership) -> None:
        self.store.save_note(NOTE, format_membership(membership))

    def _tell(self, mac: str, step: str, detail: str, level: str = "info") -> None:
        self.record(Event(self.now(), mac, "kube", step, detail, level))


def is_coming(history: History) -> bool:
    """Whether its installer runs now. One on hold is given no configuration, and keeps its place."""
    return history.state in COMING and not history.held
