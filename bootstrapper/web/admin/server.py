"""The server itself: its status, and every certificate there is."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import find_overdue, find_state
from bootstrapper.cluster.model import Cluster, DhcpMode
from bootstrapper.pki.listing import list_rows
from bootstrapper.state.refused import load_refused
from bootstrapper.web.admin.parts import AdminParts


def list_services(cluster: Cluster) -> list[dict[str, Any]]:
    """What this server is, by the description: each service, and whether it is switched on."""
    dhcp = cluster.network.dhcp.mode is not DhcpMode.OFF
    on = {"dhcp": dhcp, "tftp": True, "http": True, "dns": True, "ntp": cluster.network.ntp.serve,
          "registry": cluster.registry.serve}  # fmt: skip
    return [{"name": name, "on": value} for name, value in on.items()]


class ServerView:
    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._started = parts.now()

    def status(self) -> dict[str, Any]:
        cluster, store = self._parts.cluster(), self._parts.store
        histories = store.load_histories()
        lives = [histories.get(machine.mac, History()) for machine in cluster.machines]
        states = Counter(find_state(life) for life in lives)
        kept, refused = store.load_description(), load_refused(store)
        return {
            "cluster": cluster.name,
            "domain": cluster.domain,
            "revision": kept[0] if kept else None,
            "description": str(self._parts.description),
            "refused": asdict(refused) if refused else None,
            "now": self._parts.now(),
            "since": self._started,
            "machines": len(cluster.machines),
            "states": {state.value: states.get(state, 0) for state in MachineState},
            "held": sum(bool(life.held) for life in lives),
            "overdue": sum(bool(find_overdue(life, self._parts.now())) for life in lives),
            "unknown": len(store.load_sightings()),
            "versions": {
                "kubernetes": cluster.kubernetes.version,
                "etcd": cluster.etcd_version,
                "flannel": cluster.flannel.version,
            },
            "services": list_services(cluster),
            **asdict(self._parts.facts),
        }

    def certificates(self) -> list[dict[str, Any]]:
        return [
            {
                "name": row.name,
                "machine": row.machine,
                "subject": row.subject,
                "names": list(row.names),
                "not_after": row.not_after.isoformat(),
                "days_left": row.days_left,
                "authority": row.authority,
                "key_here": row.key_here,
            }
            for row in list_rows(self._parts.state, self._parts.cluster(), self._parts.now())
        ]
