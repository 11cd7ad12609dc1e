from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import cast

import pytest

from bootstrapper.answers.tftp import Grant, Refusal, Settings, Visitor, Visitors, answer_request, normalise_name
from bootstrapper.answers.transfer import Terms, content_of
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import Cluster, LocalBoot, UnknownPolicy
from bootstrapper.wire.tftp import Error, Opcode, Request, parse_packet

FILES = {
    "undionly.kpxe": content_of(bytes(74213)),
    "notes.txt": content_of(b"one\ntwo\r\n"),
    "grub/grub.cfg": content_of(b""),
}


def ask(name: bytes, mode: bytes = b"octet", *options: str, settings: Settings | None = None) -> Grant | Refusal:
    tail = b"".join(each.encode() + b"\0" for each in options)
    request = parse_packet(b"\0\1" + name + b"\0" + mode + b"\0" + tail)
    assert isinstance(request, Request)
    return answer_request(request, FILES, settings or Settings())


def terms(*options: str, settings: Settings | None = None, mode: bytes = b"octet") -> Terms:
    grant = ask(b"undionly.kpxe", mode, *options, settings=settings)
    assert isinstance(grant, Grant)
    return grant.terms


@pytest.mark.parametrize(
    "name",
    [
        b"undionly.kpxe", b"/undionly.kpxe", b"//undionly.kpxe", b"\\undionly.kpxe", b"\\/undionly.kpxe",
        b"undionly.kpxe\xff", b"undionly.kpxe \xff", b"undionly.kpxe\r\n", b"undionly.kpxe\x7f",
    ],
)  # fmt: skip
def test_the_ways_firmware_writes_a_name(name: bytes) -> None:
    grant = ask(name)
    assert isinstance(grant, Grant)
    assert grant.name == "undionly.kpxe"
    assert grant.content.size == 74213


def test_a_backslash_within_a_name() -> None:
    assert isinstance(ask(rb"\grub\grub.cfg"), Grant)


@pytest.mark.parametrize(
    "name",
    [
        b"../undionly.kpxe", b"a/../../undionly.kpxe", b"a/..", b"/etc/passwd", b"//etc/passwd", rb"..\undionly.kpxe",
        rb"\etc\passwd", rb"C:\undionly.kpxe", rb"\\host\share", b"%2e%2e/undionly.kpxe", b"%252e%252e/undionly.kpxe",
        b"undionly.kpxe%00", b"undi\xffonly.kpxe", b"undi\x80only.kpxe", b"undi\x07only.kpxe", b"undionly.kpxe.", b"",
        b".", b"/", b"./undionly.kpxe", b"..", b"undionly", b"undionly.kpxe-evil", b"undionly.kpxe/", b"UNDIONLY.KPXE",
        "undionly․kpxe".encode(), b"/proc/self/environ", b"/dev/zero", b"pki/ca.key", b".ssh/id_rsa", b"n" * 400,
        b"autoexec.ipxe", b"revocations_sbat.efi",
    ],
)  # fmt: skip
def test_any_other_name_is_not_found(name: bytes) -> None:
    """Path traversal, devices, spellings: each is a key that the table does not have."""
    refusal = ask(name)
    assert isinstance(refusal, Refusal)
    assert refusal.error == Error(1, "no such file")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (b"a" * 255, "a" * 255),
        (b"a" * 256, None),
        (b"/\\//x", "x"),
        (b"x\xff\xff", "x"),
        (b"\xffx", None),
        (b"a b", "a b"),
    ],
)
def test_normalise_name(name: bytes, key: str | None) -> None:
    assert normalise_name(name) == key


def test_writing_is_refused() -> None:
    assert answer_request(Request(Opcode.WRITE, b"undionly.kpxe", "octet"), FILES, Settings()) == Refusal(
        Error(2, "this server is only read from"), "write"
    )


@pytest.mark.parametrize("mode", [b"mail", b"binary"])
def test_other_modes_are_illegal(mode: bytes) -> None:
    assert ask(b"undionly.kpxe", mode) == Refusal(Error(4, "mode is not octet or netascii"), "mode")


def test_netascii_converts_line_ends() -> None:
    grant = ask(b"notes.txt", b"NetASCII", "tsize", "0")
    assert isinstance(grant, Grant)
    assert bytes(grant.content.read(0, grant.content.size)) == b"one\r\ntwo\r\0\r\n"
    assert grant.terms.oack == b""


def test_netascii_of_something_large_is_refused() -> None:
    files = {"big": content_of(bytes((1 << 20) + 1))}
    refusal = answer_request(Request(Opcode.READ, b"big", "netascii"), files, Settings())
    assert isinstance(refusal, Refusal)
    assert refusal.error.code == 0


def test_no_options() -> None:
    assert terms() == Terms(block_size=512, window=1, timeout_s=1.0, oack=b"")


@pytest.mark.parametrize(
    ("options", "oack"),
    [
        (("blksize", "1408"), b"\0\6blksize\x001408\0"),
        (("blksize", "8"), b"\0\6blksize\x008\0"),
        (("blksize", "65464"), b"\0\6blksize\x001468\0"),
        (("blksize", "99999"), b"\0\6blksize\x001468\0"),
        (("tsize", "0"), b"\0\6tsize\x0074213\0"),
        (("TSize", "0", "BLKSIZE", "01024"), b"\0\6TSize\x0074213\0BLKSIZE\x001024\0"),
        (("timeout", "1"), b"\0\6timeout\x001\0"),
        (("timeout", "255"), b"\0\6timeout\x00255\0"),
        (("windowsize", "4"), b"\0\6windowsize\x004\0"),
        (("windowsize", "65535"), b"\0\6windowsize\x0032\0"),
        (
            ("tsize", "0", "blksize", "1428", "windowsize", "4"),
            b"\0\6tsize\x0074213\0blksize\x001428\0windowsize\x004\0",
        ),
        (("blksize", "1024", "blksize", "512"), b"\0\6blksize\x001024\0"),
        (("utimeout", "100", "tsize", "0", "multicast", "1", "rollover", "0"), b"\0\6tsize\x0074213\0"),
    ],
)
def test_options_agreed(options: tuple[str, ...], oack: bytes) -> None:
    assert terms(*options).oack == oack


@pytest.mark.parametrize(
    "options",
    [
        ("blksize", "7"), ("blksize", "0"), ("blksize", "-1"), ("blksize", "1e3"), ("blksize", "0x400"),
        ("timeout", "0"), ("timeout", "256"), ("windowsize", "0"), ("windowsize", "65536"), ("utimeout", "100"),
        ("blksize2", "1024"), ("blksize", "9" * 100), ("tsize", "x"), ("blksize", "1 024"),
    ],
)  # fmt: skip
def test_options_left_out(options: tuple[str, ...]) -> None:
    assert terms(*options) == Terms()


def test_what_was_agreed_is_what_is_used() -> None:
    agreed = terms("blksize", "1408", "windowsize", "16", "timeout", "3")
    assert (agreed.block_size, agreed.window, agreed.timeout_s) == (1408, 16, 3.0)


def test_blocks_fit_the_interface() -> None:
    assert terms("blksize", "65464", settings=Settings(mtu=9000)).block_size == 8968


def test_the_window_can_be_switched_off() -> None:
    """edk2#7264."""
    assert terms("windowsize", "16", settings=Settings(window=1)) == Terms()


KNOWN, UNKNOWN = "02:00:00:00:00:01", "02:00:00:00:00:99"
SECOND_CARD = "02:00:00:00:00:02"
ADDRESS = IPv4Address("10.9.0.11")


@dataclass(frozen=True)
class FakeMachine:
    macs: tuple[str, ...] = (KNOWN, SECOND_CARD)
    ip: IPv4Address | None = ADDRESS
    local_boot: LocalBoot = LocalBoot.AUTO

    @property
    def mac(self) -> str:
        return self.macs[0]


@dataclass(frozen=True)
class FakeCluster:
    """What of a Cluster is asked for here."""

    unknown_machines: UnknownPolicy
    machines: tuple[FakeMachine, ...] = (FakeMachine(),)
    by_mac = MappingProxyType({KNOWN: FakeMachine(), SECOND_CARD: FakeMachine()})

    @property
    def by_ip(self) -> Mapping[IPv4Address, FakeMachine]:
        return {machine.ip: machine for machine in self.machines if machine.ip is not None}

    @property
    def network(self) -> FakeCluster:
        return self

    def find_subnet(self, address: IPv4Address) -> IPv4Network | None:
        network = IPv4Network("10.9.0.0/24")
        return network if address in network else None


LEASES = {
    IPv4Address("10.9.0.100"): SECOND_CARD,
    IPv4Address("10.9.0.101"): UNKNOWN,
    IPv4Address("192.0.2.1"): KNOWN,
}
DONE = History(wanted=1, done=1)


@pytest.mark.parametrize(
    ("policy", "address", "history", "visitor"),
    [
        (UnknownPolicy.IGNORE, "10.9.0.11", History(), Visitor(KNOWN, True)),
        (UnknownPolicy.IGNORE, "10.9.0.100", History(), Visitor(KNOWN, True)),
        (UnknownPolicy.IGNORE, "10.9.0.11", DONE, Visitor(KNOWN, False)),
        (UnknownPolicy.IGNORE, "10.9.0.101", History(), None),
        (UnknownPolicy.DISCOVER, "10.9.0.101", History(), Visitor(UNKNOWN, False)),
        (UnknownPolicy.DISCOVER, "10.9.0.200", History(), None),
        (UnknownPolicy.DISCOVER, "192.0.2.1", History(), None),
    ],
)
def test_who_is_served(policy: UnknownPolicy, address: str, history: History, visitor: Visitor | None) -> None:
    visitors = Visitors(cast(Cluster, FakeCluster(policy)), LEASES.get, lambda _mac: history)
    assert visitors.find(address) == visitor
