"""What is asked of a forwarder, and what is believed of its replies (RFC 5452; the faults known as DNSpooq).

No sockets: `servers.dns_forward` sends and waits. A reply counts only when its ID and its whole question match,
letter case included (0x20): with a fresh random port for each query, guessing all of it blindly is hopeless.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire import dns as wire
from bootstrapper.wire.dns_names import labels_of, parents_of, read_name

_ROUNDS = 16
"Passes over a reply's CNAMEs; forwarders send chains in order, where one pass is enough."


class Verdict(StrEnum):
    ANSWER = "answer"
    MISMATCH = "mismatch"
    "Somebody else's reply, or a forged one: wait on."
    WRONG_CASE = "wrong-case"
    "All matches but the case of the name: a forwarder that rewrites it, or a forgery. Ask again over TCP."
    TRUNCATED = "truncated"
    NO_EDNS = "no-edns"
    "An old forwarder that refuses the OPT record: ask without."
    FAILED = "failed"
    "A genuine 'I cannot': ask the next forwarder."


class Unusable(MalformedPacket):
    """A genuine reply that is not passed on."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A query as it went out."""

    id: int
    question: bytes
    wire: bytes


@dataclass(frozen=True, slots=True)
class Rebinding:
    """Private addresses in a forwarder's reply let a web page reach this LAN through its visitor's browser.

    They are refused, save under the site's own domains.
    """

    domains: frozenset[bytes]
    "Wire names; each allows itself and everything below it."

    def allows(self, name: bytes) -> bool:
        return any(parent in self.domains for parent in parents_of(name))


@dataclass(frozen=True, slots=True)
class Stored:
    """A forwarder's reply, made ready to be given to any client: without additional records."""

    wire: bytes
    rcode: int
    flags: int
    ttls: tuple[tuple[int, int], ...]
    "Where each time to live stands, and what it was."
    ttl_s: int
    "How long the whole may be kept; 0: not at all."


def build_upstream_query(query: wire.Query, ident: int, case: int, edns: bool = True) -> Sent:
    """Ask the same question, with nothing else of the client's in it but DO and CD (RFC 5625, RFC 4035 section 4).

    `case`: random bits, one for each letter of the name. AD asks for the AD bit back (RFC 6840 section 5.7).
    """
    name = bytearray(query.question[:-4].lower())
    at = 0
    while length := name[at]:
        for index in range(at + 1, at + 1 + length):
            if 0x61 <= name[index] <= 0x7A:
                if case & 1:
                    name[index] -= 0x20
                case >>= 1
        at += 1 + length
    question = bytes(name) + query.question[-4:]
    header = wire.HEADER.pack(ident, wire.RD | wire.AD | query.flags & wire.CD, 1, 0, 0, 1 if edns else 0)
    dnssec = wire.DO if query.edns and query.edns.dnssec else 0
    opt = build_opt(wire.SAFE_SIZE, dnssec) if edns else b""
    return Sent(ident, question, header + question + opt)


def build_opt(size: int, flags: int, rcode: int = 0) -> bytes:
    """An OPT record without options: root, type, size, extended code, version 0, flags, no data."""
    return (
        b"\0\0\x29" + size.to_bytes(2, "big") + bytes((rcode >> 4, 0)) + (flags & wire.DO).to_bytes(2, "big") + b"\0\0"
    )


def judge_reply(sent: Sent, data: bytes, tcp: bool) -> Verdict:
    """Is this the reply to `sent`? Over TCP the connection itself proves the sender: letter case is forgiven."""
    end = wire.HEADER.size + len(sent.question)
    if len(data) < wire.HEADER.size:
        return Verdict.MISMATCH
    ident, flags, questions = wire.HEADER.unpack_from(data)[:3]
    if ident != sent.id or not flags & wire.QR or flags & wire.OPCODE_MASK:
        return Verdict.MISMATCH
    rcode = flags & wire.RCODE_MASK
    if questions == 0 and rcode in (wire.FORMERR, wire.NOTIMP):
        return Verdict.NO_EDNS  # some say FORMERR with the header alone
    question = data[wire.HEADER.size : end]
    if questions != 1 or question.lower() != sent.question.lower():
        return Verdict.MISMATCH
    if question != sent.question and not tcp:
        return Verdict.WRONG_CASE
    if rcode in (wire.NOERROR, wire.NXDOMAIN):
        return Verdict.TRUNCATED if flags & wire.TC and not tcp else Verdict.ANSWER
    return Verdict.NO_EDNS if rcode in (wire.FORMERR, wire.NOTIMP) else Verdict.FAILED


def store_reply(data: bytes, rebinding: Rebinding) -> Stored:
    """Check a genuine reply and cut it down to what is passed on. Raises MalformedPacket.

    Additional records are dropped (nobody asked; the classic way to slip in a lie), answers that do not follow from
    the question by CNAMEs make the reply unusable. Compression only points backwards: cutting the end off is safe.
    """
    outline = wire.parse_outline(data)
    kept = [record for record in outline.records if record.section < 3]
    answers = [record for record in kept if record.section == 1]
    name = read_name(data, wire.HEADER.size)
    chain = _names_in_chain(data, name, answers)
    for record in answers:
        if wire.read_owner(data, record) not in chain and record.type != wire.DNAME:
            raise Unusable("dns-off-topic")
        if not rebinding.allows(name) and _is_private(data, record):
            raise Unusable("dns-rebinding")
    for record in kept:
        if record.type == wire.OPT or record.rclass != wire.IN:
            raise Unusable("dns-records")
        wire.read_owner(data, record)
    end = max((record.data_at + record.data_size for record in kept), default=outline.question_end)
    counts = (1, len(answers), len(kept) - len(answers), 0)
    packed = wire.HEADER.pack(0, 0, *counts) + data[wire.HEADER.size : end]
    ttls = tuple((record.ttl_at, min(record.ttl, MAX_TTL_S) if record.ttl < 2**31 else 0) for record in kept)
    rcode = outline.flags & wire.RCODE_MASK
    return Stored(packed, rcode, outline.flags, ttls, _keep_s(data, rcode, answers, kept))


def render_stored(stored: Stored, query: wire.Query, age_s: int, limit: int) -> bytes:
    """The reply for this client: its ID, its spelling of the question, times that have passed taken off."""
    flags = wire.QR | wire.RA | query.flags & (wire.RD | wire.CD) | stored.rcode
    if query.flags & wire.AD or (query.edns and query.edns.dnssec):
        flags |= stored.flags & wire.AD
    packed = bytearray(stored.wire)
    counts = list(wire.HEADER.unpack_from(packed)[2:])
    question_end = wire.HEADER.size + len(query.question)
    packed[wire.HEADER.size : question_end] = query.question
    for at, ttl in stored.ttls:
        packed[at : at + 4] = max(0, ttl - age_s).to_bytes(4, "big")
    opt = b""
    if query.edns:
        opt = build_opt(wire.SAFE_SIZE, wire.DO if query.edns.dnssec else 0)
        counts[3] = 1
    if len(packed) + len(opt) > limit:
        flags |= wire.TC
        counts[1:3] = 0, 0
        del packed[question_end:]
    wire.HEADER.pack_into(packed, 0, query.id, flags, *counts)
    return bytes(packed) + opt


def site_domains(domain: str) -> Iterable[str]:
    """Domains whose names may lead to private addresses: the cluster's, and the one it lies in when that is not a
    top-level one (`example.com` for `prod.example.com`): a site's own forwarder knows its own machines."""
    yield domain
    parent = domain.partition(".")[2]
    if "." in parent:
        yield parent


def letters_in(question: bytes) -> int:
    """How many random bits the case of a question holds."""
    return sum(bytes((octet,)).isalpha() for label in labels_of(question[:-4]) for octet in label)


def _names_in_chain(data: bytes, name: bytes, answers: list[wire.RecordOutline]) -> set[bytes]:
    """The asked name and all that its CNAMEs lead to, in whatever order they stand."""
    chain = {name}
    aliases = [
        (wire.read_owner(data, record), read_name(data, record.data_at))
        for record in answers
        if record.type == wire.CNAME
    ]
    for _ in range(_ROUNDS):
        size = len(chain)
        for owner, target in aliases:
            if owner in chain:
                chain.add(target)
        if len(chain) == size:
            break
    return chain


def _is_private(data: bytes, record: wire.RecordOutline) -> bool:
    value = data[record.data_at : record.data_at + record.data_size]
    if record.type == wire.A:
        return len(value) != 4 or any(IPv4Address(value) in network for network in _PRIVATE4)
    if record.type == wire.AAAA:
        return len(value) != 16 or any(IPv6Address(value) in network for network in _PRIVATE6)
    return False


def _keep_s(data: bytes, rcode: int, answers: list[wire.RecordOutline], kept: list[wire.RecordOutline]) -> int:
    """RFC 2308 section 5: a 'no' is kept as long as its SOA says, and not at all without one."""
    if any(record.ttl >= 2**31 for record in kept):
        return 0  # RFC 2181 section 8
    if rcode == wire.NOERROR and any(record.type not in (wire.CNAME, wire.RRSIG) for record in answers):
        return min(min(record.ttl for record in kept), MAX_TTL_S)
    soa = next((record for record in kept if record.section == 2 and record.type == wire.SOA), None)
    if soa is None or soa.data_size < 22:
        return 0
    end = soa.data_at + soa.data_size
    minimum = int.from_bytes(data[end - 4 : end], "big")
    return min([soa.ttl, minimum, MAX_NEGATIVE_S, *(record.ttl for record in answers)])


MAX_TTL_S = 86_400
MAX_NEGATIVE_S = 900
"A name that appears in a registry's DNS should work within minutes, whatever its zone says."

_PRIVATE4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    )
)  # fmt: skip
_PRIVATE6 = tuple(IPv6Network(text) for text in ("::/128", "::1/128", "::ffff:0:0/96", "fc00::/7", "fe80::/10"))
