"""Everything that must survive a restart, behind one small interface.

SQLite stands behind it today (`state.sqlite`); a shared engine may take its place when several bootstrappers serve
one site. Each process opens its own Store. Every method is one transaction, durable when it returns, unless its
docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from bootstrapper.answers.leases import Lease
from bootstrapper.boot.claim import ClaimRefusal, Token
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History


@dataclass(frozen=True, slots=True)
class Sighting:
    """A machine that is not in the description, as last seen."""

    mac: str
    first_at: float
    last_at: float
    count: int
    vendor: str = ""
    uuid: str = ""
    arch: str = ""
    "Firmware, in words: `UEFI x64`."
    address: str = ""
    vendor_class: str = ""
    "What its DHCP client calls itself (option 60): `PXEClient:Arch:00007:UNDI:003016`, `MSFT 5.0`."
    host_name: str = ""
    "What it calls itself (option 12). These two are a client's own words, cut to 64 printable ASCII characters."


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something an admin changed, or tried to."""

    at: float
    who: str
    "`socket` (whoever may open it), `token`, `session`, with the peer's address where there is one."
    action: str
    "A constant of a few words: `order reinstall`, `description saved`."
    mac: str = ""
    detail: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Revision:
    """A description that is or was in force."""

    revision: int
    at: float
    note: str = ""
    "Who and why, in words."


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """What an admin's order did to leases while the DHCP server holds them in its memory."""

    mac: str
    new_mac: str = ""
    "Where they went; empty: they are gone."


@dataclass(frozen=True, slots=True)
class Errand:
    """What is left to do in the cluster after an order, by the process that has the credentials for it (`kube`)."""

    id: int
    at: float
    kind: str
    "`forget`."
    mac: str
    host: str


class Store(Protocol):
    # -- leases ---------------------------------------------------------------
    def load_leases(self) -> list[Lease]: ...

    def save_leases(self, leases: Sequence[Lease]) -> None:
        """Insert or replace by address, all in one transaction, on disk when it returns (rule 4)."""

    def delete_leases(self, addresses: Iterable[IPv4Address]) -> None: ...

    def find_lease(self, mac: str) -> Lease | None:
        """The bound lease of `mac`, the latest when there are several (subnets)."""

    def find_holder(self, address: IPv4Address) -> str | None:
        """The MAC that an address is bound to."""

    def lease_mark(self) -> int:
        """The mark to ask `changed_leases` with; read it before `load_leases`."""

    def changed_leases(self, after: int) -> tuple[int, list[LeaseChange]]:
        """What orders did to leases since mark `after`, oldest first, and the next mark. The latest 1,000 are kept."""

    # -- machines -------------------------------------------------------------
    def load_histories(self) -> dict[str, History]:
        """By first MAC; a machine without a row has `History()`."""

    def changed_histories(self, after: int) -> tuple[int, dict[str, History]]:
        """What was written since mark `after` (0: everything), and the mark to ask with next time."""

    def find_history(self, mac: str) -> History: ...

    def load_approved(self) -> frozenset[str]:
        """The MACs of unknown machines that an admin took as workers."""

    def save_history(self, mac: str, history: History) -> None: ...

    def change_history(self, mac: str, change: HistoryChange) -> History:
        """Read, change and write in one transaction; returns the new value.

        A change of state is kept as an event with it (`lifecycle.tell_change`).
        """

    def forget_machine(
        self, mac: str, macs: Collection[str], change: HistoryChange, errands: Iterable[Errand] = ()
    ) -> History:
        """`change_history`, its tokens, leases (of all its `macs`) and sightings are gone, and `errands` are left to be
        done, as `add_errand` does: in one transaction."""

    def move_machine(self, old: str, new: str, change: MoveChange) -> None:
        """History, tokens, leases and events of first MAC `old` become those of `new`, in one transaction.

        `change` is given both histories and returns what stays at `old` and what `new` gets; what it raises is raised,
        and nothing was changed. `new`'s own leases, tokens and sighting go; its events stay.
        """

    # -- claims ---------------------------------------------------------------
    def mint(self, token: Token) -> None:
        """Keep a new token; earlier unsealed ones of the same MAC no longer claim: a newer boot took their place.

        The latest 20 of a machine are kept, and the latest 20 that were claimed (an installed system reports by its).
        """

    def find_token(self, digest: str) -> Token | None: ...

    def newest_token(self, mac: str) -> str:
        """The digest of the machine's latest token; empty: it has none."""

    def list_tokens(self, mac: str) -> list[Token]:
        """The machine's, newest first."""

    def redeem(
        self, digest: str, address: IPv4Address, now: float, uuid: str | None = None, plan: str = ""
    ) -> Token | ClaimRefusal:
        """Claim the configuration: check and mark in one transaction, by the rules of `boot.claim`; `plan` is kept."""

    def settle(self, digest: str) -> None:
        """The machine says that it has its configuration: a claimed token is claimed no more, whatever the grace."""

    def mark_failed(self, digest: str) -> None:
        """Whoever claimed with it and had its configuration (`settle`) says that its install failed."""

    def seal(self, mac: str) -> None:
        """No token of this machine ever claims again (its install was reported done)."""

    # -- what was seen --------------------------------------------------------
    def add_events(self, events: Sequence[Event]) -> None:
        """Append; the oldest beyond 1,000 of a machine (and 100,000 in all) are forgotten."""

    def events(self, mac: str | None = None, after: int = 0, limit: int = 1000) -> list[tuple[int, Event]]:
        """(id, event), oldest first; `after` is the last id already seen."""

    def latest_events(self, mac: str | None = None, limit: int = 100) -> list[tuple[int, Event]]:
        """The newest, oldest of them first."""

    def last_events(self) -> dict[str, tuple[int, Event]]:
        """The newest event of each MAC that has one."""

    def save_sightings(self, sightings: Sequence[Sighting]) -> None:
        """At most 10,000 are kept; the longest unseen go first."""

    def load_sightings(self) -> list[Sighting]: ...

    def delete_sighting(self, mac: str) -> None: ...

    # -- the description ------------------------------------------------------
    def save_description(self, text: str, at: float, note: str = "") -> int:
        """Keep a description that was checked and is now in force; returns its revision (1, 2, ...).

        The text that is in force already keeps its revision. The latest 50 are kept.
        """

    def load_description(self) -> tuple[int, str] | None:
        """(revision, text) of the last good one."""

    def list_descriptions(self) -> list[Revision]:
        """Newest first."""

    def find_description(self, revision: int) -> str | None: ...

    # -- what admins did --------------------------------------------------------
    def add_audit(self, entry: AuditEntry) -> None:
        """Append; the latest 10,000 are kept."""

    def audit(self, after: int = 0, limit: int = 1000) -> list[tuple[int, AuditEntry]]:
        """(id, entry), oldest first; `after` is the last id already seen."""

    def latest_audit(self, limit: int = 100) -> list[tuple[int, AuditEntry]]:
        """The newest, oldest of them first."""

    # -- errands ----------------------------------------------------------------
    def add_errand(self, kind: str, mac: str, host: str, at: float) -> None:
        """In place of an equal one that is still to be done: whoever does that one at this moment leaves this."""

    def drop_errands(self, kind: str, mac: str) -> None:
        """They are not to be done any more. Within a change of `change_history`: in its transaction, as `add_errand`
        is."""

    def load_errands(self) -> list[Errand]:
        """Those still to be done, oldest first."""

    def finish_errand(self, errand_id: int) -> None: ...

    # -- notes ----------------------------------------------------------------
    def save_note(self, name: str, text: str) -> None:
        """Keep a short text of one writer's (`kube`'s, about the cluster's tokens and etcd members)."""

    def load_note(self, name: str) -> str:
        """Empty when there is none."""

    # -- counters -------------------------------------------------------------
    def save_counters(self, process: str, counters: Mapping[str, int]) -> None:
        """Replace this process' counters (`dhcp_dropped{reason="dhcp-cookie"}` -> 12). Need not be durable."""

    def clear_counters(self) -> None:
        """Begin anew: the server starts."""

    def load_counters(self) -> dict[str, int]:
        """Summed over processes."""

    # -- the file itself ------------------------------------------------------
    def data_version(self) -> int:
        """Changes when another process has written. Cheap: a process polls it to know when to read again."""

    def probe(self, wait_s: float = 1.0) -> None:
        """Write something of no account. Raises UserError where the state cannot be written now, after twice `wait_s`
        at the latest."""

    def close(self) -> None: ...


class HistoryChange(Protocol):
    def __call__(self, history: History) -> History: ...


class MoveChange(Protocol):
    def __call__(self, old: History, new: History) -> tuple[History, History]: ...
