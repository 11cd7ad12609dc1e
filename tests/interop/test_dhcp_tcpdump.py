"""Our replies read by another program: tcpdump's own DHCP printer, checksums included."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bootstrapper.answers.dhcp import Arrival, DhcpAnswers
from bootstrapper.answers.leases import LeaseTable
from bootstrapper.boot.history import History
from bootstrapper.cluster.load import load
from bootstrapper.wire.dhcp import Packet, build_packet
from bootstrapper.wire.frames import build_udp_frame

pytestmark = pytest.mark.interop

EXAMPLE = Path(__file__).parent.parent.parent / "cluster-desc.example.yaml"
SERVER = IPv4Address("10.10.14.253")
MAC = bytes.fromhex("002590c0f780")
OURS = bytes.fromhex("020000000001")
UEFI = {60: b"PXEClient:Arch:00007:UNDI:003016", 93: b"\0\7", 97: bytes(17)}
IPXE = {60: b"PXEClient:Arch:00007:UNDI:003010", 77: b"iPXE", 175: b"\xb0\1\1", 61: b"\1" + MAC}


def print_frame(frame: bytes, directory: Path) -> str:
    """What tcpdump makes of one frame."""
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path = directory / "frame.pcap"
    path.write_bytes(header + struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    done = subprocess.run(["tcpdump", "-nvvvr", str(path)], capture_output=True, text=True, check=True)
    return done.stdout


def replies() -> Iterator[tuple[str, bytes]]:
    answers = DhcpAnswers(load(EXAMPLE.read_bytes()), LeaseTable(), lambda _: History())
    arrival = Arrival(IPv4Address("0.0.0.0"), 68, SERVER, 67, True)
    chosen = {53: b"\3", 54: SERVER.packed, 50: IPv4Address("10.10.14.11").packed}
    wrong = {**chosen, 50: IPv4Address("10.10.14.12").packed}
    requests = {
        "offer": {53: b"\1"},
        "offer to UEFI": {53: b"\1", **UEFI},
        "offer to iPXE": {53: b"\1", **IPXE},
        "ack": chosen,
        "ack to UEFI": {**chosen, **UEFI},
        "nak": {**wrong, 61: b"\1" + MAC},
        "bootp": {},
    }
    for name, options in requests.items():
        packet = Packet(xid=0x1234, chaddr=MAC.ljust(16, b"\0"), options=options)
        outcome = answers.answer(build_packet(packet), arrival, 0.0)
        assert outcome.reply is not None
        yield name, outcome.reply.payload


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump")
def test_tcpdump_reads_our_replies(tmp_path: Path) -> None:
    expected = {
        "offer": ["DHCP-Message (53), length 1: Offer", "Lease-Time (51), length 4: 43200",
                  'Hostname (12), length 5: "node1"'],
        "offer to UEFI": ['file "snponly.efi"', "Server-IP 10.10.14.253", 'Vendor-Class (60), length 9: "PXEClient"',
                          "Vendor-Option (43), length 4: 6.1.8.255", "GUID (97), length 17"],
        "offer to iPXE": ['file "http://10.10.14.253/boot.ipxe?mac=00:25:90:c0:f7:80', "Client-ID (61), length 7"],
        "ack": ["DHCP-Message (53), length 1: ACK", "Your-IP 10.10.14.11", "RN (58), length 4: 21600"],
        "ack to UEFI": ["DHCP-Message (53), length 1: ACK", 'file "snponly.efi"'],
        "nak": ["DHCP-Message (53), length 1: NACK", "Client-ID (61), length 7"],
        "bootp": ["Your-IP 10.10.14.11", "Subnet-Mask (1), length 4: 255.255.255.0"],
    }  # fmt: skip
    seen = 0
    for name, payload in replies():
        frame = build_udp_frame(payload, OURS, MAC, SERVER, 67, IPv4Address("10.10.14.11"), 68)
        text = print_frame(frame, tmp_path)
        seen += 1
        assert "[udp sum ok]" in text, text
        assert "bad cksum" not in text, text
        assert not re.search(r"\[\||truncated|invalid", text), text
        for part in expected[name]:
            assert part in text, (name, part, text)
    assert seen == 7
