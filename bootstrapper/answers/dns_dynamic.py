"""Names that follow from an address: `ip-10-0-0-7.dyn.DOMAIN` for each address of a dynamic range, both ways.

They are computed, not stored: nothing changes when a lease comes or goes, and no client has a say in its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from bootstrapper.cluster.model import AddressRange, Cluster
from bootstrapper.wire.dns_names import labels_of, parse_text

_LABEL = re.compile(rb"ip-(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})")
_REVERSE = parse_text("in-addr.arpa")


@dataclass(frozen=True, slots=True)
class DynamicNames:
    domain: str
    "`dyn.DOMAIN`."
    ranges: tuple[AddressRange, ...]
    networks: tuple[IPv4Network, ...]

    def find_address(self, name: bytes) -> IPv4Address | None:
        """The address that a wire name below `domain` stands for."""
        match = _LABEL.fullmatch(labels_of(name)[0]) if name != b"\0" else None
        if match is None or name[1 + name[0] :] != parse_text(self.domain):
            return None
        address = _address(match.groups())
        return address if address is not None and self._covers(address) else None

    def find_name(self, name: bytes) -> str | None:
        """The name that a wire name below in-addr.arpa, of a whole address, leads to."""
        octets = _octets(name)
        address = _address(tuple(reversed(octets))) if len(octets) == 4 else None
        if address is None or not self._covers(address):
            return None
        return f"ip-{str(address).replace('.', '-')}.{self.domain}"

    def holds_below(self, name: bytes) -> bool:
        """Are there names below this one, which is none itself: a reverse name of one to three octets?"""
        octets = _octets(name)
        if not 0 < len(octets) < 4:
            return False
        filled = (*reversed(octets), *[b"0"] * (4 - len(octets)))
        address = _address(filled)
        if address is None:
            return False
        part = IPv4Network((int(address), 8 * len(octets)))
        return any(part.overlaps(network) for network in self.networks)

    def _covers(self, address: IPv4Address) -> bool:
        return any(address in part for part in self.ranges)


def dynamic_names(cluster: Cluster) -> DynamicNames:
    subnets = cluster.network.subnets
    ranges = tuple(subnet.range for subnet in subnets if subnet.range is not None)
    return DynamicNames(f"dyn.{cluster.domain}", ranges, tuple(subnet.network for subnet in subnets))


def _octets(name: bytes) -> tuple[bytes, ...]:
    """The labels before in-addr.arpa, as they stand; empty for another name."""
    return labels_of(name)[:-2] if name.endswith(_REVERSE) and len(name) > len(_REVERSE) else ()


def _address(octets: Iterable[bytes]) -> IPv4Address | None:
    """None as well for `010`: one address has one name."""
    try:
        return IPv4Address(b".".join(octets).decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        return None
