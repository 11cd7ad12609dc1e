"""Reading DNS: names, queries, outlines; every truncation; the oracle for any bytes is "a value or MalformedPacket"."""

from __future__ import annotations

from contextlib import suppress

import dnslib
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dns import Edns, Query, parse_outline, parse_query, read_owner
from bootstrapper.wire.dns_names import labels_of, parents_of, parse_text, read_name, skip_name, text_of

# dig +noall +qr NoDe1.example.com AAAA: ID 0x1234, RD AD, EDNS with a cookie of 8 octets, 1232
DIG = bytes.fromhex(
    "1234012000010000000000010"
    "54e6f446531076578616d706c6503636f6d00001c0001"
    "00002904d000000000000c000a00081122334455667788"
)
PLAIN = bytes.fromhex("00070100000100000000000003777777076578616d706c6503636f6d0000010001")


def test_a_query_as_dig_sends_it() -> None:
    assert parse_query(DIG) == Query(
        id=0x1234,
        flags=0x0120,
        name=b"\x05node1\x07example\x03com\x00",
        question=b"\x05NoDe1\x07example\x03com\x00\x00\x1c\x00\x01",
        qtype=28,
        qclass=1,
        edns=Edns(size=1232, version=0, dnssec=False, has_options=True),
    )
    assert parse_query(DIG).limit == 1232


def test_a_query_without_edns_takes_512_octets() -> None:
    query = parse_query(PLAIN)
    assert (query.edns, query.limit) == (None, 512)


@pytest.mark.parametrize(("size", "limit"), [(0, 512), (512, 512), (900, 900), (4096, 1232), (65535, 1232)])
def test_the_size_a_client_may_name(size: int, limit: int) -> None:
    assert (
        parse_query(PLAIN[:11] + b"\1" + PLAIN[12:] + b"\0\0\x29" + size.to_bytes(2, "big") + bytes(6)).limit == limit
    )


@pytest.mark.parametrize("sample", [DIG, PLAIN])
def test_every_truncation_is_malformed(sample: bytes) -> None:
    parse_query(sample)
    for size in range(len(sample)):
        with pytest.raises(MalformedPacket):
            parse_query(sample[:size])


def header(questions: int = 1, answers: int = 0, authority: int = 0, additional: int = 0) -> bytes:
    return b"\0\7\1\0" + b"".join(count.to_bytes(2, "big") for count in (questions, answers, authority, additional))


OPT = b"\0\0\x29\x04\xd0" + bytes(6)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(0), "dns-question-count"),
        (header(2) + PLAIN[12:] * 2, "dns-question-count"),
        (header() + b"\xc0\x0c\0\1\0\1", "dns-label"),  # a pointer to itself
        (header() + b"\x40a\0\0\1\0\1", "dns-label"),
        (header() + b"\x3f" + b"a" * 63 + b"\0\0\1", "dns-short"),
        (header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", "dns-name"),
        (header(additional=2) + PLAIN[12:] + OPT + OPT, "dns-opt"),
        (header(answers=1) + PLAIN[12:] + OPT, "dns-opt"),
        (header(additional=1) + PLAIN[12:] + b"\1a" + OPT, "dns-opt"),  # not owned by the root
        (header(additional=1) + PLAIN[12:] + OPT[:-1] + b"\x03abc", "dns-opt"),
        (header(additional=1) + PLAIN[12:] + OPT[:-1] + b"\x05\0\x0a\0\x02a", "dns-opt"),
        (header(additional=65535) + PLAIN[12:], "dns-records"),
    ],
)
def test_malformed_queries(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        parse_query(data)
    assert caught.value.reason == reason


@given(st.binary(max_size=200))
@example(DIG)
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    for parse in (parse_query, parse_outline):
        with suppress(MalformedPacket):
            parse(data)
    for at in range(0, len(data), 7):
        with suppress(MalformedPacket):
            assert len(read_name(data, at)) <= 255
        with suppress(MalformedPacket):
            assert at < skip_name(data, at) <= len(data)


@given(
    st.lists(st.binary(min_size=1, max_size=63), max_size=3),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.booleans(),
)
def test_dnslib_and_we_read_the_same(labels: list[bytes], qtype: int, ident: int, edns: bool) -> None:
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=ident, bitmap=0x0100))
    record.add_question(dnslib.DNSQuestion(dnslib.DNSLabel(labels), qtype))
    if edns:
        record.add_ar(dnslib.EDNS0(udp_len=1400, flags="do"))
    query = parse_query(bytes(record.pack()))
    assert (query.id, query.qtype, query.qclass) == (ident, qtype, 1)
    assert labels_of(query.question[:-4]) == tuple(labels)
    assert query.edns == (Edns(1400, 0, True, False) if edns else None)


def test_names() -> None:
    assert parse_text("Node1.Example.com.") == b"\x05node1\x07example\x03com\x00"
    assert parse_text(".") == b"\0"
    assert text_of(b"\x05node1\x03com\x00") == "node1.com"
    assert text_of(b"\x03a.\n\x00") == "a\\046\\010"
    assert text_of(b"\0") == "."
    assert list(parents_of(b"\x01a\x02bc\x00")) == [b"\x01a\x02bc\x00", b"\x02bc\x00", b"\x00"]


@pytest.mark.parametrize("text", ["a..b", "." + "a", "a" * 64, ".".join(["a" * 60] * 5), "b\u00fccher.de"])
def test_names_that_dns_cannot_hold(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|ascii"):
        parse_text(text)


def test_a_compressed_name_is_followed_backwards() -> None:
    data = b"\x03com\0" + b"\x07example\xc0\x00" + b"\x03WWW\xc0\x05"
    assert read_name(data, 15) == b"\x03www\x07example\x03com\x00"
    assert skip_name(data, 15) == 21


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b"\xc0\x00", 0),  # itself
        (b"\x01a\xc0\x04\x01b\x00", 0),  # forward
        (b"\x01a\xc0\x00", 0),  # the labels it ends
        (b"\xc0\x02\xc0\x00", 2),  # each other
    ],
)
def test_pointers_that_do_not_lead_back(data: bytes, at: int) -> None:
    with pytest.raises(MalformedPacket, match="dns-pointer"):
        read_name(data, at)


def test_a_chain_of_pointers_ends() -> None:
    data = b"\x00" + b"".join((0xC000 | (1 + 2 * (at - 1) if at else 0)).to_bytes(2, "big") for at in range(200))
    with pytest.raises(MalformedPacket, match="dns-pointer"):
        read_name(data, len(data) - 2)
    assert read_name(data, 1 + 2 * 40) == b"\0"


def test_the_outline_of_a_reply() -> None:
    reply = dnslib.DNSRecord.parse(PLAIN).reply()
    reply.add_answer(*dnslib.RR.fromZone("www.example.com 60 CNAME a.example.com"))
    reply.add_auth(*dnslib.RR.fromZone("example.com 9 NS ns.example.com"))
    reply.add_ar(*dnslib.RR.fromZone("ns.example.com 7 A 1.2.3.4"))
    data = bytes(reply.pack())
    outline = parse_outline(data)
    found = [(each.section, read_owner(data, each), each.type, each.ttl) for each in outline.records]
    assert found == [
        (1, b"\x03www\x07example\x03com\x00", 5, 60),
        (2, b"\x07example\x03com\x00", 2, 9),
        (3, b"\x02ns\x07example\x03com\x00", 1, 7),
    ]
    assert (outline.question_end, outline.end) == (33, len(data))
    for size in range(len(data)):
        with pytest.raises(MalformedPacket):
            parse_outline(data[:size])
