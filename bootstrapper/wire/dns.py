"""DNS messages, as far as a server must look into them: a query whole, a reply's outline.

Replies of our own are built with dnslib (`answers.dns_build`). Queries are read here, since dnslib refuses what RFC
8906 wants answered (labels that are not UTF-8, unknown options) and costs more than the rest of an answer; replies from
a forwarder are passed on as they came, only their outline is read, so that record types we never heard of survive.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dns_names import MAX_LABEL, MAX_NAME, read_name, skip_name

HEADER = Struct("!6H")
"ID, flags, and the number of questions, answers, authority and additional records."
_RECORD = Struct("!HHIH")
_QUESTION = Struct("!HH")

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
"Header flags (RFC 1035 section 4.1.1, RFC 4035 section 3)."
OPCODE_MASK, RCODE_MASK = 0x7800, 0x000F

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
A, NS, CNAME, SOA, PTR, HINFO, TXT, AAAA, SRV, DNAME, OPT, RRSIG = 1, 2, 5, 6, 12, 13, 16, 28, 33, 39, 41, 46
IXFR, AXFR, ANY = 251, 252, 255
IN = 1
DO = 0x8000
"In the flags of an OPT record (RFC 3225)."

PLAIN_SIZE = 512
"What a client without EDNS can take over UDP (RFC 1035 section 4.2.1)."
SAFE_SIZE = 1232
"The most we send over UDP: never fragmented on IPv6's smallest link (DNS flag day 2020)."
MAX_RECORDS = 500
"More records than this in one message are refused: real answers have tens."


@dataclass(frozen=True, slots=True)
class Edns:
    """What the OPT record of a query says (RFC 6891)."""

    size: int
    version: int
    dnssec: bool
    has_options: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A message with exactly one question."""

    id: int
    flags: int
    name: bytes
    "Lower case, wire form."
    question: bytes
    "Name, type and class, octet for octet as asked (0x20 case)."
    qtype: int
    qclass: int
    edns: Edns | None

    @property
    def limit(self) -> int:
        """The size of an answer over UDP."""
        return min(max(self.edns.size, PLAIN_SIZE), SAFE_SIZE) if self.edns else PLAIN_SIZE


@dataclass(frozen=True, slots=True)
class RecordOutline:
    section: int
    "1 answer, 2 authority, 3 additional."
    start: int
    type: int
    rclass: int
    ttl: int
    ttl_at: int
    data_at: int
    data_size: int


@dataclass(frozen=True, slots=True)
class Outline:
    """Where things are in a message."""

    id: int
    flags: int
    question_end: int
    records: tuple[RecordOutline, ...]
    end: int


def parse_query(data: bytes) -> Query:
    """Read a query (its opcode and QR are the caller's matter). Raises MalformedPacket, which FORMERR answers."""
    if len(data) < HEADER.size:
        raise MalformedPacket("dns-short")
    ident, flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if questions != 1:
        raise MalformedPacket("dns-question-count")
    at = _question_name_end(data)
    if at + 4 > len(data):
        raise MalformedPacket("dns-short")
    qtype, qclass = _QUESTION.unpack_from(data, at)
    end = at + 4
    edns = None
    if answers or authorities or additionals:
        edns = _find_edns(data, end, answers + authorities, additionals)
    return Query(ident, flags, data[HEADER.size : at].lower(), data[HEADER.size : end], qtype, qclass, edns)


def parse_outline(data: bytes) -> Outline:
    """Where the records of a message with one question are. Raises MalformedPacket."""
    if len(data) < HEADER.size:
        raise MalformedPacket("dns-short")
    ident, flags, questions, *counts = HEADER.unpack_from(data)
    if questions != 1:
        raise MalformedPacket("dns-question-count")
    if sum(counts) > MAX_RECORDS:
        raise MalformedPacket("dns-records")
    question_end = at = _question_name_end(data) + 4
    records = []
    for section, count in enumerate(counts, start=1):
        for _ in range(count):
            record = _read_record(data, at, section)
            records.append(record)
            at = record.data_at + record.data_size
    if question_end > len(data):
        raise MalformedPacket("dns-short")
    return Outline(ident, flags, question_end, tuple(records), at)


def read_owner(data: bytes, record: RecordOutline) -> bytes:
    """The name a record belongs to, lower case."""
    return read_name(data, record.start)


def _question_name_end(data: bytes) -> int:
    """The first name of a message has nothing before it that a pointer could mean."""
    at = HEADER.size
    size = len(data)
    while True:
        if at >= size:
            raise MalformedPacket("dns-short")
        length = data[at]
        if not length:
            break
        if length > MAX_LABEL:
            raise MalformedPacket("dns-label")
        at += 1 + length
    if at + 1 - HEADER.size > MAX_NAME:
        raise MalformedPacket("dns-name")
    return at + 1


def _read_record(data: bytes, at: int, section: int) -> RecordOutline:
    head = skip_name(data, at)
    if head + _RECORD.size > len(data):
        raise MalformedPacket("dns-short")
    rtype, rclass, ttl, size = _RECORD.unpack_from(data, head)
    data_at = head + _RECORD.size
    if data_at + size > len(data):
        raise MalformedPacket("dns-short")
    return RecordOutline(section, at, rtype, rclass, ttl, head + 4, data_at, size)


def _find_edns(data: bytes, at: int, before: int, additionals: int) -> Edns | None:
    """The OPT record: at most one, owned by the root, in the additional section (RFC 6891 section 6.1.1)."""
    if before + additionals > MAX_RECORDS:
        raise MalformedPacket("dns-records")
    edns = None
    for index in range(before + additionals):
        record = _read_record(data, at, 3)
        if record.type == OPT:
            if edns is not None or index < before or data[at] != 0:
                raise MalformedPacket("dns-opt")
            _check_options(data, record)
            version = record.ttl >> 16 & 0xFF
            edns = Edns(record.rclass, version, bool(record.ttl & DO), record.data_size > 0)
        at = record.data_at + record.data_size
    return edns


def _check_options(data: bytes, record: RecordOutline) -> None:
    at, end = record.data_at, record.data_at + record.data_size
    while at < end:
        if at + 4 > end:
            raise MalformedPacket("dns-opt")
        at += 4 + (data[at + 2] << 8 | data[at + 3])
    if at != end:
        raise MalformedPacket("dns-opt")
