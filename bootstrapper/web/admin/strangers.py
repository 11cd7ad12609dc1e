"""Machines that asked and are not in the description: the list, and the lines that would put one into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bootstrapper.cluster.fields import Expected, parse_mac
from bootstrapper.cluster.model import Cluster
from bootstrapper.state.store import Sighting
from bootstrapper.web.admin.faults import Malformed, NotFound
from bootstrapper.web.admin.lines import add_machine, write_machine
from bootstrapper.web.admin.parts import AdminParts
from bootstrapper.web.admin.words import clean


class Strangers:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def list(self) -> list[dict[str, Any]]:
        """The latest seen first."""
        cluster = self._parts.cluster()
        known = cluster.by_mac
        hosts = name_hosts(cluster)
        seen = [each for each in self._parts.store.load_sightings() if each.mac not in known]
        return [self._show(each, next(hosts)) for each in seen]

    def _show(self, seen: Sighting, host: str) -> dict[str, Any]:
        return {
            "mac": seen.mac,
            "vendor": clean(seen.vendor, 100),
            "uuid": clean(seen.uuid, 36),
            "arch": clean(seen.arch, 60),
            "firmware": clean(seen.arch, 60),
            "address": clean(seen.address, 45),
            "first_at": seen.first_at,
            "last_at": seen.last_at,
            "count": seen.count,
            "lines": write_machine(seen.mac, host, ("worker",), ""),
        }

    def forget(self, mac: str) -> dict[str, Any]:
        seen = self._find(mac)
        self._parts.store.delete_sighting(seen.mac)
        return {"mac": seen.mac}

    def adopt(self, mac: str, host: str, roles: Sequence[str], ip: str, text: str) -> str:
        """`text` with the machine in it; a MAC that was never seen is as good."""
        try:
            wanted = parse_mac(mac)
        except Expected as error:
            raise Malformed(f"{clean(mac, 60)!r} is not a MAC", str(error)) from None
        if wanted in self._parts.cluster().by_mac:
            raise Malformed(
                f"{wanted} is in the description already", f"see {self._parts.cluster().by_mac[wanted].host}"
            )
        host = host or next(name_hosts(self._parts.cluster()))
        return add_machine(text, write_machine(wanted, host, tuple(roles) or ("worker",), ip))

    def _find(self, mac: str) -> Sighting:
        try:
            wanted = parse_mac(mac)
        except Expected as error:
            raise Malformed(f"{clean(mac, 60)!r} is not a MAC", str(error)) from None
        for each in self._parts.store.load_sightings():
            if each.mac == wanted:
                return each
        raise NotFound(f"no unknown machine {wanted} was seen")


def name_hosts(cluster: Cluster) -> Iterator[str]:
    """`node5`, `node6`, ...: those that are free."""
    number = len(cluster.machines)
    while True:
        number += 1
        if f"node{number}" not in cluster.by_host:
            yield f"node{number}"
