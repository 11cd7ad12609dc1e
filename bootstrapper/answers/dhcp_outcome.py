"""What goes into a DHCP answer beside the packet, and what comes out. Tuples, since one of each is made per packet."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import NamedTuple

from bootstrapper.answers.dhcp_destination import Destination
from bootstrapper.answers.lease import Lease
from bootstrapper.boot.events import Event


class Arrival(NamedTuple):
    """How a datagram came in."""

    source: IPv4Address
    source_port: int
    local: IPv4Address
    "Our address on the receiving interface: the server identifier, and the next server."
    port: int
    "67 or 4011: where it was sent."
    broadcast: bool
    "Whether it was sent to a broadcast address."


class Reply(NamedTuple):
    payload: bytes
    "The UDP payload. It leaves from the port, and the interface, that the request came in on."
    to: Destination


class Seen(NamedTuple):
    """What a machine that is not in the description said about itself. The strings are cleaned: printable ASCII."""

    mac: str
    uuid: str
    arch: str
    "Firmware, in words (`UEFI x64`); empty for a running system."
    vendor_class: str
    host_name: str
    address: str
    "What it was offered; empty when nothing."


class Outcome(NamedTuple):
    """Everything one datagram leads to. At most one of `reply` and `drop` is set; both are empty for messages that
    are acted on and never answered (DECLINE, RELEASE)."""

    reply: Reply | None = None
    lease: Lease | None = None
    "Must be durable before `reply` is sent (design.md rule 4)."
    drop: str = ""
    "Why nothing is said: a constant, to be counted by."
    event: Event | None = None
    "One step of a known machine's boot."
    sighting: Seen | None = None
