"""systemd-networkd's files for a machine: its boot card with the static address, and `interfaces:` beyond it.

The boot card is matched by its MAC and never by a name, which changes with the kernel and the slot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from bootstrapper.cluster.model import Cluster, Interface, Machine
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import Unit
from bootstrapper.templating import render


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """One `.network` file, as its sections' lines."""

    name: str
    match: tuple[str, ...]
    network: tuple[str, ...]
    link: tuple[str, ...] = field(default=())
    dhcp: bool = False


def build_network(cluster: Cluster, machine: Machine, context: Context) -> tuple[Unit, ...]:
    """The networkd files, as units whose names say so."""
    bonds = {member: bond.name for bond in machine.interfaces if bond.kind == "bond" for member in bond.members}
    files = [_boot_card(cluster, machine, context, bonds)]
    netdevs: list[Unit] = []
    described = {interface.mac for interface in machine.interfaces if interface.mac}
    for interface in machine.interfaces:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,14}", interface.name):
            raise RenderProblem(f"{machine.host}: {interface.name!r} cannot be an interface's name")
        if interface.kind in ("bond", "vlan"):
            netdevs.append(_netdev(interface))
        if interface.mac != machine.mac or interface.kind == "bond":
            files.append(_interface(cluster, machine, context, interface, bonds))
    named = {interface.name for interface in machine.interfaces}
    files += [_member(name, bond) for name, bond in bonds.items() if name not in named]
    # A second card of the same machine would be given the same address, since the reservation is the machine's.
    files += [_unused(index, mac) for index, mac in enumerate(machine.macs[1:], 1) if mac not in described]
    return (*netdevs, *(_unit(file, machine, context) for file in files))


def _unit(file: NetworkFile, machine: Machine, context: Context) -> Unit:
    for line in (*file.match, *file.link, *file.network):
        if not line.isprintable():
            raise RenderProblem(f"{machine.host}: {file.name}: {line!r} holds a control character")
    return Unit(file.name, render(context.environment, "nodes/base/network.j2", {"network": file}, machine.host))


def _by_mac(mac: str) -> tuple[str, ...]:
    # Bonds and VLANs take their parent's MAC; `Kind=!*` leaves only the card itself.
    return (f"MACAddress={mac}", "Type=ether", "Kind=!*")


def _boot_card(cluster: Cluster, machine: Machine, context: Context, bonds: dict[str, str]) -> NetworkFile:
    own = next((each for each in machine.interfaces if each.mac == machine.mac and each.kind == "physical"), None)
    match = _by_mac(machine.mac)
    if own is not None and own.name in bonds:
        return NetworkFile("10-boot.network", match, _bonded(bonds[own.name]))
    carried = _names_carried(machine, own.name if own else "")
    extra = _addresses(own) if own else ()
    link = _mtu(own) if own else ()
    if own is not None and own.gateway is not None:
        extra += (f"Gateway={own.gateway}",)
    main, dhcp = _main_address(cluster, machine, context, with_gateway=own is None or own.gateway is None)
    return NetworkFile("10-boot.network", match, (*main, *extra, *carried), link, dhcp)


def _main_address(
    cluster: Cluster, machine: Machine, context: Context, with_gateway: bool
) -> tuple[tuple[str, ...], bool]:
    """The machine's own address, static when it is known, else by DHCP; and whether it is by DHCP."""
    address = machine.ip or context.address
    names = (f"DNS={context.links.address}", f"Domains={cluster.domain}", *(f"NTP={each}" for each in _ntp(context)))
    if address is None:
        # Without an answer at renewal the address stays (rule 9); it is reserved for this machine on our side.
        return ("DHCP=ipv4", "KeepConfiguration=dhcp", *names), True
    subnet = cluster.network.find_subnet(address)
    prefix = subnet.network.prefixlen if subnet else 32
    routers = subnet.routers[:1] if subnet and with_gateway else ()
    return (f"Address={address}/{prefix}", *(f"Gateway={router}" for router in routers), *names), False


def _interface(
    cluster: Cluster, machine: Machine, context: Context, interface: Interface, bonds: dict[str, str]
) -> NetworkFile:
    match = _by_mac(interface.mac) if interface.mac and interface.kind == "physical" else (f"Name={interface.name}",)
    name = f"20-{interface.name}.network"
    if interface.name in bonds:
        return NetworkFile(name, match, _bonded(bonds[interface.name]), _mtu(interface))
    lines: tuple[str, ...] = _addresses(interface)
    if interface.gateway is not None:
        lines += (f"Gateway={interface.gateway}",)
    dhcp = False
    if interface.kind == "bond" and _carries_boot_card(machine, interface):
        main, dhcp = _main_address(cluster, machine, context, with_gateway=interface.gateway is None)
        own = f"Address={machine.ip or context.address}/"
        lines = (*main, *(line for line in lines if not line.startswith(own)))
    if not lines:
        lines = ("LinkLocalAddressing=no",)
    return NetworkFile(name, match, (*lines, *_names_carried(machine, interface.name)), _mtu(interface), dhcp)


def _carries_boot_card(machine: Machine, bond: Interface) -> bool:
    return any(each.mac == machine.mac and each.name in bond.members for each in machine.interfaces)


def _names_carried(machine: Machine, parent: str) -> tuple[str, ...]:
    """The VLANs on top of an interface: networkd wants them named in its parent's file."""
    return tuple(f"VLAN={each.name}" for each in machine.interfaces if each.kind == "vlan" and each.parent == parent)


def _member(name: str, bond: str) -> NetworkFile:
    return NetworkFile(f"20-{name}.network", (f"Name={name}",), _bonded(bond))


def _unused(index: int, mac: str) -> NetworkFile:
    return NetworkFile(
        f"30-unused{index}.network", _by_mac(mac), ("DHCP=no", "LinkLocalAddressing=no"), ("RequiredForOnline=no",)
    )


def _bonded(bond: str) -> tuple[str, ...]:
    return (f"Bond={bond}",)


def _addresses(interface: Interface) -> tuple[str, ...]:
    return tuple(f"Address={address}" for address in interface.addresses)


def _mtu(interface: Interface) -> tuple[str, ...]:
    return () if interface.mtu is None else (f"MTUBytes={interface.mtu}",)


def _netdev(interface: Interface) -> Unit:
    lines = ["[NetDev]", f"Name={interface.name}", f"Kind={interface.kind}"]
    lines += _mtu(interface)
    if interface.kind == "bond":
        # LACP answers only after its first exchange; a hash over ports uses both links between two machines.
        lines += ["", "[Bond]", f"Mode={interface.bond_mode or '802.3ad'}", "MIIMonitorSec=100ms"]
        lines += ["TransmitHashPolicy=layer3+4"] if (interface.bond_mode or "802.3ad") == "802.3ad" else []
    else:
        lines += ["", "[VLAN]", f"Id={interface.vlan_id}"]
    return Unit(f"20-{interface.name}.netdev", "\n".join(lines) + "\n")


def _ntp(context: Context) -> Iterable[str]:
    return find_time_servers(context.cluster, context.links.address)


def find_time_servers(cluster: Cluster, server: IPv4Address) -> tuple[str, ...]:
    """Whom machines ask for the time: us when we serve it, else what the file names."""
    return (str(server),) if cluster.network.ntp.serve else cluster.network.ntp.upstream
