"""Captures what real DHCP clients say while dnsmasq answers: `python tests/interop/capture_dhcp.py [CLIENT...]`, root.

Writes tests/packets/CLIENT.hex (one UDP payload a line, `> ` from the client or relay, `< ` from dnsmasq) and, for
people, CLIENT.txt. The unit tests replay the requests to our answers and set our replies beside dnsmasq's.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from wires import Machine, Rack

from bootstrapper.wire.dhcp import parse_packet
from bootstrapper.wire.dhcp_text import describe

PACKETS = Path(__file__).parent.parent / "packets"
MAC = "00:25:90:c0:f7:80"
OVMF_CODE, OVMF_VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"

DNSMASQ = (
    "dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=eth0 --dhcp-authoritative "
    "--dhcp-range=10.10.14.100,10.10.14.199,12h --dhcp-range=10.20.9.1,10.20.9.9,255.255.0.0,12h "
    f"--dhcp-host={MAC},node1,10.10.14.11 --domain=prod.example.com "
    "--dhcp-option=3,10.10.14.254 --dhcp-option=6,10.10.14.253 --dhcp-option=42,10.10.14.253 "
    "--dhcp-match=set:efi,option:client-arch,7 --dhcp-match=set:bios,option:client-arch,0 "
    "--dhcp-userclass=set:ipxe,iPXE --dhcp-boot=tag:efi,tag:!ipxe,snponly.efi "
    "--dhcp-boot=tag:bios,tag:!ipxe,undionly.kpxe --dhcp-boot=tag:ipxe,http://10.10.14.253/boot.ipxe "
    "--enable-tftp --tftp-root=/usr/lib/ipxe --tftp-no-fail"
).split()


def dhclient(client: Machine, work: Path) -> None:
    """Boots, gives the address back, boots anew, and again with its lease at hand (INIT-REBOOT)."""
    lease, pid = str(work / "lease"), str(work / "pid")
    command = ("dhclient", "-1", "-4", "-lf", lease, "-pf", pid, "-sf", "/bin/true", "eth0")
    client.run(*command)
    client.run("dhclient", "-4", "-r", "-lf", lease, "-pf", pid, "-sf", "/bin/true", "eth0", check=False)
    Path(lease).unlink()
    client.run(*command)
    client.run("dhclient", "-x", "-pf", pid, check=False)
    client.run(*command)
    client.run("dhclient", "-x", "-pf", pid, check=False)


def udhcpc(client: Machine, work: Path) -> None:
    client.run("busybox", "udhcpc", "-i", "eth0", "-q", "-n", "-R", "-f", "-s", "/bin/true")


def dhcpcd(client: Machine, work: Path) -> None:
    client.run("dhcpcd", "-1", "-4", "-t", "10", "--noarp", "-c", "/bin/true", "eth0", check=False)
    client.run("dhcpcd", "-4", "-T", "-t", "8", "--inform", "10.10.14.77/24", "-c", "/bin/true", "eth0", check=False)


def networkd(client: Machine, work: Path) -> None:
    (work / "eth0.network").write_text("[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n")
    # With /sys read-only it takes itself for a container's, and does not wait for udev.
    steps = (
        "mount -o remount,bind,ro /sys",
        "mkdir -p /run/systemd",
        "mount -t tmpfs none /run/systemd",
        "mount -t tmpfs none /etc/systemd/network",
        "mkdir -p /run/systemd/netif",
        "chown -R systemd-network /run/systemd",
        f"cp {work}/eth0.network /etc/systemd/network/",
        "exec /usr/lib/systemd/systemd-networkd",
    )
    script = " && ".join(steps)
    child = client.start("unshare", "-m", "sh", "-c", script, log=work / "networkd.log")
    time.sleep(8)
    client.stop(child)


def ipxe_bios(client: Machine, work: Path) -> None:
    """SeaBIOS, and the iPXE that QEMU's card has as its ROM."""
    boot(client, work, 60, "-device", f"virtio-net-pci,netdev=n,mac={MAC},bootindex=1")


def edk2(client: Machine, work: Path) -> None:
    """OVMF's own PXE client, then the iPXE it loads."""
    variables = work / "vars"
    variables.write_bytes(Path(OVMF_VARS).read_bytes())
    boot(
        client, work, 75,
        "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF_CODE}",
        "-drive", f"if=pflash,format=raw,file={variables}",
        "-device", "virtio-rng-pci", "-device", f"virtio-net-pci,netdev=n,mac={MAC},bootindex=1,romfile=",
    )  # fmt: skip


def boot(client: Machine, work: Path, seconds: int, *devices: str) -> None:
    client.ip("tuntap", "add", "tap0", "mode", "tap")
    client.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    for port in ("tap0", "eth0"):
        client.ip("link", "set", port, "master", "br0", "up")
    client.ip("link", "set", "br0", "up")
    client.run("ethtool", "-K", "tap0", "tx", "off", check=False)
    child = client.start(
        "qemu-system-x86_64", "-machine", "q35,graphics=off", "-accel", "tcg", "-cpu", "max",
        "-m", "512", "-display", "none", "-no-reboot",
        "-uuid", "00112233-4455-6677-8899-aabbccddeeff", "-serial", f"file:{work}/console",
        "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", *devices, log=work / "qemu.log",
    )  # fmt: skip
    time.sleep(seconds)
    client.stop(child)


def relayed(client: Machine, work: Path) -> None:
    """dhclient behind ISC's relay, which adds option 82."""
    client.run("dhclient", "-1", "-4", "-lf", str(work / "lease"), "-pf", str(work / "pid"), "-sf", "/bin/true", "eth0")
    client.run("dhclient", "-x", "-pf", str(work / "pid"), check=False)


CLIENTS: dict[str, Callable[[Machine, Path], None]] = {
    "dhclient": dhclient,
    "udhcpc": udhcpc,
    "dhcpcd": dhcpcd,
    "networkd": networkd,
    "ipxe-bios": ipxe_bios,
    "edk2": edk2,
    "dhcrelay": relayed,
}


def capture(name: str) -> list[tuple[str, bytes]]:
    with Rack("hb") as rack, tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        server = rack.machine("srv", "10.10.14.253/24")
        if name == "dhcrelay":
            rack.add_switch("sw1")
            relay = rack.machine("relay", "10.10.14.9/24")
            rack.plug(relay, "eth1", "sw1", "10.20.0.1/16")
            server.ip("route", "add", "10.20.0.0/16", "via", "10.10.14.9")
            relay.start("dhcrelay", "-4", "-d", "-a", "-id", "eth1", "-iu", "eth0", "10.10.14.253")
            client = rack.machine("c", mac=MAC, switch="sw1")
        elif name in ("edk2", "ipxe-bios"):
            client = rack.machine("c")
        else:
            client = rack.machine("c", mac=MAC)
        server.start(*DNSMASQ, f"--dhcp-leasefile={work}/leases", log=work / "dnsmasq.log")
        pcap = work / "pcap"
        dump = server.start(
            "tcpdump", "-Z", "root", "-U", "-i", "eth0", "-w", str(pcap), "udp and (port 67 or port 68 or port 4011)"
        )
        time.sleep(1.5)
        CLIENTS[name](client, work)
        time.sleep(1)
        server.stop(dump)
        sys.stderr.write("".join((work / "dnsmasq.log").read_text().splitlines(keepends=True)[-5:]))
        return list(read_pcap(pcap.read_bytes()))


def read_pcap(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(`>` or `<`, UDP payload) of each packet to or from port 67 or 4011 of the server."""
    assert data[:4] == b"\xd4\xc3\xb2\xa1", "a pcap file of this byte order"
    at = 24
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        frame = data[at + 16 : at + 16 + size]
        at += 16 + size
        start = 14 + (frame[14] & 15) * 4
        length = int.from_bytes(frame[start + 4 : start + 6], "big")
        yield "<" if frame[26:30] == bytes((10, 10, 14, 253)) else ">", frame[start + 8 : start + length]


def main(names: list[str]) -> None:
    PACKETS.mkdir(exist_ok=True)
    for name in names or list(CLIENTS):
        conversation = capture(name)
        sys.stderr.write(f"{name}: {len(conversation)} packets\n")
        (PACKETS / f"{name}.hex").write_text("".join(f"{way} {data.hex()}\n" for way, data in conversation))
        texts = ["\n".join([f"{way} {len(data)} bytes", *describe(parse_packet(data))]) for way, data in conversation]
        (PACKETS / f"{name}.txt").write_text("\n\n".join(texts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
