"""What is allowed but seldom meant. Nothing here stops anything.

`today` is an argument: whether a version's support has ended depends on it; without it, nothing is said of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import NamedTuple

from bootstrapper.cluster.model import Cluster, DhcpMode, Machine, Role, UnknownPolicy
from bootstrapper.cluster.sizes import find_size
from bootstrapper.cluster.versions import find_end_of_life
from bootstrapper.errors import Problem


class Advice(NamedTuple):
    path: str
    message: str
    hint: str = ""


def advise(cluster: Cluster, today: date | None = None) -> tuple[Problem, ...]:
    """All advice, in the order of the file."""
    found = [advice for rule in RULES for advice in rule(cluster)]
    if today is not None:
        found.extend(_ended_support(cluster, today))
    lines = {f"machines[{index}]": machine.line for index, machine in enumerate(cluster.machines)}
    return tuple(sorted(
        Problem(_find_line(advice.path, lines, cluster), *advice, cluster.file) for advice in found
    ))  # fmt: skip


def _find_line(path: str, machines: dict[str, int], cluster: Cluster) -> int:
    """The key's line, or that of the nearest key around it that is written."""
    if path.startswith("machines["):
        return machines.get(path[: path.index("]") + 1], 0)
    while path and path not in cluster.lines:
        path = path.rpartition(".")[0]
    return cluster.lines.get(path, 1 if cluster.lines else 0)


def _etcd_members(cluster: Cluster) -> Iterator[Advice]:
    count = len(cluster.with_role(Role.ETCD))
    if count == 1:
        yield Advice("machines", "one etcd member: when its disk is lost, the cluster is", "three outlive one")
    elif count % 2 == 0:
        message = f"{count} etcd members: an even number bears no more failures than {count - 1}"
        yield Advice("machines", message, "use 3" if count == 2 else f"use {count - 1} or {count + 1}")
    elif count > 7:
        yield Advice("machines", f"{count} etcd members: every write waits for most of them", "five are plenty")


def _masters(cluster: Cluster) -> Iterator[Advice]:
    masters = cluster.with_role(Role.MASTER)
    if len(masters) > 1 and cluster.kubernetes.api.vip is None:
        message = f"{len(masters)} masters and no virtual address: every node runs a local balancer to reach the API, "
        yield Advice("kubernetes.api", message + "and nothing outside the cluster fails over",
                     "set kubernetes.api.vip to a free address of the masters' network")  # fmt: skip
    size = find_size(sum(1 for _ in _nodes(cluster)))
    for index, machine in enumerate(cluster.machines):
        if Role.MASTER in machine.roles:
            cpus, memory = machine.hardware.cpus, machine.hardware.memory_bytes
            # a machine sold as 16 GB shows a little less, so a tenth is forgiven
            if (cpus is not None and cpus < size.cpus) or (memory is not None and memory < size.memory_bytes * 9 // 10):
                message = f"a small master: for {size.nodes} nodes it should have {size.text}"
                yield Advice(f"machines[{index}].hardware", message)


def _nodes(cluster: Cluster) -> Iterator[Machine]:
    return (machine for machine in cluster.machines if machine.roles & {Role.MASTER, Role.WORKER})


def _proxy(cluster: Cluster) -> Iterator[Advice]:
    if cluster.kubernetes.proxy_mode == "ipvs":
        yield Advice("kubernetes.proxy_mode", "ipvs is deprecated since Kubernetes 1.35", "use nftables")


def _backend(cluster: Cluster) -> Iterator[Advice]:
    if cluster.flannel.backend == "udp":
        yield Advice("flannel.backend", "udp is slow and meant for debugging", "use vxlan, or host-gw on one link")


def _lease(cluster: Cluster) -> Iterator[Advice]:
    """A range bears one new machine an hour when its spare addresses last, in hours, longer than a lease."""
    dhcp, ranges = cluster.network.dhcp, [subnet.range for subnet in cluster.network.subnets if subnet.range]
    if dhcp.mode is not DhcpMode.AUTHORITATIVE or not ranges:
        return
    spare = sum(len(each) for each in ranges) - sum(1 for machine in cluster.machines if machine.ip is None)
    hours = dhcp.lease_s // 3600
    if hours > max(spare, 0):
        message = f"a lease of {hours} hours is long for {spare} spare addresses: "
        yield Advice("network.dhcp.lease", message + "with a new machine each hour they run out",
                     "shorten the lease, or widen the range")  # fmt: skip


def _unused_range(cluster: Cluster) -> Iterator[Advice]:
    mode = cluster.network.dhcp.mode
    if cluster.network.link.range is not None and mode is not DhcpMode.AUTHORITATIVE:
        yield Advice("network.dhcp.range", f"not used with mode {mode}: no address is given from a range")


def _records(cluster: Cluster) -> Iterator[Advice]:
    for name, address in cluster.network.dns.records.items():
        if any(subnet.range and address in subnet.range for subnet in cluster.network.subnets):
            message = f"{address} lies inside the dynamic range: a machine may be given it"
            yield Advice(f"network.dns.records.{name}", message, "give it an address outside the range")


def _unknown(cluster: Cluster) -> Iterator[Advice]:
    network = cluster.network
    ranges = [subnet.range for subnet in network.subnets if subnet.range]
    if (
        cluster.unknown_machines is not UnknownPolicy.IGNORE
        and network.dhcp.mode is DhcpMode.AUTHORITATIVE
        and not ranges
    ):
        message = (
            f"{cluster.unknown_machines} gives unknown machines an address, and there is no range to give one from"
        )
        yield Advice("unknown_machines", message, "set network.dhcp.range")


def _domain(cluster: Cluster) -> Iterator[Advice]:
    last = cluster.domain.rpartition(".")[2]
    if last == "local":
        message = f"{cluster.domain}: names in .local are asked for by multicast DNS (RFC 6762), not of this server"
        yield Advice("cluster.domain", message, "a name in .internal is free for private use")
    elif last not in PRIVATE_DOMAINS and not cluster.domain.endswith("home.arpa"):
        message = f"{cluster.domain} is a public domain: on this network, we alone answer for all names in it"
        yield Advice("cluster.domain", message, "use a subdomain that is nowhere else, or one in .internal")


def _keys(cluster: Cluster) -> Iterator[Advice]:
    if not cluster.ssh_authorized_keys:
        yield Advice("ssh_authorized_keys", "no SSH key: nobody can log in to a machine to see why it is stuck")


def _disks(cluster: Cluster) -> Iterator[Advice]:
    for index, machine in enumerate(cluster.machines):
        for name, disk in (("disk", machine.disk), ("data_disk", machine.data_disk)):
            if disk and disk.path and disk.path.startswith(UNSTABLE):
                message = f"{disk.path} may be another disk at the next boot"
                yield Advice(f"machines[{index}].{name}", message, "use /dev/disk/by-id, or a wwn or serial")


def _routers(cluster: Cluster) -> Iterator[Advice]:
    if not cluster.network.link.routers and (cluster.network.dns.upstream or cluster.network.more_subnets):
        yield Advice("network.routers", "no router: machines reach nothing beyond their own subnet")

    if cluster.network.bootstrapper in cluster.network.link.routers:
        message = "this server is a router: while it is off, machines reach nothing beyond their own subnet"
        yield Advice("network.routers", message)


def _ended_support(cluster: Cluster, today: date) -> Iterator[Advice]:
    used = [("kubernetes", "kubernetes.version", cluster.kubernetes.version),
            ("etcd", "etcd.version", cluster.etcd_version)]  # fmt: skip
    if cluster.containerd_version != "os":
        used.append(("containerd", "containerd.version", cluster.containerd_version))
    for program, path, version in used:
        end = find_end_of_life(program, version)
        if end is not None and end < today:
            yield Advice(path, f"{program} {version} is past its end of life, {end.isoformat()}", "use a newer minor")


UNSTABLE = ("/dev/sd", "/dev/nvme", "/dev/vd", "/dev/hd")
PRIVATE_DOMAINS = ("internal", "lan", "home", "corp", "intranet", "private", "test", "example", "invalid", "localhost")
RULES: tuple[Callable[[Cluster], Iterator[Advice]], ...] = (
    _etcd_members, _masters, _proxy, _backend, _lease, _unused_range, _records, _unknown, _domain, _keys, _disks,
    _routers,
)  # fmt: skip
