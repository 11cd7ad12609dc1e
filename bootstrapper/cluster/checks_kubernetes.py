"""Refusals about the cluster itself: its networks, its versions, its flags, its downloads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network

from bootstrapper.cluster import versions as v
from bootstrapper.cluster.checks_network import links
from bootstrapper.cluster.flags import refuse_flag
from bootstrapper.cluster.read import Path, Report, Values

NODE_ROLES = frozenset({"master", "worker", "ingress"})
"Machines with a kubelet, and so with a share of the pod network."


def nodes(machines: list[Values]) -> Iterator[tuple[int, Values]]:
    for index, machine in enumerate(machines):
        if NODE_ROLES & set(machine.get("roles") or ()):
            yield index, machine


def check_addressing(values: Values, machines: list[Values], report: Report) -> None:
    """Pods, services and hosts on networks of their own: none of them can be changed later."""
    kubernetes = values["kubernetes"]
    pods, services = kubernetes.get("pod_cidr"), kubernetes.get("service_cidr")
    hosts: dict[IPv4Network, str] = {}
    for link in links(values):
        if link.network is not None:
            hosts.setdefault(link.network, f"the machines' network {link.network}")
    for machine in machines:
        for interface in machine.get("interfaces") or ():
            for address in (interface or {}).get("addresses") or ():
                if address is not None:
                    network = IPv4Network(address, strict=False)
                    hosts.setdefault(network, f"the network {network} of an interface")
    for name, network in (("pod_cidr", pods), ("service_cidr", services)):
        for other, what in hosts.items():
            if network is not None and network.overlaps(other):
                report.add(("kubernetes", name), f"{network} overlaps {what}", LATER)
    if pods is not None and services is not None and pods.overlaps(services):
        report.add(("kubernetes", "service_cidr"), f"{services} overlaps the pods' network {pods}", LATER)


def check_node_blocks(values: Values, machines: list[Values], report: Report) -> None:
    """The pod network is cut into one block per node."""
    kubernetes = values["kubernetes"]
    pods, mask, most = kubernetes.get("pod_cidr"), kubernetes.get("node_cidr_mask"), kubernetes.get("max_pods")
    if pods is None or mask is None:
        return
    path: Path = ("kubernetes", "node_cidr_mask")
    if mask <= pods.prefixlen or mask - pods.prefixlen > 16:
        # the controller manager's range allocator keeps a bitmap of at most 2^16 blocks and refuses to start beyond
        low, high = pods.prefixlen + 1, min(30, pods.prefixlen + 16)
        report.add(path, f"expected a prefix length from {low} to {high} for the pod network {pods}, found {mask}")
        return
    blocks, needed = 1 << (mask - pods.prefixlen), sum(1 for _ in nodes(machines))
    if blocks < needed:
        message = f"{pods} has {blocks} blocks of /{mask}, expected at least {needed}: one for each node"
        report.add(("kubernetes", "pod_cidr"), message, LATER)
    usable = (1 << (32 - mask)) - 3  # the block's first and last address, and the bridge's
    if most is not None and usable < most:
        message = f"a block of /{mask} has {usable} addresses for pods, expected at least max_pods, {most}"
        report.add(path, message)


def check_services(values: Values, _machines: list[Values], report: Report) -> None:
    kubernetes = values["kubernetes"]
    services, dns = kubernetes.get("service_cidr"), kubernetes.get("dns_ip")
    if services is None:
        return
    if not 12 <= services.prefixlen <= 28:
        # kube-apiserver takes at most 2^20 service addresses; below /28 the DNS's tenth address would not fit
        message = f"expected a network of prefix length 12 to 28, found /{services.prefixlen}"
        report.add(("kubernetes", "service_cidr"), message)
        return
    path: Path = ("kubernetes", "dns_ip")
    if dns is None:
        return
    if dns not in services:
        report.add(path, f"expected an address in service_cidr {services}, found {dns}")
    elif int(dns) - int(services.network_address) < 2:
        report.add(path, f"{dns} is taken: the first address of {services} is the API's own service")


def check_backend(values: Values, machines: list[Values], report: Report) -> None:
    """host-gw sets routes to machines' addresses, which a router between them would not know."""
    flannel, network = values.get("flannel") or {}, values.get("network") or {}
    if flannel.get("backend") != "host-gw":
        return
    path: Path = ("flannel", "backend")
    own = network.get("subnet")
    for index, machine in nodes(machines):
        address = machine.get("ip")
        if address is not None and own is not None and address not in own:
            message = f"host-gw needs all nodes on one link: machines[{index}] with {address} is not in {own}"
            report.add(path, message, "use vxlan or wireguard")
            return
    ranged = [each for each in network.get("more_subnets") or () if each and each.get("range")]
    if ranged and any("ip" not in machine for _, machine in nodes(machines)):
        message = f"host-gw needs all nodes on one link: machines without `ip` may come up in {ranged[0]['subnet']}"
        report.add(path, message, "use vxlan or wireguard, or give every node an `ip`")


def check_versions(values: Values, machines: list[Values], report: Report) -> None:
    kubernetes = values["kubernetes"].get("version")
    etcd, containerd = (values.get("etcd") or {}).get("version"), (values.get("containerd") or {}).get("version")
    refusals: list[v.Refusal | None] = []
    if kubernetes is not None:
        refusals.append(v.refuse_kubernetes(kubernetes))
    if etcd is not None:
        refusals.append(v.refuse_etcd(etcd))
    known = kubernetes is not None and refusals[0] is None
    if known and containerd not in (None, "os"):
        refusals.append(v.refuse_containerd(kubernetes, containerd))
    seen: set[int] = set()
    top = values["os"]
    for path, os in [(("os",), top), *systems(values, machines)]:
        if id(os) in seen or None in (os.get(key) for key in ("family", "channel", "version", "provision")):
            continue
        seen.add(id(os))
        for found in v.refuse_os(os["family"], os["channel"], os["version"], os["provision"]):
            report.add((*path, found.key), found.message, found.hint)
    if known and containerd == "os":
        for _, machine in nodes(machines):
            if machine["os"].get("family") and machine["os"].get("version"):
                refusals.append(v.refuse_os_containerd(kubernetes, machine["os"]["family"], machine["os"]["version"]))
    for refusal in refusals:
        if refusal is not None:
            report.add(tuple(refusal.key.split(".")), refusal.message, refusal.hint)


def systems(values: Values, machines: list[Values]) -> Iterator[tuple[Path, Values]]:
    """Systems other than the file's own, with the place that makes them so."""
    written, profiles = values.get("machines") or (), values.get("profiles") or {}
    for index, machine in enumerate(machines):
        profile = machine.get("profile")
        if (written[index] or {}).get("os"):
            yield ("machines", index, "os"), machine["os"]
        elif profile and (profiles.get(profile) or {}).get("os"):
            yield ("profiles", profile, "os"), machine["os"]


def check_flags(values: Values, _machines: list[Values], report: Report) -> None:
    kubernetes = values["kubernetes"]
    used = dict.fromkeys(KUBERNETES_COMPONENTS, kubernetes.get("version") or "")
    used["etcd"] = (values.get("etcd") or {}).get("version") or ""
    for component, flags in (kubernetes.get("extra_args") or {}).items():
        for flag, value in (flags or {}).items():
            if value is not None and (fault := refuse_flag(component, flag, value, used)):
                report.add(("kubernetes", "extra_args", component, flag), fault.message, fault.hint)


def check_assets(values: Values, _machines: list[Values], report: Report) -> None:
    for name, asset in (values.get("assets") or {}).items():
        if asset and not {"sha256", "sha512", "signature"} & set(asset):
            report.add(("assets", name), "expected one of sha256, sha512 and signature: what proves the file genuine")
        url = (asset or {}).get("url")
        # Without a whole name the file is kept under the URL's last part, which assets.lock must be able to hold.
        if url is not None and "/" not in name and not FILE_NAME.fullmatch(last := url.rpartition("/")[2]):
            report.add(
                ("assets", name, "url"),
                f"expected a URL that ends in a file's name (letters, digits, . _ + -), found {last!r}",
                f"or write the file's whole name instead of {name}: COMPONENT/VERSION/ARCH/FILE",
            )


FILE_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*")
KUBERNETES_COMPONENTS = ("kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
LATER = "it cannot be changed once the cluster runs"
