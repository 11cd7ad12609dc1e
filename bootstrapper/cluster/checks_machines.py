"""Refusals about machines: who they are, what they do, and whether two of them are one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bootstrapper.cluster.checks_network import links
from bootstrapper.cluster.read import Path, Report, Values

OWN_NAME = "bootstrapper"
"This server's own host name in the cluster's domain."


def check_identity(_values: Values, machines: list[Values], report: Report) -> None:
    for index, machine in enumerate(machines):
        if "mac" not in machine and "macs" not in machine:
            report.add(("machines", index, "mac"), "required, but missing: expected a MAC address")


def check_roles(values: Values, machines: list[Values], report: Report) -> None:
    flannel = values.get("flannel") or {}
    complete = True
    found: set[str] = set()
    for index, machine in enumerate(machines):
        path: Path = ("machines", index)
        if "roles" not in machine:
            report.add((*path, "roles"), "required, but missing: expected a list of roles, here or on its profile")
        roles = machine.get("roles")
        if roles is None or None in roles:
            complete = False
            continue
        found.update(roles)
        if "ip" not in machine and (fixed := [role for role in ("etcd", "master") if role in roles]):
            message = f"required for {' and '.join(fixed)}, but missing: expected an IPv4 address"
            report.add((*path, "ip"), message, "others are told it, and it must outlive every lease")
        alone = "flannel" in roles and not {"master", "worker", "ingress"} & set(roles)
        if alone and flannel.get("datastore") == "kubernetes":
            message = "`flannel` alone needs flannel.datastore etcd: without a Node it has no share of the network"
            report.add((*path, "roles"), message, "add worker, or set flannel.datastore to etcd")
    for role, what in (("etcd", "no etcd member"), ("master", "no master")):
        if complete and machines and role not in found:
            report.add(("machines",), f"{what}: expected at least one machine with the role {role}")


def identities(machines: list[Values]) -> Iterator[tuple[str, Any, Path]]:
    """Everything that only one machine may have: (what it is, its value, where it stands)."""
    for index, machine in enumerate(machines):
        path: Path = ("machines", index)
        if mac := machine.get("mac"):
            yield "MAC", mac, (*path, "mac")
        for position, other in enumerate(machine.get("macs") or ()):
            if other is not None and other != mac:
                yield "MAC", other, (*path, "macs", position)
        if (address := machine.get("ip")) is not None:
            yield "address", str(address), (*path, "ip")
        if host := find_host(machine):
            yield "host name", host, (*path, "host")
        for name in ("uuid", "serial"):
            if value := machine.get(name):
                yield name, value, (*path, name)
        for position, interface in enumerate(machine.get("interfaces") or ()):
            for spot, address in enumerate((interface or {}).get("addresses") or ()):
                if address is not None:
                    where = (*path, "interfaces", position, "addresses", spot)
                    yield "address", address.partition("/")[0], where


def find_host(machine: Values) -> str | None:
    """The name the machine will have; None when it cannot be known."""
    if "host" in machine:
        return machine["host"]  # type: ignore[no-any-return]
    mac = machine.get("mac") or next(iter(machine.get("macs") or ()), None)
    return mac.replace(":", "-") if mac else None


def check_unique(_values: Values, machines: list[Values], report: Report) -> None:
    first: dict[tuple[str, Any], Path] = {}
    for what, value, path in identities(machines):
        other = first.setdefault((what, value), path)
        if other is not path:
            where = f"machines[{other[1]}]" if other[1] != path[1] else "the same machine"
            report.add(path, f"the {what} {value} is taken by {where} on line {report.line(other)}")


def check_names(values: Values, machines: list[Values], report: Report) -> None:
    """A name in the zone has one meaning: machines, this server, the API, extra records."""
    cluster, dns = values.get("cluster") or {}, (values.get("network") or {}).get("dns") or {}
    domain = cluster.get("domain")
    if domain is None:
        return
    taken = {f"{OWN_NAME}.{domain}": "this server's own name"}
    api = (values["kubernetes"].get("api") or {}).get("host")
    if api in taken:
        report.add(("kubernetes", "api", "host"), f"{api} is {taken[api]}")
    elif api:
        taken[api] = "the API's name (kubernetes.api.host)"
    for name in dns.get("records") or {}:
        full = name.removesuffix(".") if name.endswith(".") else f"{name}.{domain}"
        if full in taken:
            report.add(("network", "dns", "records", name), f"{full} is {taken[full]}")
        taken.setdefault(full, "a name in network.dns.records")
    for index, machine in enumerate(machines):
        full = f"{find_host(machine)}.{domain}"
        if full in taken:
            report.add(("machines", index, "host"), f"{full} is {taken[full]}")
    if domain == values["kubernetes"].get("dns_domain"):
        report.add(("kubernetes", "dns_domain"), f"{domain} is the machines' own domain (cluster.domain)")


def check_pool(values: Values, machines: list[Values], report: Report) -> None:
    """Machines without a fixed address need somewhere to get one."""
    network = values.get("network") or {}
    dhcp = network.get("dhcp") or {}
    mode = dhcp.get("mode")
    waiting = [index for index, machine in enumerate(machines) if "ip" not in machine]
    if mode == "reservations":
        for index in waiting:
            report.add(("machines", index, "ip"), "required with network.dhcp.mode reservations, but missing")
    if mode != "authoritative" or not waiting:
        return
    ranges = [link.range for link in links(values) if link.range is not None]
    if not ranges:
        if "range" in dhcp:
            return
        message = f"required, but missing: {len(waiting)} machines have no `ip` and there is no range to give one from"
        report.add(("network", "dhcp", "range"), message, "e.g. range: 10.10.14.100-10.10.14.199")
    elif (size := sum(len(each) for each in ranges)) < len(waiting):
        message = f"expected at least {len(waiting)} addresses, found {size}: each machine without `ip` needs one"
        report.add(("network", "dhcp", "range"), message)


def find_origin(values: Values, index: int, key: str) -> Path:
    """Where a key that profiles and the whole file may set was written for this machine."""
    written = (values.get("machines") or ())[index] or {}
    if key in written:
        return ("machines", index, key)
    profile = written.get("profile")
    if profile and key in ((values.get("profiles") or {}).get(profile) or {}):
        return ("profiles", profile, key)
    return (key,)


def check_disks(values: Values, machines: list[Values], report: Report) -> None:
    for index, machine in enumerate(machines):
        data = machine.get("data_disk")
        if data is None:
            continue
        if not data:
            report.add(
                find_origin(values, index, "data_disk"), "expected at least one of path, wwn, serial, model, size"
            )
        elif data == machine.get("disk"):
            report.add(
                find_origin(values, index, "data_disk"), "selects the same disk as `disk`, which is for the system"
            )


def check_interfaces(_values: Values, machines: list[Values], report: Report) -> None:
    for index, machine in enumerate(machines):
        names: set[str] = set()
        for position, interface in enumerate(machine.get("interfaces") or ()):
            path: Path = ("machines", index, "interfaces", position)
            name = (interface or {}).get("name")
            if not interface or name is None:
                continue
            if name in names:
                report.add((*path, "name"), f"the machine has two interfaces {name}")
            names.add(name)
            kind = interface.get("kind", next((its for key, its in INTERFACE_KEYS.items() if key in interface), None))
            for key, its in INTERFACE_KEYS.items():
                if kind is not None and key in interface and its != kind:
                    report.add((*path, key), f"only a {its} has `{key}`, and this is a {kind}")
            for key, needing in NEEDED_KEYS:
                if kind == needing and key not in interface:
                    report.add((*path, key), f"required for a {kind}, but missing")


def check_management(values: Values, machines: list[Values], report: Report) -> None:
    for index, machine in enumerate(machines):
        written = ((values.get("machines") or ())[index] or {}).get("bmc")
        if written is not None and "address" not in (machine.get("bmc") or {}):
            report.add(("machines", index, "bmc", "address"), "required, but missing: expected an address")


INTERFACE_KEYS = {"members": "bond", "bond_mode": "bond", "vlan_id": "vlan", "parent": "vlan"}
"Keys that only one kind of interface has."
NEEDED_KEYS = (("members", "bond"), ("vlan_id", "vlan"), ("parent", "vlan"))
