"""Rows of the database <-> values. Column order is that of `schema.MIGRATIONS`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any

from bootstrapper.answers.leases import Lease, LeaseState
from bootstrapper.boot.claim import Token
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.tail import plain
from bootstrapper.state.store import AuditEntry, Sighting

Row = Sequence[Any]
"What SQLite hands out; its columns' types are those of the schema."

LEASE = "address, mac, expires_at, state"
HISTORY = (
    "mac, wanted, done, state, state_at, held, approved, opened_at, reason, wipe, booted_at, forgotten, begun, "
    "order_id, plan, changed"
)
TOKEN = "digest, mac, address, generation, minted_at, expires_at, redeemed_at, claims, sealed, uuid, failed, plan"  # noqa: S105
EVENT = "at, mac, service, step, detail, level, more"
AUDIT = "at, who, action, mac, detail, refused"
AUDIT_CHARACTERS = 2000
ERRAND = "id, at, kind, mac, host"
SIGHTING = "mac, first_at, last_at, count, vendor, uuid, arch, address, vendor_class, host_name"


def build_lease(lease: Lease) -> Row:
    # The state is a str already; its `.value` would cost as much as all the rest.
    return (int(lease.address), lease.mac, lease.expires_at, lease.state)


def parse_lease(row: Row) -> Lease:
    address, mac, expires_at, state = row
    return Lease(IPv4Address(address), mac, expires_at, LeaseState(state))


def build_history(mac: str, history: History, changed: int) -> Row:
    return (
        mac,
        history.wanted,
        history.done,
        history.state.value,
        history.state_at,
        clean(history.held),
        int(history.approved),
        json.dumps(history.opened_at),
        clean(history.reason),
        int(history.wipe),
        history.booted_at,
        int(history.forgotten),
        int(history.begun),
        history.order_id,
        clean(history.plan),
        changed,
    )


def parse_history(row: Row) -> History:
    _, wanted, done, state, state_at, held, approved, opened, reason, wipe, booted_at, *rest = row
    forgotten, begun, order_id, plan, _ = rest
    return History(
        wanted=wanted,
        done=done,
        state=MachineState(state),
        state_at=state_at,
        held=held,
        approved=bool(approved),
        opened_at=tuple(json.loads(opened)),
        reason=reason,
        wipe=bool(wipe),
        booted_at=booted_at,
        forgotten=bool(forgotten),
        begun=bool(begun),
        order_id=order_id,
        plan=plan,
    )


def build_token(token: Token) -> Row:
    return (
        token.digest,
        token.mac,
        int(token.address),
        token.generation,
        token.minted_at,
        token.expires_at,
        token.redeemed_at,
        token.claims,
        int(token.sealed),
        clean(token.uuid),
        int(token.failed),
        clean(token.plan),
    )


def parse_token(row: Row) -> Token:
    digest, mac, address, generation, minted_at, expires_at, redeemed_at, claims, sealed, uuid, failed, plan = row
    return Token(
        digest, mac, IPv4Address(address), generation, minted_at, expires_at, redeemed_at, claims, bool(sealed), uuid,
        bool(failed), plan,
    )  # fmt: skip


def build_event(event: Event) -> Row:
    # Whoever made the event has cleaned its detail; no path may forget it.
    detail, step = plain(clean(event.detail)), plain(clean(event.step))
    return (event.at, event.mac, event.service, step, detail, event.level, clean(event.more))


def parse_event(row: Row) -> Event:
    return Event(*row)


def build_sighting(seen: Sighting) -> Row:
    return (
        seen.mac,
        seen.first_at,
        seen.last_at,
        seen.count,
        clean(seen.vendor),
        clean(seen.uuid),
        clean(seen.arch),
        clean(seen.address),
        clean(seen.vendor_class),
        clean(seen.host_name),
    )


def parse_sighting(row: Row) -> Sighting:
    return Sighting(*row)


def build_audit(entry: AuditEntry) -> Row:
    detail = clean(entry.detail[:AUDIT_CHARACTERS])
    return (entry.at, clean(entry.who), clean(entry.action), clean(entry.mac), detail, int(entry.refused))


def parse_audit(row: Row) -> AuditEntry:
    at, who, action, mac, detail, refused = row
    return AuditEntry(at, who, action, mac, detail, bool(refused))


def clean(text: str) -> str:
    """Text that SQLite takes: lone surrogates, which a client's bytes may leave behind, become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=64)
def values_clause(columns: int, rows: int) -> str:
    """`VALUES (?, ?), (?, ?)`: many rows in one statement.

    `executemany` would take and give back Python's one lock at every row, and with a busy loop in another thread
    each of these waits for a whole time slice; one statement does the writing of all rows without the lock.
    """
    return "VALUES " + ", ".join(["(" + ", ".join("?" * columns) + ")"] * rows)
