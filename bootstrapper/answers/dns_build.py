"""Replies of our own, packed with dnslib: the size rules, the OPT record, the replies that are only a header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dnslib

from bootstrapper.wire import dns as wire
from bootstrapper.wire.dns_names import labels_of

EDE_BLOCKED, EDE_NO_REACHABLE_AUTHORITY, EDE_NOT_AUTHORITATIVE = 15, 22, 20
"Extended errors (RFC 8914): a person with dig sees why."
_EDE_OPTION = 15


@dataclass(frozen=True, slots=True)
class Sections:
    """A reply before it has a size."""

    rcode: int = wire.NOERROR
    flags: int = 0
    answers: Sequence[dnslib.RR] = ()
    authority: Sequence[dnslib.RR] = ()
    additional: Sequence[dnslib.RR] = ()
    "May be left out when there is no room (RFC 2181 section 9)."
    extended_error: tuple[int, str] | None = None


def build_reply(query: wire.Query, sections: Sections, limit: int) -> bytes:
    """Pack within `limit` octets: first without the additional section, then cut short with TC."""
    whole = _pack(query, sections, sections.answers, sections.authority, sections.additional, 0)
    if len(whole) <= limit:
        return whole
    bare = _pack(query, sections, sections.answers, sections.authority, (), 0)
    if len(bare) <= limit:
        return bare
    return _pack(query, sections, (), (), (), wire.TC)


def build_header_reply(data: bytes, rcode: int) -> bytes:
    """For a query that cannot be read further than its header: no question is repeated."""
    ident, flags = wire.HEADER.unpack_from(data)[:2]
    kept = flags & (wire.OPCODE_MASK | wire.RD | wire.CD)
    return wire.HEADER.pack(ident, wire.QR | kept | rcode, 0, 0, 0, 0)


def question_label(query: wire.Query) -> dnslib.DNSLabel:
    """The name asked for; an owner equal to it is packed as a pointer to the question, and so has its case."""
    return dnslib.DNSLabel(list(labels_of(query.name)))


def _pack(
    query: wire.Query,
    sections: Sections,
    answers: Sequence[dnslib.RR],
    authority: Sequence[dnslib.RR],
    additional: Sequence[dnslib.RR],
    more_flags: int,
) -> bytes:
    kept = query.flags & (wire.RD | wire.CD)
    flags = wire.QR | kept | sections.flags | more_flags | sections.rcode & wire.RCODE_MASK
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=query.id, bitmap=flags))
    record.add_question(dnslib.DNSQuestion(question_label(query), query.qtype, query.qclass))
    record.add_answer(*answers)
    record.add_auth(*authority)
    record.add_ar(*additional)
    if query.edns is not None:
        record.add_ar(_opt(query.edns, sections))
    packed = record.pack()
    packed[wire.HEADER.size : wire.HEADER.size + len(query.question)] = query.question  # 0x20 case (RFC 4343)
    return bytes(packed)


def _opt(edns: wire.Edns, sections: Sections) -> dnslib.RR:
    options = []
    if sections.extended_error is not None:
        code, text = sections.extended_error
        options.append(dnslib.EDNSOption(_EDE_OPTION, code.to_bytes(2, "big") + text.encode()))
    flags = "do" if edns.dnssec else ""
    return dnslib.EDNS0(
        rname=".", flags=flags, ext_rcode=sections.rcode >> 4, udp_len=wire.SAFE_SIZE, version=0, opts=options
    )
