"""Refusals about subnets, ranges, and the addresses that this server, routers, the API and machines have."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from bootstrapper.cluster.model import AddressRange
from bootstrapper.cluster.read import Path, Report, Values

OUR_PORTS = {53: "DNS", 80: "HTTP", 443: "HTTPS"}
"TCP ports of this server that the registry cannot have."


class Link(NamedTuple):
    """One subnet as written; any part may be missing or bad."""

    path: Path
    network: IPv4Network | None
    routers: tuple[IPv4Address | None, ...]
    range: AddressRange | None
    range_path: Path


def links(values: Values) -> Iterator[Link]:
    """Our own subnet first, then those behind relays."""
    network = values.get("network") or {}
    dhcp = network.get("dhcp") or {}
    yield Link(("network",), network.get("subnet"), network.get("routers") or (), dhcp.get("range"),
               ("network", "dhcp", "range"))  # fmt: skip
    for index, each in enumerate(network.get("more_subnets") or ()):
        path: Path = ("network", "more_subnets", index)
        if each:
            yield Link(path, each.get("subnet"), each.get("routers") or (), each.get("range"), (*path, "range"))


def check_subnet(values: Values, _machines: list[Values], report: Report) -> None:
    """Each subnet by itself: its size, its routers, its range, and this server on the first one."""
    network = values.get("network") or {}
    bootstrapper = network.get("bootstrapper")
    for index, link in enumerate(links(values)):
        if link.network is None:
            continue
        if not 8 <= link.network.prefixlen <= 30:
            message = f"expected a network of prefix length 8 to 30, found /{link.network.prefixlen}"
            report.add((*link.path, "subnet"), message)
            continue
        if index == 0 and bootstrapper is not None:
            _check_host(bootstrapper, link.network, ("network", "bootstrapper"), report)
        for position, router in enumerate(link.routers):
            if router is not None:
                _check_host(router, link.network, (*link.path, "routers", position), report)
        _check_range(link, bootstrapper, report)


def _check_host(address: IPv4Address, network: IPv4Network, path: Path, report: Report) -> bool:
    if address not in network:
        report.add(path, f"expected an address in {network}, found {address}")
        return False
    if address in (network.network_address, network.broadcast_address):
        which = "first" if address == network.network_address else "last"
        report.add(path, f"expected a host's address, found {address}, the {which} one of {network}")
        return False
    return True


def _check_range(link: Link, bootstrapper: IPv4Address | None, report: Report) -> None:
    if link.range is None or link.network is None:
        return
    first, last = link.network.network_address + 1, link.network.broadcast_address - 1
    if link.range.first < first or link.range.last > last:
        message = f"expected a range within {first}-{last}, found {link.range.first}-{link.range.last}"
        report.add(link.range_path, message)
        return
    taken = [(bootstrapper, "this server (network.bootstrapper)"), *((router, "a router") for router in link.routers)]
    for address, owner in taken:
        if address is not None and address in link.range:
            report.add(link.range_path, f"the range holds {address}, the address of {owner}")


def check_more_subnets(values: Values, _machines: list[Values], report: Report) -> None:
    seen: list[Link] = []
    for link in links(values):
        for other in seen:
            if link.network is not None and other.network is not None and link.network.overlaps(other.network):
                report.add((*link.path, "subnet"), f"{link.network} overlaps the subnet {other.network}")
        seen.append(link)


def check_api(values: Values, machines: list[Values], report: Report) -> None:
    """The virtual address is announced by ARP, so it must lie on the masters' own link, out of everybody's way."""
    network = values.get("network") or {}
    vip = (values["kubernetes"].get("api") or {}).get("vip")
    path: Path = ("kubernetes", "api", "vip")
    if vip is None:
        return
    usable = [link for link in links(values) if link.network is not None and link.network.prefixlen <= 30]
    home = next((link for link in usable if link.network is not None and vip in link.network), None)
    if home is None:
        if len(usable) == 1 + len(network.get("more_subnets") or ()):
            report.add(path, f"expected an address in {network['subnet']}, found {vip}")
        return
    assert home.network is not None
    if not _check_host(vip, home.network, path, report):
        return
    if vip == network.get("bootstrapper"):
        report.add(path, f"{vip} is this server's own address (network.bootstrapper)")
    if vip in home.routers:
        report.add(path, f"{vip} is a router's address")
    if home.range is not None and vip in home.range:
        report.add(path, f"{vip} lies inside the dynamic range {home.range.first}-{home.range.last}")
    for index, machine in enumerate(machines):
        address = machine.get("ip")
        if address is None or "master" not in (machine.get("roles") or ()):
            continue
        if any(link is not home and link.network is not None and address in link.network for link in usable):
            message = f"the virtual address {vip} must be on every master's network: {address} is not in {home.network}"
            report.add(path, message, f"leave api.vip out, or move machines[{index}]")


def check_fixed_addresses(values: Values, machines: list[Values], report: Report) -> None:
    """Machines' own addresses: in a subnet, outside its range, nobody else's."""
    network = values.get("network") or {}
    all_links = [link for link in links(values) if link.network is not None and link.network.prefixlen <= 30]
    complete = len(all_links) == 1 + len(network.get("more_subnets") or ())
    vip = (values["kubernetes"].get("api") or {}).get("vip")
    taken = {network.get("bootstrapper"): "this server's own address (network.bootstrapper)",
             vip: "the API's virtual address (kubernetes.api.vip)"}  # fmt: skip
    for link in all_links:
        taken.update(dict.fromkeys(link.routers, "a router's address"))
    subnets = " or ".join(str(link.network) for link in all_links)
    for index, machine in enumerate(machines):
        for position, interface in enumerate(machine.get("interfaces") or ()):
            for spot, written in enumerate((interface or {}).get("addresses") or ()):
                if written is not None and (other := IPv4Address(written.partition("/")[0])) in taken:
                    where = ("machines", index, "interfaces", position, "addresses", spot)
                    report.add(where, f"{other} is {taken[other]}")
        address = machine.get("ip")
        if address is None:
            continue
        path: Path = ("machines", index, "ip")
        if address in taken:
            report.add(path, f"{address} is {taken[address]}")
            continue
        home = next((link for link in all_links if link.network is not None and address in link.network), None)
        if home is None:
            if complete:
                report.add(path, f"expected an address in {subnets}, found {address}")
            continue
        assert home.network is not None
        if _check_host(address, home.network, path, report) and home.range is not None and address in home.range:
            message = f"{address} lies inside the dynamic range {home.range.first}-{home.range.last}"
            report.add(path, message, "choose one outside it, or leave `ip` out where it is not required")


def check_upstreams(values: Values, _machines: list[Values], report: Report) -> None:
    """A server that asks itself never gets an answer."""
    network = values.get("network") or {}
    bootstrapper = network.get("bootstrapper")
    for service in ("dns", "ntp"):
        for index, server in enumerate((network.get(service) or {}).get("upstream") or ()):
            if bootstrapper is not None and str(server) == str(bootstrapper):
                report.add(("network", service, "upstream", index), f"{server} is this server's own address")


def check_ports(values: Values, _machines: list[Values], report: Report) -> None:
    registry = values.get("registry") or {}
    if registry.get("serve") and (use := OUR_PORTS.get(registry.get("port") or 0)):
        report.add(("registry", "port"), f"port {registry['port']} is this server's own, for {use}")
