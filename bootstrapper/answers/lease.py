"""A lease: which address a MAC has, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address


class LeaseState(StrEnum):
    BOUND = "bound"
    RELEASED = "released"
    "Given back; the address is still kept for the MAC as long as nobody else needs it."
    DECLINED = "declined"
    "Somebody else was found using it; not given out until `expires_at`."


@dataclass(frozen=True, slots=True)
class Lease:
    address: IPv4Address
    mac: str
    "Of a machine in the description, its first MAC."
    expires_at: float
    "Wall clock, seconds."
    state: LeaseState = LeaseState.BOUND
