"""What follows from a description: machines with their addresses, endpoints, sizes and advice.

`plan` is for programs (only JSON's types), `text` the same for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from bootstrapper.cluster.model import Cluster, DhcpMode, DiskSelector, Machine, Role
from bootstrapper.cluster.sizes import ETCD_DISK, find_size
from bootstrapper.errors import Problem

Plan: TypeAlias = dict[str, Any]

FROM_POOL = "from the pool"
ELSEWHERE = "from another server"


def plan(cluster: Cluster, advice: Sequence[Problem] = ()) -> Plan:
    """`advice` is what `mirroring.list_advice` found: it knows of files and images too."""
    nodes = [machine for machine in cluster.machines if machine.roles & {Role.MASTER, Role.WORKER}]
    size = find_size(len(nodes))
    return {
        "cluster": {"name": cluster.name, "domain": cluster.domain},
        "versions": _versions(cluster),
        "network": _network(cluster),
        "endpoints": _endpoints(cluster),
        "sizes": {
            "machines": len(cluster.machines),
            "nodes": len(nodes),
            "masters": len(cluster.with_role(Role.MASTER)),
            "etcd_members": len(cluster.with_role(Role.ETCD)),
            "pod_blocks": 1 << (cluster.kubernetes.node_cidr_mask - cluster.kubernetes.pod_cidr.prefixlen),
            "pods_per_node": cluster.kubernetes.max_pods,
            "each_master": size.text,
            "each_etcd_disk": ETCD_DISK,
        },
        "machines": [_machine(cluster, machine) for machine in cluster.machines],
        "advice": [
            {"line": each.line, "path": each.path, "message": each.message, "hint": each.hint} for each in advice
        ],
    }


def text(found: Plan) -> str:
    """The plan in plain columns."""
    parts = [f"Cluster {found['cluster']['name']}, domain {found['cluster']['domain']}"]
    parts.append(_table("Machines", _machine_rows(found)))
    for title in ("endpoints", "network", "versions", "sizes"):
        rows = [[_label(name), _words(value)] for name, value in found[title].items() if value not in (None, [])]
        parts.append(_table(title.capitalize(), rows))
    advice = [[_advice_line(each)] for each in found["advice"]]
    parts.append(_table("Advice", advice or [["none"]]))
    return "\n\n".join(parts) + "\n"


def _versions(cluster: Cluster) -> dict[str, str]:
    return {
        "os": f"{cluster.os.family} {cluster.os.version} ({cluster.os.channel}, {cluster.os.provision})",
        "kubernetes": cluster.kubernetes.version,
        "etcd": cluster.etcd_version,
        "flannel": f"{cluster.flannel.version} ({cluster.flannel.backend}, kept in {cluster.flannel.datastore})",
        "containerd": "the system's own" if cluster.containerd_version == "os" else cluster.containerd_version,
    }


def _network(cluster: Cluster) -> dict[str, Any]:
    network, kubernetes = cluster.network, cluster.kubernetes
    return {
        "subnets": [str(subnet.network) for subnet in network.subnets],
        "ranges": [f"{subnet.range.first}-{subnet.range.last}" for subnet in network.subnets if subnet.range],
        "routers": [str(router) for subnet in network.subnets for router in subnet.routers],
        "dhcp": str(network.dhcp.mode),
        "lease_s": network.dhcp.lease_s,
        "unknown_machines": str(cluster.unknown_machines),
        "pods": f"{kubernetes.pod_cidr}, /{kubernetes.node_cidr_mask} for each node",
        "services": str(kubernetes.service_cidr),
    }


def _endpoints(cluster: Cluster) -> dict[str, Any]:
    api, own = cluster.kubernetes.api, str(cluster.network.bootstrapper)
    addresses, how = find_api_addresses(cluster)
    return {
        "bootstrapper": own,
        "api": f"https://{api.host}:{api.port}",
        "api_addresses": addresses,
        "api_reached_by": how,
        "etcd": [f"https://{machine.ip}:2379" for machine in cluster.with_role(Role.ETCD)],
        "cluster_dns": str(cluster.kubernetes.dns_ip),
        "dns": own,
        "ntp": own if cluster.network.ntp.serve else None,
        "registry": f"{own}:{cluster.registry.port}" if cluster.registry.serve else None,
    }


def find_api_addresses(cluster: Cluster) -> tuple[list[str], str]:
    """What `api.host` resolves to, and in which of the three ways the API is reached."""
    vip, masters = cluster.kubernetes.api.vip, cluster.with_role(Role.MASTER)
    if vip is not None:
        return [str(vip)], "a virtual address held by the masters"
    if len(masters) == 1:
        return [str(masters[0].ip)], "the master's own address"
    return [str(master.ip) for master in masters], "a local balancer on every node"


def _machine(cluster: Cluster, machine: Machine) -> dict[str, Any]:
    ours = cluster.network.dhcp.mode is DhcpMode.AUTHORITATIVE
    return {
        "host": machine.host,
        "fqdn": cluster.fqdn(machine),
        "macs": list(machine.macs),
        "address": str(machine.ip) if machine.ip else FROM_POOL if ours else ELSEWHERE,
        "fixed": machine.ip is not None,
        "roles": [role.value for role in Role if role in machine.roles],
        "profile": machine.profile,
        "os": f"{machine.os.family} {machine.os.version}",
        "arch": machine.arch.value,
        "disk": describe_disk(machine.disk),
        "data_disk": describe_disk(machine.data_disk) if machine.data_disk else None,
        "line": machine.line,
    }


def describe_disk(disk: DiskSelector) -> str:
    if disk == DiskSelector():
        return "the only non-removable disk"
    if disk.path:
        return disk.path
    parts: list[str] = [
        f"{name} {value}" for name in ("wwn", "serial", "model", "transport") if (value := getattr(disk, name))
    ]
    if disk.min_bytes is not None:
        parts.append(f"at least {_size(disk.min_bytes)}")
    if disk.max_bytes is not None:
        parts.append(f"at most {_size(disk.max_bytes)}")
    if disk.rotational is not None:
        parts.append("rotating" if disk.rotational else "not rotating")
    return ", ".join(parts)


def _size(count: int) -> str:
    for unit, name in _UNITS:
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} B"


def _machine_rows(found: Plan) -> Iterator[list[str]]:
    yield ["HOST", "ADDRESS", "ROLES", "MAC", "DISK"]
    for each in found["machines"]:
        more = len(each["macs"]) - 1
        mac = each["macs"][0] + (f" (+{more})" if more else "")
        yield [each["host"], each["address"], ",".join(each["roles"]), mac, each["disk"]]


def _table(title: str, rows: Iterator[list[str]] | Sequence[list[str]]) -> str:
    kept = list(rows)
    widths = [max(len(row[column]) for row in kept) for column in range(len(kept[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in kept]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _advice_line(each: dict[str, Any]) -> str:
    where = f"line {each['line']}, {each['path']}" if each["line"] else each["path"]
    hint = f" ({each['hint']})" if each["hint"] else ""
    return f"{where}: {each['message']}{hint}" if where else f"{each['message']}{hint}"


_LABELS = {"api": "API", "api_addresses": "API address", "api_reached_by": "API reached by", "dns": "DNS", "ntp": "NTP",
           "cluster_dns": "cluster DNS", "dhcp": "DHCP", "lease_s": "lease in seconds", "os": "OS"}  # fmt: skip
_UNITS = ((10**12, "TB"), (2**40, "TiB"), (10**9, "GB"), (2**30, "GiB"), (10**6, "MB"), (2**20, "MiB"))
