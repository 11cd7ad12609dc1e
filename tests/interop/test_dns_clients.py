"""dig, kdig and host against our server in a namespace of its own: the ednscomp series, discovery, transfers, sizes."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Machine, Rack, need, wait_for

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parent.parent.parent
SERVER = "10.41.0.1"
DESCRIPTION = f"""\
version: 1
cluster: {{name: he, domain: he.example.com}}
network:
  subnet: 10.41.0.0/24
  bootstrapper: {SERVER}
  routers: [10.41.0.254]
  dhcp: {{range: 10.41.0.100-10.41.0.199, lease: 1h}}
  dns: {{records: {{nas: 10.41.0.9, "mirror.example.net.": 10.41.0.8}}}}
kubernetes: {{api: {{host: k8s.he.example.com, vip: 10.41.0.250}}}}
machines:
""" + "".join(
    f'  - {{mac: "52:54:00:41:00:{n:02x}", host: node{n}, ip: 10.41.0.{n + 10}, roles: [etcd, master]}}\n'
    for n in range(1, 10)
)


class Served:
    def __init__(self, client: Machine, stranger: Machine) -> None:
        self.client = client
        self.stranger = stranger

    def dig(self, *arguments: str) -> str:
        return self.client.run("dig", f"@{SERVER}", "+tries=1", "+time=2", *arguments, check=False)

    def short(self, *arguments: str) -> list[str]:
        return self.dig("+short", *arguments).split("\n")[:-1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    need("dig", "kdig", "host", "ip", "ethtool")
    folder = tmp_path_factory.mktemp("dns")
    description = folder / "he.yaml"
    description.write_text(DESCRIPTION)
    log = folder / "log"
    with Rack("he") as rack:
        server = rack.machine("srv", f"{SERVER}/24")
        client = rack.machine("c1", "10.41.0.200/24")
        stranger = rack.machine("c2", "10.42.0.2/24")
        stranger.ip("route", "add", f"{SERVER}/32", "dev", "eth0")
        server.ip("route", "add", "10.42.0.0/24", "dev", "eth0")
        process = server.start(sys.executable, str(ROOT / "bench" / "serve_dns.py"), str(description), log=log)
        wait_for(lambda: "ready" in log.read_text())
        found = Served(client, stranger)
        wait_for(lambda: found.short("node1.he.example.com") == ["10.41.0.11"])
        yield found
        assert server.stop(process) == 0, log.read_text()
        counts = json.loads(log.read_text().splitlines()[-1])
        assert counts.get("fault", 0) == 0, log.read_text()


def status(text: str) -> str:
    found = re.search(r"status: (\w+)", text)
    return found[1] if found else "none"


def flags(text: str) -> set[str]:
    found = re.search(r";; flags: ([a-z ]*);", text)
    return set(found[1].split()) if found else set()


def test_dig_and_kdig_read_the_same(served: Served) -> None:
    for name, qtype in [
        ("node1.he.example.com", "A"),
        ("he.example.com", "NS"),
        ("he.example.com", "SOA"),
        ("_etcd-client-ssl._tcp.he.example.com", "SRV"),
        ("11.0.41.10.in-addr.arpa", "PTR"),
        ("150.0.41.10.in-addr.arpa", "PTR"),
        ("ip-10-41-0-150.dyn.he.example.com", "A"),
        ("k8s.he.example.com", "A"),
        ("mirror.example.net", "A"),
        ("localhost", "AAAA"),
    ]:
        ours = served.short(name, qtype)
        assert ours, name
        kdig = served.client.run("kdig", f"@{SERVER}", "+short", name, qtype).split("\n")[:-1]
        assert ours == kdig


def test_what_they_say(served: Served) -> None:
    assert served.short("NODE9.he.example.com") == ["10.41.0.19"]
    assert served.short("-x", "10.41.0.19") == ["node9.he.example.com."]
    assert served.short("-x", "10.41.0.250") == ["k8s.he.example.com."]
    assert served.short("nas.he.example.com") == ["10.41.0.9"]
    assert served.short("mirror.example.net") == ["10.41.0.8"]
    assert len(served.short("_etcd-server-ssl._tcp.he.example.com", "SRV")) == 9


def test_host(served: Served) -> None:
    assert served.client.run("host", "node2.he.example.com", SERVER).splitlines()[-1] == (
        "node2.he.example.com has address 10.41.0.12"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["+noedns"], "NOERROR"),
        (["+edns=0"], "NOERROR"),
        (["+edns=100", "+noednsneg"], "BADVERS"),
        (["+ednsopt=100"], "NOERROR"),
        (["+edns=100", "+noednsneg", "+ednsopt=100"], "BADVERS"),
        (["+ednsflags=0x80"], "NOERROR"),
        (["+dnssec", "+bufsize=512", "+ignore"], "NOERROR"),
        (["+dnssec"], "NOERROR"),
        (["+nocookie", "+nsid", "+subnet=10.0.0.0/8"], "NOERROR"),
        (["+header-only"], "FORMERR"),
        (["+opcode=15"], "NOTIMP"),
        (["+opcode=4"], "NOTIMP"),
        (["+opcode=5"], "NOTIMP"),
        (["+tcp"], "NOERROR"),
        (["+tcp", "+keepopen"], "NOERROR"),
        (["+tcp", "+keepalive"], "NOERROR"),
        (["+zflag"], "NOERROR"),
        (["+adflag"], "NOERROR"),
        (["+cdflag"], "NOERROR"),
        (["+norec"], "NOERROR"),
        (["-t", "TYPE1000"], "NOERROR"),
        (["-t", "AAAA"], "NOERROR"),
        (["-t", "ANY", "+notcp"], "NOERROR"),
        (["-c", "CH"], "REFUSED"),
        (["-c", "HS"], "REFUSED"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_ednscomp(served: Served, arguments: list[str], expected: str) -> None:
    text = served.dig("node1.he.example.com", "A", *arguments)
    assert status(text) == expected, text
    assert "qr" in flags(text), text
    if expected == "NOERROR":
        assert "aa" in flags(text), text
    if expected == "BADVERS":
        assert "EDNS: version: 0," in text, text
    assert "malformed" not in text.lower()


def test_no_version_is_told(served: Served) -> None:
    assert status(served.dig("version.bind", "TXT", "CH")) == "REFUSED"


@pytest.mark.parametrize("kind", ["AXFR", "IXFR=1"])
def test_no_zone_is_given_away(served: Served, kind: str) -> None:
    text = served.dig("he.example.com", kind, "+tcp")
    assert "node1" not in text
    assert "Transfer failed" in text or status(text) == "REFUSED"


def test_sizes(served: Served) -> None:
    asked = ("_etcd-server-ssl._tcp.he.example.com", "SRV")
    small = served.dig(*asked, "+noedns", "+ignore")
    assert int(re.search(r"MSG SIZE  rcvd: (\d+)", small)[1]) <= 512  # type: ignore[index]
    assert ("ANSWER: 9" in small) != ("tc" in flags(small))
    whole = served.dig(*asked, "+bufsize=1232")
    assert "ANSWER: 9, AUTHORITY: 0, ADDITIONAL: 10" in whole
    assert "tc" not in flags(whole)
    over_tcp = served.dig(*asked, "+tcp", "+noedns")
    assert "ANSWER: 9, AUTHORITY: 0, ADDITIONAL: 9" in over_tcp


def test_no_and_nothing(served: Served) -> None:
    absent = served.dig("nobody.he.example.com")
    assert (status(absent), "AUTHORITY: 1" in absent) == ("NXDOMAIN", True)
    for name in ("_tcp.he.example.com", "dyn.he.example.com"):
        empty = served.dig(name)
        assert (status(empty), "ANSWER: 0, AUTHORITY: 1" in empty) == ("NOERROR", True)


def test_strangers_get_our_names_only(served: Served) -> None:
    def asked(name: str) -> str:
        return served.stranger.run("dig", f"@{SERVER}", "+tries=1", "+time=2", name, check=False)

    ours = asked("node1.he.example.com")
    assert (status(ours), "ra" in flags(ours)) == ("NOERROR", False)
    assert status(asked("www.example.org")) == "REFUSED"


def test_several_queries_on_one_connection(served: Served) -> None:
    text = served.dig("+tcp", "+keepopen", "node1.he.example.com", "node2.he.example.com", "nobody.he.example.com")
    assert re.findall(r"status: (\w+)", text) == ["NOERROR", "NOERROR", "NXDOMAIN"]


def test_golden_exchanges_are_what_dig_reads(served: Served, golden: object) -> None:
    """The exchanges kept as text are dig's reading of our octets, not our own."""
    text = ""
    for asked in (
        ["node1.he.example.com", "A"],
        ["node1.he.example.com", "AAAA"],
        ["nobody.he.example.com", "A"],
        ["_etcd-server-ssl._tcp.he.example.com", "SRV"],
        ["-x", "10.41.0.11"],
        ["-x", "10.99.0.11"],
        ["he.example.com", "ANY", "+notcp"],
        ["www.example.org", "A"],
    ):
        plain = served.dig(*asked, "+noedns", "+nostats", "+nocmd")
        plain = re.sub(r"id: \d+", "id: 1", re.sub(r"(he\.example\.com\. )\d+( 3600 600)", r"\g<1>1\2", plain))
        text += f"== {' '.join(asked)}\n{plain}\n"
    golden("dns/dig.txt", text)  # type: ignore[operator]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_million_random_datagrams(served: Served, tmp_path: Path) -> None:
    """Nothing reaches the loop but counts; afterwards it answers as before, and has not grown."""
    log = tmp_path / "log"
    description = tmp_path / "local.yaml"
    description.write_text(DESCRIPTION.replace(f"bootstrapper: {SERVER}", "bootstrapper: 10.41.0.3"))
    rack = served.client.rack
    server = rack.machine("soak", "10.41.0.3/24")
    server.ip("address", "add", "10.41.0.4/24", "dev", "eth0")
    process = server.start(sys.executable, str(ROOT / "bench" / "serve_dns.py"), str(description), log=log)
    wait_for(lambda: "ready" in log.read_text())
    sender = [*server.command(sys.executable, __file__), "10.41.0.3"]
    subprocess.run([*sender, "20000"], check=True, timeout=100)
    before = resident(process.pid)
    subprocess.run([*sender, "1000000"], check=True, timeout=500)
    text = served.client.run("dig", "@10.41.0.3", "+short", "+tries=3", "node1.he.example.com")
    assert text == "10.41.0.11\n"
    assert resident(process.pid) < before * 1.5 + 20_000
    assert server.stop(process) == 0
    counts = json.loads(log.read_text().splitlines()[-1])
    assert counts.get("fault", 0) == 0
    assert sum(counts.values()) > 900_000, counts


def resident(pid: int) -> int:
    """kB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]


SAMPLE = bytes.fromhex(
    "123401200001000000000001" + "056e6f646531026865076578616d706c6503636f6d00" + "00010001" + "00002904d0000000000000"
)


def send_junk(address: str, count: int) -> None:
    """Half pure noise, half damaged queries; after every fifty a good one, whose reply is waited for: no faster than
    the server reads, or the kernel would drop what it should see."""
    rng = random.Random(count)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 53))
        sock.settimeout(5)
        for number in range(count):
            if number % 2:
                data = rng.randbytes(rng.randrange(80))
            else:
                damaged = bytearray(SAMPLE)
                for _ in range(rng.randrange(4)):
                    damaged[rng.randrange(len(damaged))] = rng.randrange(256)
                data = bytes(damaged[: rng.randrange(len(damaged) * 2)])
            sock.send(data)
            if number % 50 == 0:
                mark = rng.randbytes(2)
                sock.send(mark + SAMPLE[2:])
                while not sock.recv(2048).startswith(mark):
                    pass


if __name__ == "__main__":
    send_junk(sys.argv[1], int(sys.argv[2]))
