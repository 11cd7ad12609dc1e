from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from bootstrapper.cluster.model import Cluster, Interface, Machine
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.network import build_network


def files(cluster: Cluster, machine: Machine, context: Context) -> dict[str, list[str]]:
    """Name -> the file's lines, without empty ones."""
    units = build_network(cluster, machine, context)
    return {unit.name: [line for line in (unit.content or "").splitlines() if line] for unit in units}


def interface(name: str, kind: str, **fields: object) -> Interface:
    empty = Interface(name, kind, None, (), None, None, None, (), None, None)
    return replace(empty, **fields)  # type: ignore[arg-type]


NAMES = ["DNS=10.10.14.253", "Domains=prod.example.com", "NTP=10.10.14.253"]
CARD = ["[Match]", "MACAddress=00:25:90:c0:f7:80", "Type=ether", "Kind=!*"]


def test_a_fixed_address_is_static(cluster: Cluster, context: Context) -> None:
    assert files(cluster, cluster.machines[0], context) == {
        "10-boot.network": [*CARD, "[Network]", "Address=10.10.14.11/24", "Gateway=10.10.14.254", *NAMES]
    }


def test_a_leased_address_is_static_once_it_is_known(cluster: Cluster, context: Context) -> None:
    worker = cluster.machines[2]
    by_dhcp = files(cluster, worker, context)["10-boot.network"]
    assert by_dhcp[4:] == [
        "[Network]",
        "DHCP=ipv4",
        "KeepConfiguration=dhcp",
        *NAMES,
        "[DHCPv4]",
        "ClientIdentifier=mac",
    ]
    known = files(cluster, worker, replace(context, address=IPv4Address("10.10.14.107")))["10-boot.network"]
    assert known[4:] == ["[Network]", "Address=10.10.14.107/24", "Gateway=10.10.14.254", *NAMES]


def test_a_second_card_does_not_take_the_same_address(cluster: Cluster, context: Context) -> None:
    machine = replace(cluster.machines[0], macs=("00:25:90:c0:f7:80", "00:25:90:c0:f7:81"))
    made = files(cluster, machine, context)
    assert made["30-unused1.network"] == [
        "[Match]", "MACAddress=00:25:90:c0:f7:81", "Type=ether", "Kind=!*",
        "[Link]", "RequiredForOnline=no", "[Network]", "DHCP=no", "LinkLocalAddressing=no",
    ]  # fmt: skip


def test_a_bonded_storage_network_beside_the_boot_card(cluster: Cluster, context: Context) -> None:
    machine = replace(
        cluster.machines[0],
        interfaces=(
            interface("ens1", "physical", mac="00:25:90:c0:f6:da", mtu=9000),
            interface("bond0", "bond", members=("ens1", "ens2"), mtu=9000),
            interface("storage", "vlan", vlan_id=20, parent="bond0", addresses=("10.20.0.16/24",), mtu=9000),
        ),
    )
    made = files(cluster, machine, context)
    assert list(made) == [
        "20-bond0.netdev", "20-storage.netdev", "10-boot.network", "20-ens1.network", "20-bond0.network",
        "20-storage.network", "20-ens2.network",
    ]  # fmt: skip
    assert made["20-bond0.netdev"] == [
        "[NetDev]", "Name=bond0", "Kind=bond", "MTUBytes=9000",
        "[Bond]", "Mode=802.3ad", "MIIMonitorSec=100ms", "TransmitHashPolicy=layer3+4",
    ]  # fmt: skip
    assert made["20-storage.netdev"] == ["[NetDev]", "Name=storage", "Kind=vlan", "MTUBytes=9000", "[VLAN]", "Id=20"]
    assert made["20-ens1.network"] == [
        "[Match]", "MACAddress=00:25:90:c0:f6:da", "Type=ether", "Kind=!*",
        "[Link]", "MTUBytes=9000", "[Network]", "Bond=bond0",
    ]  # fmt: skip
    assert made["20-ens2.network"] == ["[Match]", "Name=ens2", "[Network]", "Bond=bond0"]
    assert made["20-bond0.network"][-3:] == ["[Network]", "LinkLocalAddressing=no", "VLAN=storage"]
    assert made["20-storage.network"] == [
        "[Match]", "Name=storage", "[Link]", "MTUBytes=9000", "[Network]", "Address=10.20.0.16/24",
    ]  # fmt: skip


def test_a_bonded_boot_card_gives_its_address_to_the_bond(cluster: Cluster, context: Context) -> None:
    machine = replace(
        cluster.machines[0],
        interfaces=(
            interface("eno1", "physical", mac="00:25:90:c0:f7:80"),
            interface("bond0", "bond", members=("eno1", "eno2"), bond_mode="active-backup"),
        ),
    )
    made = files(cluster, machine, context)
    assert made["10-boot.network"] == [*CARD, "[Network]", "Bond=bond0"]
    assert "TransmitHashPolicy=layer3+4" not in made["20-bond0.netdev"]
    assert made["20-bond0.network"] == [
        "[Match]", "Name=bond0", "[Network]", "Address=10.10.14.11/24", "Gateway=10.10.14.254", *NAMES,
    ]  # fmt: skip


def test_a_vlan_on_the_boot_card_is_named_in_its_file(cluster: Cluster, context: Context) -> None:
    machine = replace(
        cluster.machines[0],
        interfaces=(
            interface("eno1", "physical", mac="00:25:90:c0:f7:80", mtu=9000),
            interface("v20", "vlan", vlan_id=20, parent="eno1", addresses=("10.20.0.1/24",)),
        ),
    )
    made = files(cluster, machine, context)
    assert made["10-boot.network"][4:6] == ["[Link]", "MTUBytes=9000"]
    assert made["10-boot.network"][-1] == "VLAN=v20"


def test_an_interface_with_a_route_of_its_own_takes_the_default_route(cluster: Cluster, context: Context) -> None:
    own = interface("eno1", "physical", mac="00:25:90:c0:f7:80", gateway=IPv4Address("10.10.14.1"))
    made = files(cluster, replace(cluster.machines[0], interfaces=(own,)), context)
    assert [line for line in made["10-boot.network"] if "Gateway" in line] == ["Gateway=10.10.14.1"]


def test_a_file_takes_no_second_line(cluster: Cluster, context: Context) -> None:
    bad = interface("eno2", "physical", addresses=("10.0.0.1/24\n[Match]",))
    with pytest.raises(RenderProblem, match=r"node1: 20-eno2\.network: .* holds a control character"):
        files(cluster, replace(cluster.machines[0], interfaces=(bad,)), context)


@pytest.mark.parametrize("name", ["../../x", "", "a\nb", "sixteencharacter"])
def test_a_name_that_no_interface_can_have(cluster: Cluster, context: Context, name: str) -> None:
    bad = interface(name, "bond", members=("eno2",))
    with pytest.raises(RenderProblem, match="cannot be an interface's name"):
        files(cluster, replace(cluster.machines[0], interfaces=(bad,)), context)
