"""Stores for tests, by hand: `MemoryStore` (empty, or filled by the test) and `FailingStore` (a disk that is gone)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any, NoReturn

from bootstrapper.answers.leases import Lease, LeaseState
from bootstrapper.boot.claim import GRACE_CLAIMS, ClaimRefusal, Token, check_claim, mark_claimed
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History
from bootstrapper.boot.lifecycle import tell_change
from bootstrapper.boot.tail import plain
from bootstrapper.errors import UserError
from bootstrapper.state.store import AuditEntry, Errand, HistoryChange, LeaseChange, MoveChange, Revision, Sighting


class MemoryStore:
    """`Store` in dictionaries, with the same limits. `calls` names each write, for tests of who writes when."""

    def __init__(self) -> None:
        self.leases: dict[IPv4Address, Lease] = {}
        self.histories: dict[str, History] = {}
        self.marks: dict[str, int] = {}
        self.tokens: list[Token] = []
        self.kept_events: list[tuple[int, Event]] = []
        self.sightings: dict[str, Sighting] = {}
        self.descriptions: list[str] = []
        self.counters: dict[str, dict[str, int]] = {}
        self.notes: dict[str, str] = {}
        self.calls: list[str] = []
        self.version = 1
        "Raise it to play another process' write."
        self.lease_changes: list[LeaseChange] = []
        self.audited: list[AuditEntry] = []
        self.revisions: list[Revision] = []
        self.errands: list[Errand] = []
        self._mark = 0
        self._errand_id = 0
        self._event_id = 0

    def load_leases(self) -> list[Lease]:
        return [self.leases[address] for address in sorted(self.leases)]

    def save_leases(self, leases: Sequence[Lease]) -> None:
        self.calls.append("save_leases")
        for lease in leases:
            self.leases[lease.address] = lease

    def delete_leases(self, addresses: Iterable[IPv4Address]) -> None:
        self.calls.append("delete_leases")
        for address in addresses:
            self.leases.pop(address, None)

    def find_lease(self, mac: str) -> Lease | None:
        found = [lease for lease in self.load_leases() if lease.mac == mac and lease.state is LeaseState.BOUND]
        return max(found, key=lambda lease: lease.expires_at) if found else None

    def find_holder(self, address: IPv4Address) -> str | None:
        lease = self.leases.get(address)
        return lease.mac if lease is not None and lease.state is LeaseState.BOUND else None

    def load_histories(self) -> dict[str, History]:
        return dict(self.histories)

    def changed_histories(self, after: int) -> tuple[int, dict[str, History]]:
        changed = {mac: self.histories[mac] for mac, mark in self.marks.items() if mark > after}
        return max([after, *self.marks.values()]), changed

    def find_history(self, mac: str) -> History:
        return self.histories.get(mac, History())

    def load_approved(self) -> frozenset[str]:
        return frozenset(mac for mac, history in self.histories.items() if history.approved)

    def save_history(self, mac: str, history: History) -> None:
        self.calls.append("save_history")
        self._mark += 1
        self.histories[mac], self.marks[mac] = history, self._mark

    def change_history(self, mac: str, change: HistoryChange) -> History:
        before = self.find_history(mac)
        after = change(before)
        if after != before:
            self.save_history(mac, after)
            told = tell_change(mac, before, after)
            if told is not None:
                self.add_events([told])
        return after

    def lease_mark(self) -> int:
        return len(self.lease_changes)

    def changed_leases(self, after: int) -> tuple[int, list[LeaseChange]]:
        return len(self.lease_changes), self.lease_changes[after:]

    def forget_machine(
        self, mac: str, macs: Collection[str], change: HistoryChange, errands: Iterable[Errand] = ()
    ) -> History:
        after = change(self.find_history(mac))
        self.calls.append("forget_machine")
        self.tokens = [token for token in self.tokens if token.mac != mac]
        for each in sorted({mac, *macs}):
            self.leases = {address: lease for address, lease in self.leases.items() if lease.mac != each}
            self.sightings.pop(each, None)
            self.lease_changes.append(LeaseChange(each))
        for errand in errands:
            self.add_errand(errand.kind, errand.mac, errand.host, errand.at)
        return self.change_history(mac, lambda _: after)

    def move_machine(self, old: str, new: str, change: MoveChange) -> None:
        stays, goes = change(self.find_history(old), self.find_history(new))
        self.calls.append("move_machine")
        self.leases = {address: lease for address, lease in self.leases.items() if lease.mac != new}
        self.leases = {
            address: replace(lease, mac=new) if lease.mac == old else lease for address, lease in self.leases.items()
        }
        self.tokens = [token for token in self.tokens if token.mac != new]
        self.tokens = [replace(token, mac=new) if token.mac == old else token for token in self.tokens]
        self.kept_events = [
            (number, replace(event, mac=new) if event.mac == old else event) for number, event in self.kept_events
        ]
        self.sightings.pop(new, None)
        self.lease_changes.append(LeaseChange(old, new))
        self.change_history(old, lambda _: stays)
        self.change_history(new, lambda _: goes)

    def mint(self, token: Token) -> None:
        self.calls.append("mint")
        self.tokens.append(token)
        for claimed in (False, True):
            same = [each for each in self.tokens if each.mac == token.mac and (each.redeemed_at is not None) == claimed]
            for old in same[:-20]:
                self.tokens.remove(old)

    def find_token(self, digest: str) -> Token | None:
        return next((token for token in self.tokens if token.digest == digest), None)

    def newest_token(self, mac: str) -> str:
        return next((token.digest for token in reversed(self.tokens) if token.mac == mac), "")

    def list_tokens(self, mac: str) -> list[Token]:
        return [token for token in reversed(self.tokens) if token.mac == mac]

    def redeem(
        self, digest: str, address: IPv4Address, now: float, uuid: str | None = None, plan: str = ""
    ) -> Token | ClaimRefusal:
        self.calls.append("redeem")
        token = self.find_token(digest)
        if token is None:
            return ClaimRefusal.UNKNOWN
        newest = [each.digest for each in self.tokens if each.mac == token.mac][-1]
        refusal = check_claim(token, address, self.find_history(token.mac), now, newest, uuid)
        if refusal is not None:
            return refusal
        claimed = mark_claimed(token, now, plan)
        self.tokens[self.tokens.index(token)] = claimed
        return claimed

    def settle(self, digest: str) -> None:
        self.calls.append("settle")
        self.tokens = [
            replace(token, claims=max(token.claims, GRACE_CLAIMS))
            if token.digest == digest and token.redeemed_at is not None
            else token
            for token in self.tokens
        ]

    def mark_failed(self, digest: str) -> None:
        self.calls.append("mark_failed")
        self.tokens = [
            replace(token, failed=True)
            if token.digest == digest and token.redeemed_at is not None and token.claims >= GRACE_CLAIMS
            else token
            for token in self.tokens
        ]

    def seal(self, mac: str) -> None:
        self.calls.append("seal")
        self.tokens = [replace(token, sealed=True) if token.mac == mac else token for token in self.tokens]

    def add_events(self, events: Sequence[Event]) -> None:
        self.calls.append("add_events")
        for event in events:
            self._event_id += 1
            event = replace(event, step=plain(event.step), detail=plain(event.detail))
            self.kept_events.append((self._event_id, event))
        for mac in {event.mac for event in events}:
            mine = [each for each in self.kept_events if each[1].mac == mac]
            for old in mine[:-1000]:
                self.kept_events.remove(old)
        del self.kept_events[:-100_000]

    def events(self, mac: str | None = None, after: int = 0, limit: int = 1000) -> list[tuple[int, Event]]:
        return [each for each in self.kept_events if each[0] > after and mac in (None, each[1].mac)][:limit]

    def latest_events(self, mac: str | None = None, limit: int = 100) -> list[tuple[int, Event]]:
        return [each for each in self.kept_events if mac in (None, each[1].mac)][-limit:]

    def last_events(self) -> dict[str, tuple[int, Event]]:
        return {event.mac: (number, event) for number, event in self.kept_events}

    def save_sightings(self, sightings: Sequence[Sighting]) -> None:
        self.calls.append("save_sightings")
        for seen in sightings:
            self.sightings[seen.mac] = seen
        for old in self.load_sightings()[10_000:]:
            del self.sightings[old.mac]

    def load_sightings(self) -> list[Sighting]:
        return sorted(self.sightings.values(), key=lambda seen: (seen.last_at, seen.mac), reverse=True)

    def delete_sighting(self, mac: str) -> None:
        self.calls.append("delete_sighting")
        self.sightings.pop(mac, None)

    def save_description(self, text: str, at: float, note: str = "") -> int:
        self.calls.append("save_description")
        if not self.descriptions or self.descriptions[-1] != text:
            self.descriptions.append(text)
            self.revisions.append(Revision(len(self.descriptions), at, note))
        return len(self.descriptions)

    def list_descriptions(self) -> list[Revision]:
        return self.revisions[:-51:-1]

    def find_description(self, revision: int) -> str | None:
        kept = {each.revision for each in self.list_descriptions()}
        return self.descriptions[revision - 1] if revision in kept else None

    def add_audit(self, entry: AuditEntry) -> None:
        self.calls.append("add_audit")
        self.audited.append(entry)

    def audit(self, after: int = 0, limit: int = 1000) -> list[tuple[int, AuditEntry]]:
        return list(enumerate(self.audited, 1))[max(after, len(self.audited) - 10_000) :][:limit]

    def latest_audit(self, limit: int = 100) -> list[tuple[int, AuditEntry]]:
        return list(enumerate(self.audited, 1))[-limit:]

    def add_errand(self, kind: str, mac: str, host: str, at: float) -> None:
        self.calls.append("add_errand")
        self.errands = [each for each in self.errands if (each.kind, each.mac, each.host) != (kind, mac, host)]
        self._errand_id += 1
        self.errands.append(Errand(self._errand_id, at, kind, mac, host))

    def drop_errands(self, kind: str, mac: str) -> None:
        self.calls.append("drop_errands")
        self.errands = [each for each in self.errands if (each.kind, each.mac) != (kind, mac)]

    def load_errands(self) -> list[Errand]:
        return list(self.errands)

    def finish_errand(self, errand_id: int) -> None:
        self.calls.append("finish_errand")
        self.errands = [each for each in self.errands if each.id != errand_id]

    def load_description(self) -> tuple[int, str] | None:
        return (len(self.descriptions), self.descriptions[-1]) if self.descriptions else None

    def save_note(self, name: str, text: str) -> None:
        self.calls.append("save_note")
        self.notes[name] = text

    def load_note(self, name: str) -> str:
        return self.notes.get(name, "")

    def save_counters(self, process: str, counters: Mapping[str, int]) -> None:
        self.calls.append("save_counters")
        self.counters[process] = dict(counters)

    def load_counters(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for counters in self.counters.values():
            for name, value in counters.items():
                total[name] = total.get(name, 0) + value
        return dict(sorted(total.items()))

    def data_version(self) -> int:
        return self.version

    def probe(self, wait_s: float = 1.0) -> None:
        self.calls.append("probe")

    def close(self) -> None:
        self.calls.append("close")


class FailingStore(MemoryStore):
    """Reads what it was given before; every write fails, as on a full disk."""

    def _fail(self, *_arguments: Any, **_named: Any) -> NoReturn:
        raise UserError("state.sqlite: the disk is full: nothing was written", "make room")

    save_leases = delete_leases = save_history = change_history = mint = redeem = seal = add_events = _fail
    forget_machine = move_machine = add_audit = add_errand = drop_errands = finish_errand = probe = _fail
    save_sightings = delete_sighting = save_description = save_note = save_counters = _fail
