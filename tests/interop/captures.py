"""A capture file (tcpdump -w, Ethernet) read back: the frames, and each direction of each TCP connection as bytes."""

from __future__ import annotations

import ipaddress
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Flow(NamedTuple):
    source: str
    source_port: int
    target: str
    target_port: int


def read_frames(path: Path) -> Iterator[bytes]:
    """pcap-savefile(5), as tcpdump writes it here."""
    data = path.read_bytes()
    assert data[:4] == b"\xd4\xc3\xb2\xa1", "not a little-endian capture"
    at = 24
    while at + 16 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        yield data[at + 16 : at + 16 + size]
        at += 16 + size


def read_streams(path: Path) -> dict[Flow, bytes]:
    """What was sent in each direction, in order, without what was sent twice."""
    pieces: dict[Flow, dict[int, bytes]] = defaultdict(dict)
    for frame in read_frames(path):
        if frame[12:14] != b"\x08\x00" or frame[14] >> 4 != 4 or frame[23] != 6:
            continue
        start = 14 + (frame[14] & 15) * 4
        end = 14 + struct.unpack_from("!H", frame, 16)[0]
        source_port, target_port, sequence = struct.unpack_from("!HHI", frame, start)
        body = frame[start + (frame[start + 12] >> 4) * 4 : end]
        if body:
            addresses = [str(ipaddress.IPv4Address(frame[at : at + 4])) for at in (26, 30)]
            pieces[Flow(addresses[0], source_port, addresses[1], target_port)].setdefault(sequence, body)
    return {flow: b"".join(found[key] for key in sorted(found)) for flow, found in pieces.items()}
