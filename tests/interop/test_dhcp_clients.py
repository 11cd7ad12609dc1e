"""Real DHCP clients against the server, each machine in a network namespace of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from wires import Machine, Rack, need, wait_for

from bootstrapper.state.sqlite import SqliteStore

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

RUNNER = Path(__file__).parent / "dhcp_runner.py"
NODE1, NODE2, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:99"

DESCRIPTION = """\
version: 1
cluster: {{name: rack, domain: rack.example.com}}
network:
  subnet: 10.20.0.0/24
  bootstrapper: 10.20.0.1
  routers: [10.20.0.254]
  dhcp: {{range: {range}, lease: 1h}}
  more_subnets:
    - {{subnet: 10.21.0.0/24, routers: [10.21.0.254], range: 10.21.0.100-10.21.0.110}}
unknown_machines: {unknown}
machines:
  - {{mac: "52:54:00:00:00:01", host: node1, ip: 10.20.0.11, roles: [etcd, master]}}
  - {{mac: "52:54:00:00:00:02", host: node2, roles: [worker]}}
  - {{mac: "52:54:00:00:00:03", host: node3, ip: 10.21.0.13, roles: [worker]}}
"""


class Serving:
    """The server, in its namespace, with its log and its state."""

    def __init__(self, machine: Machine, folder: Path, description: str) -> None:
        self.machine = machine
        self.state = folder / "state.sqlite"
        self.log = folder / "server.log"
        self._description = folder / "cluster-desc.yaml"
        self._description.write_text(description)
        self.start()

    def start(self) -> None:
        before = self.text().count("serving, process")
        self.child = self.machine.start(
            sys.executable, str(RUNNER), str(self._description), str(self.state), log=self.log
        )
        wait_for(lambda: self.child.poll() is not None or self.text().count("serving, process") > before)
        assert self.child.poll() is None, self.text()

    def stop(self) -> None:
        assert self.machine.stop(self.child) == 0, self.text()

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def lines(self, *words: str) -> list[str]:
        """Log lines that hold all of `words`."""
        return [line for line in self.text().splitlines() if all(word in line for word in words)]

    def leases(self) -> dict[str, tuple[str, str]]:
        """Address -> (MAC, state)."""
        store = SqliteStore(self.state)
        found = {str(lease.address): (lease.mac, lease.state.value) for lease in store.load_leases()}
        store.close()
        return found

    def unknown(self) -> list[str]:
        store = SqliteStore(self.state)
        found = [seen.mac for seen in store.load_sightings()]
        store.close()
        return found


@contextmanager
def serving(
    folder: Path, unknown: str = "discover", range_: str = "10.20.0.100-10.20.0.199"
) -> Iterator[tuple[Rack, Serving]]:
    folder.chmod(0o700)
    with Rack("hc") as rack:
        machine = rack.machine("srv", "10.20.0.1/24", mac="52:54:00:00:00:fe")
        yield rack, Serving(machine, folder, DESCRIPTION.format(unknown=unknown, range=range_))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Rack, Serving]]:
    need("ip", "ethtool")
    with serving(tmp_path) as both:
        yield both


def udhcpc(machine: Machine, *options: str, check: bool = True) -> str:
    """The address it got; "" when none."""
    said = machine.run(
        "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "3", "-T", "1", "-s", "/bin/true", *options, check=False
    )
    found = re.findall(r"lease of (\S+) obtained from 10.20.0.1", said)
    assert found or not check, said
    return found[-1] if found else ""


# -- dhclient -----------------------------------------------------------------------
class Dhclient:
    def __init__(self, machine: Machine, folder: Path, settings: str = "") -> None:
        self.machine = machine
        self.leases = folder / f"{machine.name}.leases"
        self.conf = folder / f"{machine.name}.conf"
        self.pid = folder / f"{machine.name}.pid"
        self.log = folder / f"{machine.name}.log"
        self.conf.write_text("timeout 10;\n" + settings)

    def command(self, *options: str) -> list[str]:
        files = ["-cf", str(self.conf), "-lf", str(self.leases), "-pf", str(self.pid)]
        return ["dhclient", "-v", *files, *options, "eth0"]

    def once(self) -> str:
        """Until bound; it stays in the background (its output to a file, or `run` would wait for it)."""
        child = self.machine.start(*self.command("-d"), log=self.log)
        wait_for(lambda: child.poll() is not None or "bound to" in self.log.read_text())
        self.child = child
        return self.log.read_text()


def test_dhclient_gets_its_address_and_everything_with_it(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    need("dhclient")
    rack, server = served
    client = rack.machine("c1", mac=NODE1)
    dhclient = Dhclient(client, tmp_path)
    assert "bound to 10.20.0.11" in dhclient.once()
    wait_for(lambda: client.addresses() == ["10.20.0.11/24"])
    lease = dhclient.leases.read_text()
    for line in (
        "option subnet-mask 255.255.255.0;",
        "option routers 10.20.0.254;",
        "option domain-name-servers 10.20.0.1;",
        'option domain-name "rack.example.com";',
        'option host-name "node1";',
        "option dhcp-server-identifier 10.20.0.1;",
        "option dhcp-lease-time 3600;",
    ):
        assert line in lease, lease
    assert "default via 10.20.0.254" in client.ip("route")
    assert server.leases() == {}, "a reservation needs no lease"


def test_dhclient_renews_and_releases(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    need("dhclient")
    rack, server = served
    client = rack.machine("c2", mac=NODE2)
    dhclient = Dhclient(client, tmp_path, "supersede dhcp-renewal-time 2;\n")
    assert "bound to 10.20.0.100" in dhclient.once()
    assert server.leases() == {"10.20.0.100": (NODE2, "bound")}
    wait_for(lambda: dhclient.log.read_text().count("bound to 10.20.0.100") >= 2, timeout=15)
    # The renewal was sent to the server itself, not broadcast.
    assert "DHCPREQUEST for 10.20.0.100 on eth0 to 10.20.0.1 port 67" in dhclient.log.read_text()
    client.stop(dhclient.child)
    client.run(*dhclient.command("-r"), check=False)
    wait_for(lambda: server.leases() == {"10.20.0.100": (NODE2, "released")})
    assert len(server.lines("node2", "release")) == 1


def test_dhclient_comes_back_with_a_kept_lease(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    """INIT-REBOOT: it asks for what it had, without a DISCOVER; also after the server has started anew."""
    need("dhclient")
    rack, server = served
    client = rack.machine("c3", mac=STRANGER)
    dhclient = Dhclient(client, tmp_path)
    assert "bound to 10.20.0.100" in dhclient.once()
    client.stop(dhclient.child, signal.SIGKILL)
    server.stop()
    server.start()
    dhclient.log.unlink()
    said = dhclient.once()
    assert "DHCPACK of 10.20.0.100" in said
    assert "DHCPDISCOVER" not in said


def test_dhclient_with_a_wrong_lease_is_told_so(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    need("dhclient")
    rack, server = served
    client = rack.machine("c1", mac=NODE1)
    dhclient = Dhclient(client, tmp_path)
    dhclient.leases.write_text(
        'lease {\n  interface "eth0";\n  fixed-address 192.168.7.7;\n  option subnet-mask 255.255.255.0;\n'
        "  option dhcp-server-identifier 192.168.7.1;\n  option dhcp-lease-time 3600;\n"
        "  renew never;\n  rebind never;\n  expire never;\n}\n"
    )
    said = dhclient.once()
    assert "DHCPNAK from 10.20.0.1" in said
    assert "bound to 10.20.0.11" in said
    assert server.lines("node1", "nak", "192.168.7.7", "10.20.0.11")


# -- udhcpc ---------------------------------------------------------------------------
@pytest.mark.parametrize("options", [[], ["-C"], ["-x", "0x3d:0102030405"], ["-V", "test"], ["-F", "host"]])
def test_udhcpc(served: tuple[Rack, Serving], options: list[str]) -> None:
    need("udhcpc")
    rack, _ = served
    assert udhcpc(rack.machine("c1", mac=NODE1), *options) == "10.20.0.11"


def test_one_mac_keeps_one_address_whatever_its_client_identifier(served: tuple[Rack, Serving]) -> None:
    """Firmware, iPXE and the system each send another; RFC 2131 would have three addresses for them."""
    need("udhcpc")
    rack, server = served
    client = rack.machine("c2", mac=NODE2)
    identifiers = (["-C"], [], ["-x", "0x3d:00aabbccddeeff"], ["-x", "0x3d:ff000102030405060708"])
    assert [udhcpc(client, *options) for options in identifiers] == ["10.20.0.100"] * 4
    assert server.leases() == {"10.20.0.100": (NODE2, "bound")}


def test_udhcpc_renews_on_demand(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    need("udhcpc")
    rack, _ = served
    client = rack.machine("c2", mac=NODE2)
    script = tmp_path / "set-address"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && ip address add $ip/24 dev eth0\nexit 0\n')
    script.chmod(0o755)
    log = tmp_path / "udhcpc.log"
    child = client.start("udhcpc", "-i", "eth0", "-f", "-s", str(script), log=log)
    wait_for(lambda: "lease of 10.20.0.100 obtained" in log.read_text())
    # `ip netns exec` becomes the program it starts: the signal reaches udhcpc itself.
    child.send_signal(signal.SIGUSR1)
    wait_for(lambda: log.read_text().count("lease of 10.20.0.100 obtained") == 2)


def test_a_conflict_is_declined_and_another_address_given(served: tuple[Rack, Serving]) -> None:
    """A machine with a fixed address in the range, plugged in after its address was looked at."""
    need("udhcpc")
    rack, server = served
    time.sleep(1.5)  # the first addresses have been found free by now
    rack.machine("squatter", "10.20.0.100/24")
    client = rack.machine("c3", mac=STRANGER)
    probing = ("-t", "5", "-T", "1", "-A", "1", "-a100")
    said = client.run("udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", "/bin/true", *probing, check=False)
    assert "offered address is in use" in said, "it was never offered: nothing was tested"
    assert re.findall(r"lease of (\S+) obtained", said) == ["10.20.0.100", "10.20.0.101"], said
    assert server.leases()["10.20.0.100"][1] == "declined"


def test_an_occupied_address_is_found_before_it_is_offered(tmp_path: Path) -> None:
    need("udhcpc")
    tmp_path.chmod(0o700)
    with Rack("hc") as rack:
        machine = rack.machine("srv", "10.20.0.1/24")
        rack.machine("squatter", "10.20.0.100/24")
        server = Serving(machine, tmp_path, DESCRIPTION.format(unknown="discover", range="10.20.0.100-10.20.0.199"))
        wait_for(lambda: server.lines("10.20.0.100", "is in use by"))
        assert udhcpc(rack.machine("c3", mac=STRANGER)) == "10.20.0.101"
        assert server.leases()["10.20.0.100"] == ("", "declined")


def test_an_occupied_reservation_is_only_warned_of(tmp_path: Path) -> None:
    need("udhcpc")
    tmp_path.chmod(0o700)
    with Rack("hc") as rack:
        machine = rack.machine("srv", "10.20.0.1/24")
        rack.machine("squatter", "10.20.0.11/24", mac="52:54:00:00:00:77")
        server = Serving(machine, tmp_path, DESCRIPTION.format(unknown="discover", range="10.20.0.100-10.20.0.199"))
        wait_for(lambda: server.lines("node1", "conflict", "10.20.0.11", "52:54:00:00:00:77"))
        assert udhcpc(rack.machine("c1", mac=NODE1)) == "10.20.0.11"


# -- dhcpcd, systemd-networkd -----------------------------------------------------------
def test_dhcpcd(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    """It identifies itself by a DUID (RFC 4361), probes by ARP, and keeps its lease."""
    need("dhcpcd", "unshare")
    rack, server = served
    client = rack.machine("c2", mac=NODE2)
    conf = tmp_path / "dhcpcd.conf"
    conf.write_text("duid\nipv4only\nnohook resolv.conf, hostname, timesyncd, ntp.conf\nscript /bin/true\n")
    log = tmp_path / "dhcpcd.log"
    # Its files are in /var/lib and /run of a mount namespace of its own.
    private = 'mount -t tmpfs none /var/lib && mkdir /var/lib/dhcpcd && mount -t tmpfs none /run && exec "$@"'
    client.start(
        "unshare", "--mount", "sh", "-c", private, "sh", "dhcpcd", "-d", "-B", "-f", str(conf), "eth0", log=log
    )
    wait_for(lambda: client.addresses() == ["10.20.0.100/24"], timeout=30, why=lambda: log.read_text() + server.text())
    assert "acknowledged 10.20.0.100 from 10.20.0.1" in log.read_text()
    assert server.leases() == {"10.20.0.100": (NODE2, "bound")}


NETWORKD = Path("/lib/systemd/systemd-networkd")


def test_systemd_networkd(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    if not NETWORKD.exists():
        pytest.skip("needs systemd-networkd")
    need("unshare")
    rack, server = served
    client = rack.machine("c2", mac=NODE2)
    network = tmp_path / "10-eth0.network"
    network.write_text("[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n")
    log = tmp_path / "networkd.log"
    # Alone, without systemd and udev: /run is its own (no bus to reach), /sys read-only as in a container, which is how
    # it knows that no udev will tell it of the interface.
    private = (
        "mount -t tmpfs none /run && mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases"
        f" && cp {network} /run/systemd/network/ && chmod -R a+rX /run/systemd && chown -R systemd-network"
        ' /run/systemd/netif && mount -o bind,ro /sys /sys && mount -o remount,bind,ro /sys && exec "$@"'
    )
    child = client.start(
        "unshare", "--mount", "sh", "-c", private, "sh", "env", "SYSTEMD_LOG_LEVEL=debug", str(NETWORKD), log=log
    )
    with suppress(AssertionError):
        wait_for(lambda: child.poll() is not None or client.addresses() == ["10.20.0.100/24"], timeout=20)
    if client.addresses() != ["10.20.0.100/24"]:
        pytest.fail("systemd-networkd got no address:\n" + log.read_text()[-3000:] + server.text())
    assert server.leases() == {"10.20.0.100": (NODE2, "bound")}


# -- relays -----------------------------------------------------------------------------
def test_two_subnets_through_a_real_relay(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    need("dhcrelay", "udhcpc")
    rack, server = served
    rack.add_switch("sw1")
    relay = rack.machine("relay", "10.20.0.254/24")
    rack.plug(relay, "eth1", "sw1", "10.21.0.254/24")
    relay.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    server.machine.ip("route", "add", "10.21.0.0/24", "via", "10.20.0.254")
    relay.start("dhcrelay", "-4", "-d", "-a", "-id", "eth1", "-iu", "eth0", "10.20.0.1", log=tmp_path / "relay.log")
    wait_for(lambda: "Sending on" in (tmp_path / "relay.log").read_text())
    stranger = rack.machine("c3", mac=STRANGER, switch="sw1")
    assert udhcpc(stranger) == "10.21.0.100"
    assert udhcpc(rack.machine("c4", mac="52:54:00:00:00:03", switch="sw1")) == "10.21.0.13"
    assert udhcpc(rack.machine("c1", mac=NODE1)) == "10.20.0.11"
    assert server.leases() == {"10.21.0.100": (STRANGER, "bound")}
    # node1's fixed address is of the other subnet: here it would not work, and none is given.
    assert udhcpc(rack.machine("c5", mac=NODE1, switch="sw1"), check=False) == ""
    assert server.lines("node1", "10.21.0.0/24", "outside")


# -- policy, restarts, rivals --------------------------------------------------------------
def test_an_unknown_machine_hears_nothing_but_is_listed(tmp_path: Path) -> None:
    need("udhcpc", "tcpdump")
    with serving(tmp_path, unknown="ignore") as (rack, server):
        client = rack.machine("c3", mac=STRANGER)
        heard = tmp_path / "heard"
        listener = client.start("tcpdump", "-l", "-n", "-i", "eth0", "src host 10.20.0.1 and udp", log=heard)
        wait_for(lambda: "listening on" in heard.read_text())
        assert udhcpc(client, check=False) == ""
        client.stop(listener)
        assert "0 packets captured" in heard.read_text()
        wait_for(lambda: server.unknown() == [STRANGER])
        assert server.lines(STRANGER, "not in the description", "not answered")
        assert server.leases() == {}
        assert udhcpc(rack.machine("c2", mac=NODE2)) == "10.20.0.100"


def test_addresses_survive_a_restart_in_another_order(served: tuple[Rack, Serving]) -> None:
    need("udhcpc")
    rack, server = served
    clients = [rack.machine(f"m{number}", mac=f"52:54:00:00:01:{number:02x}") for number in range(4)]
    before = [udhcpc(client) for client in clients]
    assert before == ["10.20.0.100", "10.20.0.101", "10.20.0.102", "10.20.0.103"]
    server.machine.stop(server.child, signal.SIGKILL)
    server.start()
    assert [udhcpc(client) for client in reversed(clients)] == before[::-1]


def test_another_dhcp_server_is_noticed(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    need("dnsmasq")
    rack, server = served
    rival = rack.machine("rival", "10.20.0.66/24", mac="52:54:00:00:00:66")
    rival.start(
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--dhcp-authoritative",
        "--dhcp-range=10.20.0.200,10.20.0.210,1h", f"--dhcp-leasefile={tmp_path}/rival.leases", "--user=root",
        log=tmp_path / "rival.log",
    )  # fmt: skip
    wait_for(lambda: "DHCP, IP range" in (tmp_path / "rival.log").read_text())
    server.stop()
    server.start()  # it asks at its start
    wait_for(lambda: server.lines("another DHCP server", "10.20.0.66", "52:54:00:00:00:66"))


def test_a_second_server_on_this_host_is_refused_with_its_name(served: tuple[Rack, Serving], tmp_path: Path) -> None:
    _, server = served
    other = subprocess.run(
        server.machine.command(
            sys.executable, str(RUNNER), str(tmp_path / "cluster-desc.yaml"), str(tmp_path / "other")
        ),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert other.returncode == 1
    assert re.search(r"UDP port 67 \(DHCP\) is taken by \S+ \(process \d+\)", other.stderr), other.stderr
