"""Any sequence of calls leaves the database and a store made of dictionaries alike, also after a restart."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from fakes import MemoryStore
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bootstrapper.answers.leases import Lease, LeaseState
from bootstrapper.boot.claim import Token
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.state import rows
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.state.store import AuditEntry, Sighting

macs = st.sampled_from(["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"])
uuids = st.sampled_from(["", "4c4c4544-0042-3510-8048-b4c04f4e4232", "44454c4c-4200-1035-8048-b4c04f4e4232"])
addresses = st.sampled_from([IPv4Address("10.20.0.11"), IPv4Address("10.20.0.12"), IPv4Address("255.255.255.255")])
instants = st.floats(min_value=0, max_value=4e9)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 2**40)
leases = st.builds(Lease, addresses, macs, instants, st.sampled_from(LeaseState))
histories = st.builds(
    History, st.integers(0, 3), st.integers(0, 3), st.sampled_from(MachineState), instants, texts, st.booleans(),
    st.lists(instants, max_size=3).map(tuple), texts, st.booleans(), instants, st.booleans(),
)  # fmt: skip
# As the database keeps them: it cleans their texts once more (test_sqlite has that).
events = st.builds(Event, instants, macs, texts, texts, texts, st.sampled_from(["info", "error"])).map(
    lambda event: rows.parse_event(rows.build_event(event))
)
audits = st.builds(AuditEntry, instants, texts, texts, macs, texts, st.booleans())
sightings = st.builds(Sighting, macs, instants, instants, counts, texts, texts, texts, texts)


MEMORY = "/dev/shm"


class Stores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a place: each step is flushed, and what is asked here is not whether it lasts.
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.path = Path(self.folder.name) / "state.sqlite"
        self.store = SqliteStore(self.path)
        self.model = MemoryStore()
        self.minted = 0

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = SqliteStore(self.path)

    @rule(batch=st.lists(leases, max_size=6))
    def save_leases(self, batch: list[Lease]) -> None:
        self.store.save_leases(batch)
        self.model.save_leases(batch)

    @rule(batch=st.lists(addresses, max_size=2))
    def delete_leases(self, batch: list[IPv4Address]) -> None:
        self.store.delete_leases(batch)
        self.model.delete_leases(batch)

    @rule(mac=macs, history=histories)
    def save_history(self, mac: str, history: History) -> None:
        self.store.save_history(mac, history)
        self.model.save_history(mac, history)

    @rule(mac=macs, history=histories)
    def change_history(self, mac: str, history: History) -> None:
        assert self.store.change_history(mac, lambda _: history) == self.model.change_history(mac, lambda _: history)

    @rule(mac=macs, others=st.lists(macs, max_size=2), history=histories)
    def forget_machine(self, mac: str, others: list[str], history: History) -> None:
        assert self.store.forget_machine(mac, others, lambda _: history) == history
        self.model.forget_machine(mac, others, lambda _: history)

    @rule(old=macs, new=macs, stays=histories, refused=st.booleans())
    def move_machine(self, old: str, new: str, stays: History, refused: bool) -> None:
        def change(kept: History, _: History) -> tuple[History, History]:
            if refused:
                raise ValueError
            return stays, kept

        if old != new:
            for store in (self.store, self.model):
                with suppress(ValueError):
                    store.move_machine(old, new, change)

    @rule(kind=texts, mac=macs, at=instants)
    def add_errand(self, kind: str, mac: str, at: float) -> None:
        self.store.add_errand(kind, mac, "host", at)
        self.model.add_errand(kind, mac, "host", at)

    @rule(number=st.integers(1, 6))
    def finish_errand(self, number: int) -> None:
        self.store.finish_errand(number)
        self.model.finish_errand(number)

    @rule(entry=audits)
    def add_audit(self, entry: AuditEntry) -> None:
        self.store.add_audit(entry)
        self.model.add_audit(entry)

    @rule(mac=macs, address=addresses, generation=st.integers(0, 3), at=instants, life_s=st.sampled_from([0.0, 9e9]),
          uuid=uuids)  # fmt: skip
    def mint(self, mac: str, address: IPv4Address, generation: int, at: float, life_s: float, uuid: str) -> None:
        token = Token(str(self.minted), mac, address, generation, at, at + life_s, uuid=uuid)
        self.minted += 1
        self.store.mint(token)
        self.model.mint(token)

    @rule(back=st.integers(0, 3), address=addresses, now=instants, uuid=st.none() | uuids)
    def redeem(self, back: int, address: IPv4Address, now: float, uuid: str | None) -> None:
        digest = str(self.minted - back)
        done = self.store.redeem(digest, address, now, uuid, digest)
        assert done == self.model.redeem(digest, address, now, uuid, digest)
        assert self.store.find_token(digest) == self.model.find_token(digest)

    @rule(back=st.integers(0, 3))
    def settle(self, back: int) -> None:
        digest = str(self.minted - back)
        self.store.settle(digest)
        self.model.settle(digest)
        assert self.store.find_token(digest) == self.model.find_token(digest)

    @rule(back=st.integers(0, 3))
    def mark_failed(self, back: int) -> None:
        digest = str(self.minted - back)
        self.store.mark_failed(digest)
        self.model.mark_failed(digest)
        assert self.store.find_token(digest) == self.model.find_token(digest)

    @rule(mac=macs)
    def newest_token(self, mac: str) -> None:
        assert self.store.newest_token(mac) == self.model.newest_token(mac)
        assert self.store.list_tokens(mac) == self.model.list_tokens(mac)

    @rule(mac=macs)
    def seal(self, mac: str) -> None:
        self.store.seal(mac)
        self.model.seal(mac)

    @rule(batch=st.lists(events, max_size=4))
    def add_events(self, batch: list[Event]) -> None:
        self.store.add_events(batch)
        self.model.add_events(batch)

    @rule(batch=st.lists(sightings, max_size=4))
    def save_sightings(self, batch: list[Sighting]) -> None:
        self.store.save_sightings(batch)
        self.model.save_sightings(batch)

    @rule(mac=macs)
    def delete_sighting(self, mac: str) -> None:
        self.store.delete_sighting(mac)
        self.model.delete_sighting(mac)

    @rule(text=texts, at=instants)
    def save_description(self, text: str, at: float) -> None:
        assert self.store.save_description(text, at) == self.model.save_description(text, at)

    @rule(process=st.sampled_from(["dhcp", "dns"]), counters=st.dictionaries(texts, counts, max_size=3))
    def save_counters(self, process: str, counters: dict[str, int]) -> None:
        self.store.save_counters(process, counters)
        self.model.save_counters(process, counters)

    @rule(mac=macs, address=addresses, after=st.integers(0, 10), limit=st.integers(0, 5))
    def read_some(self, mac: str, address: IPv4Address, after: int, limit: int) -> None:
        assert self.store.find_holder(address) == self.model.find_holder(address)
        assert self.store.find_lease(mac) == self.model.find_lease(mac)
        assert self.store.find_history(mac) == self.model.find_history(mac)
        assert self.store.changed_histories(after) == self.model.changed_histories(after)
        assert self.store.events(mac, after, limit) == self.model.events(mac, after, limit)
        assert self.store.latest_events(mac, limit + 1) == self.model.latest_events(mac, limit + 1)
        assert self.store.audit(after, limit) == self.model.audit(after, limit)
        assert self.store.latest_audit(limit + 1) == self.model.latest_audit(limit + 1)
        assert self.store.changed_leases(after)[0] >= after

    @invariant()
    def alike(self) -> None:
        assert self.store.load_leases() == self.model.load_leases()
        assert self.store.load_histories() == self.model.load_histories()
        assert self.store.events() == self.model.events()
        assert self.store.load_sightings() == self.model.load_sightings()
        assert self.store.load_description() == self.model.load_description()
        assert self.store.list_descriptions() == self.model.list_descriptions()
        assert self.store.load_approved() == self.model.load_approved()
        assert self.store.load_errands() == self.model.load_errands()
        assert self.store.changed_leases(0) == self.model.changed_leases(0)
        assert self.store.last_events() == self.model.last_events()
        assert dict(sorted(self.store.load_counters().items())) == self.model.load_counters()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


Stores.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStores = Stores.TestCase
