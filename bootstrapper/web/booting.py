"""A machine asks over HTTP what to boot: who asks, what `boot.decide` says, and the token when an install opens.

Nothing is decided here: `decide` says what the machine gets, `check_mint` whether this request may open it, and
`open_install` whether it was opened too often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from uuid import UUID

from bootstrapper.answers.leases import LeaseState
from bootstrapper.boot.adoption import find_life
from bootstrapper.boot.breaker import open_install
from bootstrapper.boot.decide import Action, Decision, decide
from bootstrapper.boot.firmware import Firmware, Kind, Stage, identify
from bootstrapper.boot.history import History
from bootstrapper.boot.minting import MintRefusal, build_token, check_mint
from bootstrapper.cluster.fields import Expected, parse_mac
from bootstrapper.cluster.model import Machine
from bootstrapper.pki.tokens import digest_token
from bootstrapper.web.parts import Parts


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, from the request. Every field was parsed; nothing of the client's own text is left."""

    mac: str
    uuid: UUID | None
    firmware: Firmware
    source: IPv4Address


@dataclass(frozen=True, slots=True)
class Boot:
    """What it gets."""

    decision: Decision
    machine: Machine | None
    "None: unknown, or asked for from an address that is not its own: the script then names no machine."
    token: str | None = None
    mac: str = ""
    "The machine's first MAC (or an unknown machine's), for the record."


def parse_asker(query: Mapping[str, str], source: IPv4Address) -> Asker | None:
    """None: the request names no machine."""
    try:
        mac = parse_mac(query.get("mac", "").strip())
    except Expected:
        return None
    return Asker(mac, _parse_uuid(query.get("uuid", "")), _parse_firmware(query), source)


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) <= 36 else None
    except ValueError:
        return None


def _parse_firmware(query: Mapping[str, str]) -> Firmware:
    """From `arch` (option 93's code, which we put into the URL ourselves) or iPXE's `platform` and `cpu`."""
    text = query.get("arch", "")
    if text.isascii() and text.isdecimal() and len(text) <= 5:
        return identify("", (int(text),), "iPXE", True)
    code = PLATFORMS.get((query.get("platform", ""), query.get("cpu", "")))
    if code is None:
        return Firmware(Kind.BIOS, Stage.IPXE)  # without a code: scripts ask iPXE itself where it matters
    return identify("", (code,), "iPXE", True)


def answer_boot(parts: Parts, asker: Asker, *, open_it: bool) -> Boot:
    """What `asker` gets. `open_it`: a GET, which opens an install and mints its token; a HEAD changes nothing."""
    cluster = parts.cluster()
    machine = cluster.by_mac.get(asker.mac)
    mac, history = find_life(machine, parts.store.find_history) if machine else (asker.mac, History())
    waiting = parts.find_waiting(machine.mac) if machine else ""
    decision = decide(machine, cluster.unknown_machines, asker.firmware, history, waiting)
    if machine is None:
        return Boot(decision, None, mac=mac)
    now = parts.now()
    leased = find_leased(parts, machine, now)
    named = machine if asker.source == machine.ip or asker.source in leased else None
    if decision.action is not Action.INSTALL:
        return Boot(decision if named else _conceal(decision), named, mac=machine.mac)
    refusal = check_mint(decision, machine, asker.source, leased, asker.uuid)
    if refusal is not None:
        return Boot(Decision(Action.REFUSE, str(refusal)), named, mac=machine.mac)
    if not open_it:
        return Boot(decision, machine, mac=machine.mac)
    history = parts.store.change_history(mac, lambda kept: open_install(kept, now))
    decision = decide(machine, cluster.unknown_machines, asker.firmware, history)
    if decision.action is not Action.INSTALL:
        return Boot(decision, machine, mac=machine.mac)
    token = parts.new_token()
    minted = build_token(digest_token(token), machine, asker.source, decision.generation, now, asker.uuid)
    parts.store.mint(replace(minted, mac=mac))
    return Boot(decision, machine, token, machine.mac)


def _conceal(decision: Decision) -> Decision:
    """What somebody at another address is told: no generation, no reason of a hold."""
    if decision.action is Action.REFUSE:
        return Decision(Action.REFUSE, str(MintRefusal.ADDRESS))
    return replace(decision, reason="", generation=0)


def find_leased(parts: Parts, machine: Machine, now: float) -> frozenset[IPv4Address]:
    """The addresses that the machine's MACs hold now."""
    leases = (parts.store.find_lease(mac) for mac in machine.macs)
    return frozenset(
        lease.address for lease in leases if lease and lease.state is LeaseState.BOUND and lease.expires_at > now
    )


PLATFORMS = {
    ("pcbios", "i386"): 0,
    ("pcbios", "x86_64"): 0,
    ("efi", "i386"): 6,
    ("efi", "x86_64"): 7,
    ("efi", "arm64"): 11,
}
"iPXE's `${platform}` and `${buildarch}` -> option 93's code."
