"""Real faults for real clients, and the name that each is given: filters, a small MTU, another DHCP server, a clock.

One server for all; each fault has a machine of its own. What is late is looked at from a minute or more ahead, so that
no test waits for a time-out of an admin's patience.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Machine, Rack, need, wait_for

from bootstrapper.boot.diagnosis import Diagnosis, diagnose
from bootstrapper.boot.events import Event
from bootstrapper.boot.timeline import list_boots
from bootstrapper.cluster.load import load
from bootstrapper.state.sqlite import SqliteStore

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

SERVER = "10.20.0.1"
RELEASE = "flatcar/amd64-usr/4593.2.5"
FILES = {
    "flatcar_production_pxe.vmlinuz": 24 << 20,
    "flatcar_production_pxe_image.cpio.gz": 1 << 20,
    "flatcar_production_image.bin.bz2": 1 << 20,
    "flatcar_production_image.bin.bz2.sig": 100,
}
HOSTS = (
    "healthy", "filtered", "deaf", "narrow", "breaks", "asks", "unheard", "taken", "rivalled", "declines", "crowded",
    "clock", "untimely", "distrusts", "claims", "moved", "misses", "cut", "copied", "board", "scriptless", "arm",
    "refuses", "silent", "panics", "idle", "absent", "relayed", "modern",
)  # fmt: skip
POOLED = "crowded"
NUMBERS = {host: 11 + index for index, host in enumerate(HOSTS)}
UUID = "4c4c4544-0051-3610-8054-b4c04f595031"
SHORT = ("-x", "0x5d:0007", "-V", "PXEClient:Arch:00007:UNDI:003016")
"udhcpc as an x64 UEFI firmware."
IPXE = ("-x", "0x5d:0007", "-x", "0x4d:69505845")
BREAKS_OFF = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.sendto(b"\\0\\1snponly.efi\\0octet\\0", (sys.argv[1], 69))
data, peer = sock.recvfrom(2048)
sock.sendto(b"\\0\\4" + data[2:4], peer)
sock.recvfrom(2048)
sock.sendto(b"\\0\\5\\0\\0no room\\0", peer)
"""


def mac_of(host: str) -> str:
    # Not next to each other: a stranger beside one must not look like a card of another.
    return f"52:54:00:0d:{NUMBERS[host]:02x}:10"


def ip_of(host: str) -> str:
    return f"10.20.0.{NUMBERS[host]}"


def describe() -> str:
    machines = []
    for host in HOSTS:
        ip = "" if host == POOLED else f"ip: {ip_of(host)}, "
        uuid = f"uuid: {UUID}, " if host == "board" else ""
        machines.append(f'  - {{mac: "{mac_of(host)}", host: {host}, {ip}{uuid}roles: [worker]}}\n')
    return f"""\
version: 1
cluster: {{name: rack, domain: rack.example.com}}
network:
  subnet: 10.20.0.0/24
  bootstrapper: {SERVER}
  routers: []
  dhcp: {{range: 10.20.0.200-10.20.0.201, lease: 1h}}
  ntp: {{serve: false}}
registry: {{serve: false}}
os: {{version: 4593.2.5}}
unknown_machines: discover
machines:
  - {{mac: "52:54:00:0d:00:10", host: master, ip: 10.20.0.10, roles: [etcd, master]}}
{"".join(machines)}"""


class Site:
    """The server, and what it makes of each machine."""

    def __init__(self, rack: Rack, folder: Path) -> None:
        self.rack = rack
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "serve.log"
        description = folder / "cluster-desc.yaml"
        description.write_text(describe())
        self.cluster = load(describe(), "cluster-desc.yaml")
        release = self.state / "assets" / RELEASE
        self.state.mkdir(mode=0o700)
        release.mkdir(parents=True)
        for name, size in FILES.items():
            (release / name).write_bytes(b"x" * size)
        self.set_address = folder / "set-address"
        self.set_address.write_text('#!/bin/sh\n[ "$1" != bound ] || ip address replace $ip/24 dev eth0\n')
        self.set_address.chmod(0o755)
        self.server = rack.machine("srv", f"{SERVER}/24")
        self.child = self.server.start(
            sys.executable, "-m", "bootstrapper", "serve", str(description), "--state", str(self.state), "--log",
            "json", "--require", "boot", "--admin", "off", log=self.log,
        )  # fmt: skip
        self.store: SqliteStore | None = None

    def wait_until_up(self, who: Machine) -> None:
        url = f"http://{SERVER}/boot.ipxe?mac={mac_of('idle')}"
        wait_for(
            lambda: self.child.poll() is not None or "#!ipxe" in who.run("curl", "-s", "-m", "2", url, check=False),
            why=self.log.read_text,
        )
        assert self.child.poll() is None, self.log.read_text()
        self.store = SqliteStore(self.state / "state.db")

    # -- machines -------------------------------------------------------------
    def plug(self, host: str, *, address: bool = True, mac: str = "") -> Machine:
        return self.rack.machine(host, f"{ip_of(host)}/24" if address else "", mac=mac or mac_of(host))

    def dhcp(self, machine: Machine, *options: str) -> str:
        """One exchange by udhcpc; what it said."""
        return machine.run(
            "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "3", "-T", "1", "-s", str(self.set_address), *options,
            check=False,
        )  # fmt: skip

    def tftp(self, machine: Machine, name: str = "snponly.efi", *options: str, seconds: int = 5) -> None:
        machine.run(
            "curl", "-s", "-m", str(seconds), "-o", "/dev/null", *options, f"tftp://{SERVER}/{name}", check=False
        )

    def get(self, machine: Machine, path: str, *options: str) -> str:
        """Status and text."""
        url = path if "://" in path else f"http://{SERVER}{path}"
        return machine.run("curl", "-sk", "-m", "20", "-w", "\n%{http_code}", *options, url, check=False)

    def boot(self, machine: Machine, host: str, uuid: str = "") -> str:
        """iPXE's script; its token."""
        script = self.get(machine, f"/boot.ipxe?mac={mac_of(host)}&uuid={uuid}&arch=7")
        found = re.search(r"/m/([A-Za-z0-9_-]{43})/install", script)
        assert found, script
        return found[1]

    def report(self, machine: Machine, token: str, step: str, detail: str) -> None:
        body = json.dumps({"step": step, "detail": detail, "generation": 1})
        said = self.get(machine, f"https://{SERVER}/m/{token}/report", "-d", body)
        assert said.endswith("200"), said

    # -- what is made of it ----------------------------------------------------
    def events(self, host: str) -> list[Event]:
        assert self.store is not None
        return [event for _, event in self.store.events(mac_of(host))]

    def find(self, host: str, later: float = 0.0) -> Diagnosis | None:
        assert self.store is not None
        machine = self.cluster.by_host[host]
        return diagnose(
            machine,
            self.store.find_history(machine.mac),
            self.events(host),
            time.time() + later,
            [event for _, event in self.store.events("")],
            self.store.load_sightings(),
        )

    def expect(self, host: str, cause: str, later: float = 0.0, seconds: float = 30) -> Diagnosis:
        """The diagnosis, once it is `cause`: events are stored a moment after they happen."""

        def look() -> Diagnosis | None:
            found = self.find(host, later)
            return found if found is not None and found.cause == cause else None

        def why() -> str:
            told = "\n".join(f"{event.service} {event.step}: {event.detail}" for event in self.events(host))
            return f"{self.find(host, later)}\n{told}"

        result = wait_for(look, timeout=seconds, why=why)
        assert isinstance(result, Diagnosis)
        return result

    def wait_for_step(self, host: str, step: str) -> None:
        wait_for(lambda: any(event.step == step for event in self.events(host)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need("curl", "ip", "udhcpc", "iptables", "ebtables-nft", "dnsmasq", "openssl")
    with Rack("ld") as rack:
        made = Site(rack, tmp_path_factory.mktemp("faults"))
        made.wait_until_up(made.plug("idle"))
        yield made
        if made.store is not None:
            made.store.close()


# -- a boot as it should be ------------------------------------------------------------------------------------------


def test_a_boot_without_a_fault_is_one_timeline_and_has_no_cause(site: Site) -> None:
    machine = site.plug("healthy", address=False)
    site.dhcp(machine, *SHORT)
    site.tftp(machine)
    site.dhcp(machine, *IPXE)
    token = site.boot(machine, "healthy")
    for name in list(FILES)[:2]:
        assert site.get(machine, f"/assets/{RELEASE}/{name}", "-o", "/dev/null").endswith("200")
    site.report(machine, token, "clock", "the clock is right")
    # Each service stores its events by itself, a moment after they happened.
    wait_for(lambda: sum(event.step == "loaded" for event in site.events("healthy")) == 2)
    site.wait_for_step("healthy", "clock")
    assert site.find("healthy") is None
    (boot,) = list_boots(site.events("healthy"))
    assert (boot.firmware, boot.phase.name, str(boot.outcome)) == ("UEFI x64", "INSTALLER", "under way")
    assert [f"{step.service} {step.step}" for step in boot.steps] == [
        "dhcp offer", "dhcp ack", "tftp sending", "tftp sent", "dhcp offer", "dhcp ack", "http script",
        "http loading", "http loaded", "http loading", "http loaded", "installer clock",
    ]  # fmt: skip
    assert boot.steps[7].detail == f"kernel {RELEASE}/flatcar_production_pxe.vmlinuz, 25 MB"


# -- TFTP ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow(site: Site) -> Iterator[None]:
    """Two transfers that the server itself must give up, half a minute each: together, and while others are tried."""
    deaf = site.plug("deaf", address=False)
    site.server.run("iptables", "-A", "OUTPUT", "-d", ip_of("deaf"), "-p", "udp", "--sport", "1024:65535", "-j", "DROP")
    site.dhcp(deaf, *SHORT)
    narrow = site.plug("narrow", address=False)
    site.dhcp(narrow, *SHORT)
    narrow.ip("link", "set", "eth0", "mtu", "1000")
    for machine in (deaf, narrow):
        machine.start(
            "curl", "-s", "-m", "60", "--tftp-blksize", "1400", "-o", "/dev/null", f"tftp://{SERVER}/snponly.efi"
        )
    yield


def test_a_filter_on_udp_69(site: Site, slow: None) -> None:
    site.server.run("iptables", "-A", "INPUT", "-s", ip_of("filtered"), "-p", "udp", "--dport", "69", "-j", "DROP")
    machine = site.plug("filtered", address=False)
    site.dhcp(machine, *SHORT)
    site.tftp(machine, seconds=2)
    site.wait_for_step("filtered", "ack")
    assert site.find("filtered", 55) is None
    found = site.expect("filtered", "no-tftp-request", 61)
    assert found.evidence == (f"dhcp ack: {ip_of('filtered')} to UEFI x64, boots snponly.efi",)


def test_a_client_that_breaks_off_in_the_file(site: Site) -> None:
    machine = site.plug("breaks", address=False)
    site.dhcp(machine, *SHORT)
    machine.run(sys.executable, "-c", BREAKS_OFF, SERVER)
    found = site.expect("breaks", "tftp-block-size", 15)
    assert found.evidence[0].startswith(
        "tftp aborted: snponly.efi, aborted by the machine after block 1: error 0: no room"
    )


def test_a_file_that_is_not_served(site: Site) -> None:
    machine = site.plug("asks", address=False)
    site.dhcp(machine, *SHORT)
    site.tftp(machine, "pxelinux.0")
    assert site.expect("asks", "tftp-no-file", 15).evidence == ("tftp refused: pxelinux.0: no such file",)


# -- DHCP ------------------------------------------------------------------------------------------------------------


def cut_answers(site: Site) -> None:
    """On the switch: what a DHCP server sends does not leave by the port that was plugged last."""
    site.rack._switch.run(
        "ebtables-nft", "-A", "FORWARD", "-o", f"p{site.rack._ports}", "-p", "ip", "--ip-source", SERVER, "--ip-proto",
        "udp", "--ip-dport", "68", "-j", "DROP",
    )  # fmt: skip


def test_answers_that_get_lost_and_then_another_server(site: Site) -> None:
    unheard = site.plug("unheard", address=False)
    cut_answers(site)
    site.dhcp(unheard, *SHORT)
    assert site.expect("unheard", "offer-not-taken", 61).evidence[-1] in (
        "2 offers, none taken",
        "3 offers, none taken",
    )
    taken = site.plug("taken", address=False)
    cut_answers(site)
    rival = site.rack.machine("rival", "10.20.0.9/24")
    log = site.folder / "dnsmasq.log"
    rival.start(
        "dnsmasq", "--no-daemon", "--port=0", "--conf-file=/dev/null", "--interface=eth0", "--bind-interfaces",
        "--dhcp-range=10.20.0.0,static", f"--dhcp-host={mac_of('taken')},10.20.0.77", "--log-dhcp",
        f"--dhcp-leasefile={site.folder / 'rival.leases'}", "--user=root", log=log,
    )  # fmt: skip
    wait_for(lambda: log.exists() and "DHCP, static leases only" in log.read_text())
    said = site.dhcp(taken, "-B", *SHORT)
    assert "lease of 10.20.0.77 obtained" in said, said + log.read_text()
    found = site.expect("taken", "other-dhcp-server")
    assert found.evidence[0] == "dhcp other server: it took 10.20.0.77 from 10.20.0.9"
    # It answers by broadcast, so the server itself has heard it: another machine's silence has a likelier reason now.
    rivalled = site.plug("rivalled", address=False)
    cut_answers(site)
    site.dhcp(rivalled, *SHORT)
    found = site.expect("rivalled", "rival-dhcp-server", 61)
    assert "another DHCP server, 10.20.0.9" in found.evidence[-1]


def test_an_address_that_somebody_else_uses(site: Site) -> None:
    site.rack.machine("squatter", f"{ip_of('declines')}/24", mac="52:54:00:0d:ee:77")
    machine = site.plug("declines", address=False)
    log = site.folder / "declines.log"
    # It asks, finds the other and declines, again and again: it ends with the test's namespaces.
    machine.start("udhcpc", "-i", "eth0", "-f", "-s", "/bin/true", "-a100", "-A", "1", log=log)
    wait_for(lambda: log.exists() and "offered address is in use" in log.read_text())
    site.wait_for_step("declines", "decline")
    assert f"{ip_of('declines')} is in use by something else" in site.expect("declines", "address-in-use").evidence[0]


def test_a_range_that_is_used_up(site: Site) -> None:
    for number in (1, 2):
        stranger = site.rack.machine(f"stranger{number}", mac=f"52:54:00:0e:0{number}:99")
        assert "obtained" in site.dhcp(stranger)
    machine = site.plug(POOLED, address=False)
    site.dhcp(machine)
    found = site.expect(POOLED, "no-free-address")
    assert "no free address in the range of 10.20.0.0/24" in found.evidence[0]


def test_firmware_that_nothing_is_there_for(site: Site) -> None:
    machine = site.plug("arm", address=False)
    site.dhcp(machine, "-x", "0x5d:000b", "-V", "PXEClient:Arch:00011:UNDI:003016")
    assert "UEFI arm64" in site.expect("arm", "architecture").evidence[0]


def test_uefi_http_boot(site: Site) -> None:
    machine = site.plug("modern", address=False)
    site.dhcp(machine, "-x", "0x5d:0010", "-V", "HTTPClient:Arch:00016:UNDI:003016")
    site.expect("modern", "http-boot")


def test_a_relay_that_nobody_described(site: Site) -> None:
    need("dhcrelay")
    site.rack.add_switch("sw1")
    relay = site.rack.machine("relay", "10.20.0.8/24")
    site.rack.plug(relay, "eth1", "sw1", "10.99.0.1/24")
    log = site.folder / "relay.log"
    relay.start("dhcrelay", "-4", "-d", "-id", "eth1", "-iu", "eth0", SERVER, log=log)
    wait_for(lambda: log.exists() and "Sending on" in log.read_text())
    site.dhcp(site.rack.machine("relayed", mac=mac_of("relayed"), switch="sw1"))
    assert "the relay 10.99.0.1, which is in no subnet" in site.expect("relayed", "relay-subnet").evidence[0]


def test_a_machine_that_comes_by_its_other_card(site: Site) -> None:
    assert site.find("absent") is None
    card = site.rack.machine("card", mac=mac_of("absent")[:-2] + "11")
    site.dhcp(card, *SHORT)
    found = site.expect("absent", "other-card")
    assert found.evidence == (f"{mac_of('absent')[:-2]}11 asked, and its MAC is next to that of absent",)


# -- iPXE and HTTP ---------------------------------------------------------------------------------------------------


def test_a_boot_file_that_the_firmware_does_not_run(site: Site) -> None:
    machine = site.plug("refuses", address=False)
    for _ in range(2):
        site.dhcp(machine, *SHORT)
        site.tftp(machine)
        site.wait_for_step("refuses", "sent")
    assert "was back" in site.expect("refuses", "boot-file-refused").evidence[1]


def test_an_ipxe_that_is_never_heard(site: Site) -> None:
    machine = site.plug("silent", address=False)
    site.dhcp(machine, *SHORT)
    site.tftp(machine)
    site.expect("silent", "ipxe-silent", 61)


def test_an_ipxe_that_asks_for_no_script(site: Site) -> None:
    machine = site.plug("scriptless", address=False)
    site.dhcp(machine, *IPXE)
    site.expect("scriptless", "no-script-request", 61)


def test_a_script_for_somebody_else_and_for_another_board(site: Site) -> None:
    idle = site.rack.machines["idle"]
    site.get(idle, f"/boot.ipxe?mac={mac_of('copied')}&arch=7")
    assert ip_of("idle") in site.expect("copied", "script-wrong-sender").evidence[0]
    board = site.plug("board")
    site.get(board, f"/boot.ipxe?mac={mac_of('board')}&uuid=4c4c4544-0000-3610-8054-b4c04f595031&arch=7")
    site.expect("board", "uuid-differs")


def test_nothing_after_the_script(site: Site) -> None:
    site.boot(site.rack.machines["idle"], "idle")
    site.expect("idle", "kernel-not-fetched", 61)


def test_a_file_that_is_missing(site: Site) -> None:
    machine = site.plug("misses")
    site.boot(machine, "misses")
    assert site.get(machine, f"/assets/{RELEASE}/version.txt").endswith("404")
    assert site.expect("misses", "file-missing", 16).evidence == (f"http no file: {RELEASE}/version.txt",)


def test_a_download_that_is_cut_off(site: Site) -> None:
    machine = site.plug("cut")
    site.boot(machine, "cut")
    kernel = f"http://{SERVER}/assets/{RELEASE}/flatcar_production_pxe.vmlinuz"
    part = site.folder / "kernel"
    child = machine.start("curl", "-s", "--limit-rate", "4M", "-o", str(part), kernel)
    wait_for(lambda: part.exists() and part.stat().st_size > 1 << 20)
    machine.stop(child, signal.SIGKILL)
    found = site.expect("cut", "download-cut-off", 61)
    assert re.search(r"kernel flatcar/\S+, at \d+ % after", found.evidence[0])


def test_an_installer_that_is_never_heard(site: Site) -> None:
    machine = site.plug("panics")
    site.boot(machine, "panics")
    for name in list(FILES)[:2]:
        site.get(machine, f"/assets/{RELEASE}/{name}", "-o", "/dev/null")
    site.wait_for_step("panics", "loaded")
    site.expect("panics", "installer-silent", 301)


# -- trust and the claim ---------------------------------------------------------------------------------------------


def test_a_clock_three_years_back(site: Site) -> None:
    machine = site.plug("clock")
    token = site.boot(machine, "clock")
    site.report(machine, token, "clock", "the clock was 94670000 seconds off and was set")
    found = site.expect("clock", "clock-wrong", 121)
    assert found.evidence[1] == "its clock is 3.0 years back"


def handshake(site: Site, machine: Machine, authority: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """TLS as a machine that verifies, and tells why it does not go on."""
    return subprocess.run(
        machine.command(
            "openssl", "s_client", "-connect", f"{SERVER}:443", "-CAfile", str(authority), "-verify_return_error",
            *options,
        ),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
    )  # fmt: skip


def test_a_clock_that_makes_our_certificate_invalid(site: Site) -> None:
    machine = site.plug("untimely")
    site.boot(machine, "untimely")
    authority = site.state / "pki" / "authority.pem"
    assert handshake(site, machine, authority).returncode == 0
    assert "not yet valid" in handshake(site, machine, authority, "-attime", "1000000000").stderr
    assert "our certificate for expired, or not valid yet" in site.expect("untimely", "clock-wrong").evidence[0]


def test_an_authority_that_it_does_not_know(site: Site) -> None:
    machine = site.plug("distrusts")
    site.boot(machine, "distrusts")
    other = site.folder / "other.pem"
    machine.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
        str(site.folder / "other.key"), "-out", str(other), "-subj", "/CN=another", "-days", "2",
    )  # fmt: skip
    handshake(site, machine, other)
    site.expect("distrusts", "tls-authority")


def test_a_configuration_that_is_claimed_twice(site: Site) -> None:
    machine = site.plug("claims")
    token = site.boot(machine, "claims")
    answers = [site.get(machine, f"https://{SERVER}/m/{token}/config")[-3:] for _ in range(4)]
    assert (answers[0], answers[-1]) == ("200", "404")
    found = site.expect("claims", "claimed-twice")
    assert found.evidence[0].startswith(f"http claim refused: claimed before, from {ip_of('claims')}, token ")


def test_a_claim_from_another_address(site: Site) -> None:
    machine = site.plug("moved")
    token = site.boot(machine, "moved")
    assert site.get(site.rack.machines["idle"], f"https://{SERVER}/m/{token}/config").endswith("404")
    assert ip_of("idle") in site.expect("moved", "claim-address").evidence[0]


# -- last, since the server itself has to give these up --------------------------------------------------------------


def test_answers_that_a_firewall_drops(site: Site, slow: None) -> None:
    found = site.expect("deaf", "tftp-no-answer", 16, seconds=60)
    assert found.evidence[0].startswith(("tftp not heard: snponly.efi", "tftp timed out: snponly.efi, "))


def test_blocks_that_do_not_fit_the_path(site: Site, slow: None) -> None:
    found = site.expect("narrow", "tftp-block-size", seconds=60)
    assert "timed out after block 0" in found.evidence[0]
    assert "blocks of 1400" in found.evidence[1]
