"""A DNS query in; a reply, or "ask a forwarder", or nothing out.

`DnsAnswers.answer` is the whole decision. It keeps what it packed, in a bounded table, keyed on what the reply depends
on: most queries of a rack are the same few hundred (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dnslib

from bootstrapper.answers.dns_build import (
    EDE_NOT_AUTHORITATIVE,
    Sections,
    build_header_reply,
    build_reply,
    question_label,
)
from bootstrapper.answers.dns_index import NEGATIVE_S, TTL_S, Names, Node, ZoneIndex
from bootstrapper.errors import MalformedPacket
from bootstrapper.wire import dns as wire
from bootstrapper.wire.dns_names import parse_text, text_of

TCP_SIZE = 65535
KEPT = 16384
"Packed replies kept; at a few hundred octets each, a few megabytes."


@dataclass(frozen=True, slots=True)
class Reply:
    wire: bytes
    reason: str
    "A short constant, for counting."
    final: bool = False
    "The reply follows from the query's octets alone (and who may ask), until the names change."


@dataclass(frozen=True, slots=True)
class Forward:
    """Not ours, and this client may ask: the server's forwarder finds the reply."""

    query: wire.Query


@dataclass(frozen=True, slots=True)
class Drop:
    reason: str


Outcome = Reply | Forward | Drop


class DnsAnswers:
    def __init__(self, names: Names, forwards: bool) -> None:
        """`forwards`: there is somebody to ask about names that are not ours."""
        self._names = names
        self._forwards = forwards
        self._kept: dict[tuple[object, ...], tuple[bytes, str]] = {}

    def answer(self, data: bytes, allowed: bool, tcp: bool = False) -> Outcome:
        """`allowed`: the client is in one of our networks, so that it may ask about names that are not ours."""
        if len(data) < wire.HEADER.size:
            return Drop("dns-short")
        flags = data[2] << 8 | data[3]
        if flags & wire.QR:
            return Drop("dns-not-a-query")  # two servers would answer each other for ever
        if flags & wire.OPCODE_MASK:
            return Reply(build_header_reply(data, wire.NOTIMP), "notimp")
        try:
            query = wire.parse_query(data)
        except MalformedPacket as error:
            return Reply(build_header_reply(data, wire.FORMERR), error.reason)
        # A stranger's address may be forged, and its owner would get the reply: never much more than was asked
        limit = query.limit if allowed else wire.PLAIN_SIZE
        return self._answer(query, allowed, TCP_SIZE if tcp else limit)

    def _answer(self, query: wire.Query, allowed: bool, limit: int) -> Outcome:
        edns = query.edns
        shape = (edns.version, edns.dnssec) if edns else None
        kept_flags = query.flags & (wire.RD | wire.CD)
        key = (query.name, query.qtype, query.qclass, kept_flags, shape, limit, allowed)
        found = self._kept.get(key)
        if found is None:
            sections, reason = self._decide(query, allowed)
            if sections is None:
                return Forward(query)
            found = build_reply(query, sections, limit), reason
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = found
        packed, reason = found
        ident = query.id.to_bytes(2, "big")
        end = wire.HEADER.size + len(query.question)
        final = not (edns and edns.has_options) and reason in ("answer", "nodata")
        return Reply(ident + packed[2 : wire.HEADER.size] + query.question + packed[end:], reason, final)

    def _decide(self, query: wire.Query, allowed: bool) -> tuple[Sections | None, str]:
        """The reply's contents and the reason; no contents: forward."""
        recursion = wire.RA if allowed and self._forwards else 0
        if query.edns and query.edns.version > 0:
            return Sections(wire.BADVERS, recursion), "badvers"
        if query.qclass != wire.IN or query.qtype in _REFUSED_TYPES:
            return Sections(wire.REFUSED, recursion), "refused"
        zone = self._names.find_zone(query.name)
        if zone is not None:
            return _local(self._names, zone, query, recursion)
        if not recursion:
            why = "this server forwards nothing" if allowed else "only clients of the described networks may ask this"
            return Sections(wire.REFUSED, 0, extended_error=(EDE_NOT_AUTHORITATIVE, why)), "refused"
        if not query.flags & wire.RD:
            why = "not our name, and recursion was not asked for"
            return Sections(wire.REFUSED, recursion, extended_error=(EDE_NOT_AUTHORITATIVE, why)), "refused"
        return None, "forward"


def _local(names: Names, zone: ZoneIndex, query: wire.Query, flags: int) -> tuple[Sections, str]:
    flags |= wire.AA
    node = names.find_node(zone, query.name)
    if node is None:
        return Sections(wire.NXDOMAIN, flags, authority=(_soa(zone),)), "nxdomain"
    found = _values(node, query.qtype)
    if not found:
        # NODATA: never NXDOMAIN for an AAAA of a machine that has an A, or resolvers forget the A (RFC 2308)
        return Sections(wire.NOERROR, flags, authority=(_soa(zone),)), "nodata"
    owner = question_label(query)
    answers = tuple(dnslib.RR(owner, rtype, ttl=TTL_S, rdata=value) for rtype, value in found)
    return Sections(wire.NOERROR, flags, answers, additional=tuple(_glue(names, answers))), "answer"


def _values(node: Node, qtype: int) -> Sequence[tuple[int, dnslib.RD]]:
    if qtype == wire.ANY:
        # One set is enough (RFC 8482): "everything" is only good for amplification
        first = next(iter(node), None)
        return [(first, value) for value in node[first]] if first is not None else []
    return [(qtype, value) for value in node.get(qtype, ())]


def _glue(names: Names, answers: Sequence[dnslib.RR]) -> Iterator[dnslib.RR]:
    """Addresses of the hosts that SRV and NS records lead to: etcd's discovery needs no second question."""
    targets: dict[str, None] = {}
    for answer in answers:
        if answer.rtype == wire.SRV:
            targets[str(answer.rdata.target)] = None
        elif answer.rtype == wire.NS:
            targets[str(answer.rdata.label)] = None
    for target in targets:
        for address in names.find_addresses(parse_text(target)):
            yield dnslib.RR(target, wire.A, ttl=TTL_S, rdata=address)


def _soa(zone: ZoneIndex) -> dnslib.RR:
    """In negative replies the SOA's own time to live is its MINIMUM (RFC 2308 section 3)."""
    return dnslib.RR(text_of(zone.origin), wire.SOA, ttl=NEGATIVE_S, rdata=zone.soa)


_REFUSED_TYPES = frozenset({wire.AXFR, wire.IXFR})
