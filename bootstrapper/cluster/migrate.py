"""Sextant's flat file to ours, with a note for everything that is dropped, changed or still missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import pairwise
from typing import Any

from bootstrapper.cluster.fields import Expected, parse_domain, parse_duration, parse_host, parse_mac, parse_ssh_key
from bootstrapper.cluster.load import load
from bootstrapper.cluster.sextant import is_sextant, plain, why_dropped
from bootstrapper.cluster.versions import DEFAULT_VERSIONS
from bootstrapper.cluster.yamltext import NotYaml, parse_tree
from bootstrapper.errors import ClusterProblems, Problem, UserError


@dataclass(frozen=True, slots=True)
class Migration:
    text: str
    "Our file."
    notes: tuple[str, ...]
    "What was dropped or changed and why, and what the admin still has to add."


def migrate(text: str, file: str = "") -> Migration:
    """Raises ClusterProblems for what is not YAML, UserError for what is not Sextant's."""
    try:
        root = parse_tree(text)
    except NotYaml as error:
        found = error.problem
        raise ClusterProblems((Problem(found.line, "", found.message, found.hint, file),)) from None
    if not is_sextant(root):
        raise UserError(
            f"{file or 'the file'} is not a cluster-desc of k8sp/sextant", "`bootstrapper check` reads ours"
        )
    old = plain(root)
    assert isinstance(old, dict)
    work = _Work(old)
    sections = [section for make in SECTIONS for section in make(work)]
    for key in sorted(work.left()):
        work.note(key, f"dropped: {why_dropped(key)}")
    result = HEADER + "\n".join(sections) + "\n"
    try:
        load(result, "the new file")
    except ClusterProblems as error:
        work.notes.extend(f"to be put right: {problem.text()}" for problem in error.problems)
    return Migration(result, tuple(work.notes))


@dataclass
class _Work:
    """The old file while it is taken apart: a key that is taken is not reported as dropped."""

    old: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    range: tuple[int, int] | None = None

    def take(self, *path: str) -> Any:
        self.taken.add(".".join(path))
        value: Any = self.old
        for part in path:
            value = value.get(part, "") if isinstance(value, dict) else ""
        return value

    def text(self, *path: str) -> str:
        value = self.take(*path)
        return value if isinstance(value, str) else ""

    def items(self, *path: str) -> list[str]:
        value = self.take(*path)
        given = value if isinstance(value, list) else [value]
        return [item for item in given if isinstance(item, str) and item]

    def note(self, key: str, message: str) -> None:
        self.notes.append(f"{key}: {message}")

    def left(self) -> Iterator[str]:
        for key, value in self.old.items():
            if isinstance(value, dict):
                yield from (f"{key}.{name}" for name in value if f"{key}.{name}" not in self.taken)
            elif key not in self.taken:
                yield key

    def nodes(self) -> list[dict[str, Any]]:
        value = self.take("nodes")
        return [node for node in value if isinstance(node, dict)] if isinstance(value, list) else []


def _cluster(work: _Work) -> Iterator[str]:
    domain = work.text("domainname")
    try:
        name = parse_host(parse_domain(domain).partition(".")[0])
    except Expected:
        name = "cluster"
    work.note("cluster.name", f"new, set to {name}: Sextant had no name for the cluster")
    yield f"version: 1\ncluster: {{name: {name}, domain: {quote(domain)}}}\n"


def _network(work: _Work) -> Iterator[str]:
    subnet, netmask = work.text("subnet"), work.text("netmask")
    network = find_network(subnet, netmask)
    own, routers = work.text("bootstrapper"), work.items("routers")
    yield "network:"
    yield f"  subnet: {network or quote(f'{subnet}/{netmask}' if netmask else subnet)}"
    yield f"  bootstrapper: {quote(own)}"
    yield f"  routers: {flow(routers)}"
    low, high = find_address(work.text("iplow")), find_address(work.text("iphigh"))
    if network and low is not None and high is not None:
        taken = {int(found) for each in (own, *routers) if (found := find_address(each)) is not None}
        work.range = cut_range(work, network, int(low), int(high), taken)
    lease = _lease(work)
    yield "  dhcp:"
    if work.range:
        yield f"    range: {IPv4Address(work.range[0])}-{IPv4Address(work.range[1])}"
    yield f"    lease: {lease}"
    yield f"  dns: {{upstream: {flow(work.items('upstreamnameservers'))}{_records(work, own)}}}"
    yield f"  ntp: {{serve: {'false' if work.text('set_ntp').lower() in NO else 'true'}}}\n"


def cut_range(work: _Work, network: IPv4Network, low: int, high: int, taken: set[int]) -> tuple[int, int] | None:
    """The longest part of the old range that is ours to give, with room left outside it for fixed addresses."""
    first, last = int(network.network_address) + 1, int(network.broadcast_address) - 1
    edges = [max(low, first) - 1, *sorted(each for each in taken if low <= each <= high), min(high, last) + 1]
    spans = [(a + 1, b - 1) for a, b in pairwise(edges) if b - a > 1]
    if not spans:
        work.note("iplow", "dropped with iphigh: no address between them can be given")
        return None
    start, end = max(spans, key=lambda span: span[1] - span[0])
    outside = sum(1 for each in taken if first <= each <= last and not start <= each <= end)
    free = (last - first + 1) - (end - start + 1) - outside
    needed = sum(1 for node in work.nodes() if needs_address(node))
    if free < needed and end - start >= needed - free:
        end -= needed - free
    if (start, end) != (low, high):
        span = f"{IPv4Address(start)}-{IPv4Address(end)}"
        work.note("iplow", f"with iphigh cut to {span}: what is given must not hold fixed addresses")
    return start, end


def _lease(work: _Work) -> str:
    old = work.text("lease")
    lease = f"{old}s" if old.isdecimal() else old
    try:
        if 60 <= parse_duration(lease) <= 366 * 86400:
            return lease
    except Expected:
        pass
    if old:
        work.note("lease", f"{old} is now 12h: a lease must end; known machines keep their address all the same")
    return "12h"


def _records(work: _Work, own: str) -> str:
    name = work.text("dockerdomain")
    if not name:
        return ""
    work.note("dockerdomain", "kept as a name for this server; the registry is now reached by address and port")
    if name == "bootstrapper":
        return ""
    return f", records: {{{quote(name + '.' if '.' in name else name)}: {own}}}"


def _system(work: _Work) -> Iterator[str]:
    family, channel = work.text("os_name"), work.text("coreos_channel")
    if family and family.lower() not in ("coreos", "flatcar"):
        work.note("os_name", f"{family} is now flatcar, which follows CoreOS; see os.family for the others")
    elif family:
        work.note("os_name", "CoreOS has ended: flatcar follows it")
    if channel not in ("", "stable"):
        work.note("coreos_channel", f"{channel} is now stable, to fit the version below")
    if version := work.text("coreos_version"):
        work.note(
            "coreos_version", f"{version} is now {DEFAULT_VERSIONS['flatcar']}: versions are exact and still supported"
        )
    old = work.text("coreos", "reboot_strategy")
    strategy = "reboot" if old in ("reboot", "best-effort") else "off"
    if old not in ("", strategy):
        why = (
            "locksmith speaks only etcd v2, which is gone"
            if old == "etcd-lock"
            else "the strategies are off and reboot"
        )
        work.note("coreos.reboot_strategy", f"{old} is now {strategy}: {why}")
    updates = [f'strategy: "{strategy}"']
    start, length = work.text("coreos", "start_time"), work.text("coreos", "time_length")
    if start:
        updates.append(f"window_start: {quote(start)}")
    if length:
        updates.append(f"window_length: {quote(length)}")
    yield f"os:\n  family: flatcar\n  channel: stable\n  version: {DEFAULT_VERSIONS['flatcar']}"
    yield f"  updates: {{{', '.join(updates)}}}\n"


def _kubernetes(work: _Work) -> Iterator[str]:
    services, dns = work.text("k8s_service_cluster_ip_range"), work.text("k8s_cluster_dns")
    used = [found for each in (services, str(find_network(work.text("subnet"), work.text("netmask")))) if
            (found := find_network(each, "")) is not None]  # fmt: skip
    pods = next((each for each in POD_NETWORKS if not any(IPv4Network(each).overlaps(other) for other in used)), "")
    work.note("kubernetes.pod_cidr", f"new, set to {pods}: Sextant's file did not name the pods' network")
    if services:
        yield f"kubernetes:\n  pod_cidr: {pods}\n  service_cidr: {find_network(services, '') or quote(services)}"
    else:
        yield f"kubernetes:\n  pod_cidr: {pods}"
    if dns:
        yield f"  dns_ip: {quote(dns)}"
    for address in work.items("kube_master_ip"):
        work.note("kube_master_ip", f"{address} dropped: the API's certificate names the masters, the service and "
                  "kubernetes.api.vip, which is where a virtual address goes")  # fmt: skip
    backend = work.text("flannel_backend")
    yield f"flannel: {{backend: {quote(backend)}}}\n" if backend else ""


def _keys(work: _Work) -> Iterator[str]:
    value = work.take("ssh_authorized_keys")
    lines = value.splitlines() if isinstance(value, str) else [each for each in value if isinstance(each, str)]
    kept = []
    for line in lines:
        key = line.strip().removeprefix("- ").strip().strip("\"'").strip()
        if not key:
            continue
        try:
            kept.append(f"  - {quote(parse_ssh_key(key))}")
        except Expected as error:
            work.note("ssh_authorized_keys", f"dropped {key[:40]!r}...: expected {error.expectation}")
    yield "ssh_authorized_keys:\n" + "\n".join(kept) + "\n" if kept else "ssh_authorized_keys: []\n"


def _machines(work: _Work) -> Iterator[str]:
    nodes = work.nodes()
    osd = work.text("ceph", "zap_and_start_osd").lower() in YES
    if osd:
        work.note("ceph.zap_and_start_osd", "every machine has the role ceph-osd; no disk is erased by a setting: "
                  "`bootstrapper reinstall M --wipe` is the order for it, once")  # fmt: skip
    else:
        work.note("ceph.zap_and_start_osd", "no machine has the role ceph-osd")
    masters_only = all(is_yes(node, "kube_master") for node in nodes)
    free = free_addresses(work)
    yield "machines:"
    for index, node in enumerate(nodes):
        path = f"nodes[{index}]"
        parts = [f"mac: {_mac(work, path, node)}", *_host(work, path, node), *_address(work, path, node, free)]
        roles = find_roles(node, osd=osd, also_worker=masters_only)
        yield f"  - {{{', '.join([*parts, f'roles: {flow(roles)}'])}}}"
        for key in sorted(set(node) - NODE_KEYS):
            work.note(f"{path}.{key}", "dropped: there is no such key in our file")
    if any("flannel_iface" in node for node in nodes):
        work.note("nodes[].flannel_iface", "dropped: flannel takes the interface that has the machine's address")


def find_roles(node: dict[str, Any], *, osd: bool, also_worker: bool) -> list[str]:
    master = is_yes(node, "kube_master")
    wanted = (
        ("etcd", is_yes(node, "etcd_member")),
        ("master", master),
        ("worker", not master or also_worker),
        ("ingress", is_yes(node, "ingress_label")),
        ("ceph-mon", is_yes(node, "ceph_monitor")),
        ("ceph-osd", osd),
    )
    return [role for role, yes in wanted if yes]


def _mac(work: _Work, path: str, node: dict[str, Any]) -> str:
    return quote(str(node.get("mac", "")))


def _host(work: _Work, path: str, node: dict[str, Any]) -> Iterator[str]:
    """Sextant named machines by their MACs, as we do, unless told otherwise."""
    old = str(node.get("cur_host_name") or "")
    if not old:
        return
    host = re.sub(r"[^a-z0-9-]", "-", old.lower().partition(".")[0]).strip("-")
    if host != old:
        work.note(f"{path}.cur_host_name", f"{old} is now {host}: one label, in lower case")
    try:
        same = parse_mac(str(node.get("mac", ""))).replace(":", "-") == host
    except Expected:
        same = False
    if host and not same:
        yield f"host: {host}"


def _address(work: _Work, path: str, node: dict[str, Any], free: Iterator[IPv4Address]) -> Iterator[str]:
    """An etcd member or a master needs a fixed address, which Sextant's file did not give."""
    if old := node.get("ip"):
        yield f"ip: {quote(str(old))}"
    elif needs_address(node):
        address = next(free, None)
        if address is None:
            work.note(f"{path}.ip", "must be added: an etcd member or master needs one, and no address is free")
        else:
            work.note(f"{path}.ip", f"new, set to {address}: an etcd member or master needs a fixed address")
            yield f"ip: {address}"


def needs_address(node: dict[str, Any]) -> bool:
    return not node.get("ip") and (is_yes(node, "etcd_member") or is_yes(node, "kube_master"))


def free_addresses(work: _Work) -> Iterator[IPv4Address]:
    """Addresses outside the range that nobody has: behind the range first, then before it."""
    network = find_network(work.text("subnet"), work.text("netmask"))
    if network is None:
        return
    taken = {work.text("bootstrapper"), *work.items("routers"), *work.items("nameservers")}
    taken.update(str(node.get("ip", "")) for node in work.nodes())
    low, high = work.range or (int(network.network_address), int(network.network_address))
    spans = ((high + 1, int(network.broadcast_address)), (int(network.network_address) + 1, low))
    for start, end in spans:
        for number in range(start, end):
            if str(IPv4Address(number)) not in taken:
                yield IPv4Address(number)


def find_network(subnet: str, netmask: str) -> IPv4Network | None:
    try:
        return IPv4Network(f"{subnet}/{netmask}" if netmask else subnet, strict=False)
    except ValueError:
        return None


def find_address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


def is_yes(node: dict[str, Any], key: str) -> bool:
    return str(node.get(key, "")).lower() in YES


def quote(text: str) -> str:
    """Plain where YAML reads it back as it stands, in double quotes (JSON's are YAML's) otherwise."""
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9./_-]*", text) else json.dumps(text, ensure_ascii=True)


def flow(items: list[str]) -> str:
    return f"[{', '.join(quote(item) for item in items)}]"


YES, NO = frozenset({"y", "yes", "true", "on", "1"}), frozenset({"n", "no", "false", "off", "0"})
NODE_KEYS = frozenset({"mac", "ip", "cur_host_name", "kube_master", "etcd_member", "ceph_monitor", "ingress_label",
                       "flannel_iface"})  # fmt: skip
POD_NETWORKS = ("10.244.0.0/16", "10.48.0.0/16", "172.28.0.0/16")
SECTIONS = (_cluster, _network, _system, _kubernetes, _keys, _machines)
HEADER = "# Made from a cluster-desc of k8sp/sextant by `bootstrapper migrate`.\n"
