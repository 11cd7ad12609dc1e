"""Everything that must survive a restart, behind one small interface.

SQLite stands behind it today (`state.sqlite`); a shared engine may take its place when several bootstrappers serve
one site. Each process opens its own Store. Every method is one transaction, durable when it returns, unless its
docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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

    # -- machines -------------------------------------------------------------
    def load_histories(self) -> dict[str, History]:
        """By first MAC; a machine without a row has `History()`."""

    def changed_histories(self, after: int) -> tuple[int, dict[str, History]]:
        """What was written since mark `after` (0: everything), and the mark to ask with next time."""

    def find_history(self, mac: str) -> History: ...

    def save_history(self, mac: str, history: History) -> None: ...

    def change_history(self, mac: str, change: HistoryChange) -> History:
        """Read, change and write in one transaction; returns the new value."""

    # -- claims ---------------------------------------------------------------
    def mint(self, token: Token) -> None:
        """Keep a new token; earlier unsealed ones of the same MAC no longer claim: a newer boot took their place.

        The latest 20 of a machine are kept, and the latest 20 that were claimed (an installed system reports by its).
        """

    def find_token(self, digest: str) -> Token | None: ...

    def redeem(self, digest: str, address: IPv4Address, now: float) -> Token | ClaimRefusal:
        """Claim the configuration: check and mark in one transaction, by the rules of `boot.claim`."""

    def seal(self, mac: str) -> None:
        """No token of this machine ever claims again (its install was reported done)."""

    # -- what was seen --------------------------------------------------------
    def add_events(self, events: Sequence[Event]) -> None:
        """Append; the oldest beyond 1,000 of a machine (and 100,000 in all) are forgotten."""

    def events(self, mac: str | None = None, after: int = 0, limit: int = 1000) -> list[tuple[int, Event]]:
        """(id, event), oldest first; `after` is the last id already seen."""

    def save_sightings(self, sightings: Sequence[Sighting]) -> None:
        """At most 10,000 are kept; the longest unseen go first."""

    def load_sightings(self) -> list[Sighting]: ...

    def delete_sighting(self, mac: str) -> None: ...

    # -- the description ------------------------------------------------------
    def save_description(self, text: str, at: float) -> int:
        """Keep a description that was checked and is now in force; returns its revision (1, 2, ...).

        The text that is in force already keeps its revision. The latest 20 are kept.
        """

    def load_description(self) -> tuple[int, str] | None:
        """(revision, text) of the last good one."""

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

    def close(self) -> None: ...


class HistoryChange(Protocol):
    def __call__(self, history: History) -> History: ...
