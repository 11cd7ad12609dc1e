"""Every fault that an admin can cause when sockets are opened ends in words that say what to do."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from bootstrapper.cluster.model import Dhcp, DhcpMode, Dns, Network, Ntp, Subnet
from bootstrapper.errors import UserError
from bootstrapper.servers.interfaces import Link, find_link, list_addresses, read_link
from bootstrapper.servers.sockets import Ports, find_holder, open_dhcp, open_sockets, open_tcp, open_udp

pytestmark = pytest.mark.loopback

NETWORK = Network(
    link=Subnet(IPv4Network("127.0.0.0/8"), (), None),
    bootstrapper=IPv4Address("127.0.0.1"),
    interface=None,
    more_subnets=(),
    dhcp=Dhcp(DhcpMode.OFF, 3600),
    dns=Dns((), {}),
    ntp=Ntp(False, ()),
)
LO = Link("lo", 1, bytes(6), IPv4Address("127.0.0.1"), 65536)


@pytest.fixture
def taken_udp() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # As dnsmasq, dhcpd and Kea do: with the option on both sides, Linux would let both have the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def own_name() -> str:
    return Path("/proc/self/comm").read_text().strip()


def test_the_interface_with_our_address() -> None:
    link = find_link(NETWORK)
    assert (link.name, link.mac, str(link.address)) == ("lo", bytes(6), "127.0.0.1")
    assert find_link(replace(NETWORK, interface="lo")) == link
    assert IPv4Address("127.0.0.1") in list_addresses()["lo"]


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (
            {"interface": "eth77"},
            "there is no interface eth77 (network.interface)",
            "lo (127.0.0.1",
        ),
        (
            {"bootstrapper": IPv4Address("192.0.2.1")},
            "no interface has the address 192.0.2.1 (network.bootstrapper)",
            "ip address add 192.0.2.1/8 dev ...",
        ),
        (
            {"bootstrapper": IPv4Address("192.0.2.1"), "interface": "lo"},
            "interface lo does not have the address 192.0.2.1 (network.bootstrapper)",
            "ip address add 192.0.2.1/8 dev lo",
        ),
    ],
)
def test_an_interface_that_is_not_there(change: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        find_link(replace(NETWORK, **change))  # type: ignore[arg-type]
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_an_interface_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrapper.servers.interfaces._IFF_UP", 0x4000)
    with pytest.raises(UserError) as caught:
        read_link("lo", IPv4Address("127.0.0.1"))
    assert (caught.value.message, caught.value.hint) == ("interface lo is down", "ip link set lo up")


def test_a_taken_udp_port_names_its_holder(taken_udp: int) -> None:
    with pytest.raises(UserError) as caught:
        open_udp("127.0.0.1", taken_udp, "DNS")
    assert caught.value.message == (
        f"UDP port {taken_udp} (DNS) on 127.0.0.1 is taken by {own_name()} (process {os.getpid()})"
    )
    assert f"kill {os.getpid()}" in caught.value.hint


def test_a_taken_tcp_port_names_its_holder() -> None:
    with open_tcp("127.0.0.1", 0, "HTTP") as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=rf"TCP port {port} \(HTTP\) on 127.0.0.1 is taken by .+ \(process \d+\)"):
            open_tcp("127.0.0.1", port, "HTTP")
        assert find_holder("TCP", port) == (own_name(), os.getpid())
    with open_tcp("127.0.0.1", port, "HTTP"):  # free again at once
        pass


def test_a_holder_that_cannot_be_found(taken_udp: int, tmp_path: Path) -> None:
    assert find_holder("UDP", taken_udp, tmp_path) is None
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "udp").write_text(Path("/proc/net/udp").read_text())
    assert find_holder("UDP", taken_udp, tmp_path) is None


def test_an_address_that_is_not_here() -> None:
    with pytest.raises(UserError) as caught:
        open_tcp("192.0.2.1", 0, "HTTP")
    assert caught.value.message == "TCP port 0 (HTTP) on 192.0.2.1: this host no longer has the address"


def test_a_missing_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UserError) as caught:
        open_udp("127.0.0.1", 69, "TFTP")
    assert caught.value.message == "no permission to open UDP port 69 (TFTP) on 127.0.0.1"
    assert "run as root, or with the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW" in caught.value.hint


def test_an_interface_that_went_away() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with pytest.raises(UserError) as caught:
        open_dhcp(replace(LO, name="eth77"), 0)
    assert caught.value.message == "UDP port 0 (DHCP): the interface is gone"


def test_all_or_none(taken_udp: int) -> None:
    """With DHCP off five sockets are wanted; when the last one cannot be had, none stays open."""
    with open_tcp("127.0.0.1", 0, "taken") as taken:
        port = taken.getsockname()[1]
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(UserError, match="HTTPS"):
            open_sockets(NETWORK, Ports(tftp=0, dns=0, http=0, https=port))
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    opened = open_sockets(NETWORK, Ports(tftp=0, dns=0, http=0, https=0))
    assert (opened.dhcp, opened.pxe, opened.frames, opened.echo, opened.rivals) == (None, None, None, None, None)
    assert not opened.http.getblocking()
    opened.close()
    assert opened.http.fileno() == -1
