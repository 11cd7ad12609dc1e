"""Who gets a token: the rules for opening an install over HTTP, beside `decide` (design.md rule 3).

A token stands for "this machine, this generation, this boot, this address". It is minted only for a request that
comes from the address we ourselves gave to the machine.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from ipaddress import IPv4Address
from uuid import UUID

from bootstrapper.boot.claim import Token
from bootstrapper.boot.decide import Action, Decision
from bootstrapper.boot.uuids import NOBODYS
from bootstrapper.boot.uuids import same_uuid as same_uuid
from bootstrapper.cluster.model import Machine

TOKEN_LIFE_S = 6 * 3600.0
"""From the boot script to the claim: iPXE downloads the installer in it. A thousand machines fetch 450 GB of kernels
and initrds, an hour and a bit at 1 Gb/s, and twice that while those that came first fetch their images; a machine may
wait as long again for a slow disk or an admin. A shorter life keeps nobody out: while the install is open, whoever
has the machine's address is given a new token for the asking, and that ends this one."""


class MintRefusal(StrEnum):
    """For the console and the log; tells the asker nothing about the machine."""

    DECISION = "no install is open"
    ADDRESS = "this request does not come from the address leased to this MAC"
    UUID = "the description names another UUID for this MAC"


def check_mint(
    decision: Decision, machine: Machine, source: IPv4Address, leased: Collection[IPv4Address], uuid: UUID | None
) -> MintRefusal | None:
    """Whether a request from `source` opens the install that `decision` allows; None: it does.

    `leased` are the addresses that the machine's MACs hold now, beside its reserved one; `uuid` is the SMBIOS UUID
    that the request told, if any.
    """
    if decision.action is not Action.INSTALL:
        return MintRefusal.DECISION
    if source != machine.ip and source not in leased:
        return MintRefusal.ADDRESS
    if machine.uuid is not None and uuid is not None and not same_uuid(machine.uuid, uuid):
        return MintRefusal.UUID
    return None


def build_token(
    digest: str, machine: Machine, source: IPv4Address, generation: int, now: float, uuid: UUID | None = None
) -> Token:
    """`uuid` is what the request told; without one the token is bound to the description's, if that has one."""
    bound = machine.uuid or "" if uuid is None or uuid in NOBODYS else str(uuid)
    return Token(digest, machine.mac, source, generation, now, now + TOKEN_LIFE_S, uuid=bound)
