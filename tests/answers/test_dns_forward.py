"""Queries to a forwarder and what is believed of its replies."""

from __future__ import annotations

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.answers.dns_forward import (
    Rebinding,
    Verdict,
    build_upstream_query,
    judge_reply,
    letters_in,
    render_stored,
    site_domains,
    store_reply,
)
from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dns import Query, parse_query
from bootstrapper.wire.dns_names import parse_text

STRICT = Rebinding(frozenset())


def client_query(name: str = "www.example.org", qtype: str = "A", bits: int = 0x0100, **edns: object) -> Query:
    record = dnslib.DNSRecord(
        dnslib.DNSHeader(id=9, bitmap=bits), q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, qtype))
    )
    if edns:
        record.add_ar(dnslib.EDNS0(**edns))
    return parse_query(bytes(record.pack()))


def reply_to(packet: bytes, zone: str = "", authority: str = "", additional: str = "", code: int = 0) -> bytes:
    reply = dnslib.DNSRecord.parse(packet).reply()
    reply.header.rcode = code
    reply.add_answer(*dnslib.RR.fromZone(zone))
    reply.add_auth(*dnslib.RR.fromZone(authority))
    reply.add_ar(*dnslib.RR.fromZone(additional))
    return bytes(reply.pack())


def test_the_query_that_goes_out() -> None:
    sent = build_upstream_query(client_query("ab-1.Org", bits=0x0110), 0x1234, 0b10110)
    # letters a b o r g get bits 0 1 1 0 1; RD, AD and the client's CD; one OPT of 1232 octets, nothing in it
    assert sent.wire.hex() == (
        "1234" "0130" "0001" "0000" "0000" "0001"
        "0461422d31" "034f7247" "00" "0001" "0001"
        "00" "0029" "04d0" "00000000" "0000"
    )  # fmt: skip


def test_dnssec_and_age_of_forwarders() -> None:
    asked = client_query(udp_len=4096, flags="do", opts=[dnslib.EDNSOption(10, b"12345678")])
    record = dnslib.DNSRecord.parse(build_upstream_query(asked, 1, 0).wire)
    assert [(rr.rtype, rr.rclass, rr.ttl, rr.rdata) for rr in record.ar] == [(41, 1232, 0x8000, [])]
    assert dnslib.DNSRecord.parse(build_upstream_query(asked, 1, 0, edns=False).wire).ar == []


SENT = build_upstream_query(client_query(), 0x1234, 0b1011)
GOOD = reply_to(SENT.wire, "www.example.org 60 A 192.0.2.1")


def changed(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "udp", "tcp"),
    [
        (GOOD, "answer", "answer"),
        (changed(GOOD, 1, 0x35), "mismatch", "mismatch"),  # ID
        (changed(GOOD, 2, 0x01), "mismatch", "mismatch"),  # not a reply
        (changed(GOOD, 2, 0xA1), "mismatch", "mismatch"),  # another opcode
        (changed(GOOD, 2, 0x83), "truncated", "answer"),
        (GOOD.replace(SENT.question, SENT.question.lower()), "wrong-case", "answer"),
        (changed(GOOD, 30, 2), "mismatch", "mismatch"),  # another type
        (changed(GOOD, 32, 3), "mismatch", "mismatch"),  # another class
        (changed(GOOD, 14, 0x78), "mismatch", "mismatch"),  # another name
        (changed(GOOD, 5, 2), "mismatch", "mismatch"),  # two questions
        (reply_to(SENT.wire, code=1), "no-edns", "no-edns"),
        (SENT.wire[:2] + b"\x81\x01" + bytes(8), "no-edns", "no-edns"),
        (reply_to(SENT.wire, code=2), "failed", "failed"),
        (reply_to(SENT.wire, code=5), "failed", "failed"),
        (reply_to(SENT.wire, code=3), "answer", "answer"),
        (b"", "mismatch", "mismatch"),
        (GOOD[:11], "mismatch", "mismatch"),
    ],
)
def test_which_replies_count(data: bytes, udp: str, tcp: str) -> None:
    assert (judge_reply(SENT, data, False), judge_reply(SENT, data, True)) == (udp, tcp)


@given(st.binary(max_size=120))
def test_any_bytes_have_a_verdict(data: bytes) -> None:
    assert judge_reply(SENT, data, False) in Verdict
    if judge_reply(SENT, SENT.wire[:2] + data, False) is Verdict.ANSWER:
        assert data[10:].startswith(SENT.question)


def read(packed: bytes) -> dnslib.DNSRecord:
    return dnslib.DNSRecord.parse(packed)


def test_what_the_client_gets() -> None:
    data = reply_to(
        SENT.wire,
        "www.example.org 300 CNAME a.example.net\na.example.net 60 A 192.0.2.1",
        additional="evil.example.com 60 A 192.0.2.66",
    )
    stored = store_reply(data, STRICT)
    assert stored.ttl_s == 60
    asked = client_query("WWW.example.ORG", udp_len=1232)
    reply = read(render_stored(stored, asked, 25, 1232))
    assert (reply.header.id, reply.header.ra, reply.header.aa, reply.header.rcode) == (9, 1, 0, 0)
    assert str(reply.q.qname) == "WWW.example.ORG."
    assert [(str(rr.rname).lower(), rr.ttl, str(rr.rdata)) for rr in reply.rr] == [
        ("www.example.org.", 275, "a.example.net."),
        ("a.example.net.", 35, "192.0.2.1"),
    ]
    assert [rr.rtype for rr in reply.ar] == [41]


def test_a_reply_too_large_for_the_client_is_cut() -> None:
    zone = "\n".join(f"www.example.org 60 A 192.0.2.{n}" for n in range(1, 60))
    stored = store_reply(reply_to(SENT.wire, zone), STRICT)
    small = render_stored(stored, client_query(), 0, 512)
    assert len(small) <= 512
    assert (read(small).header.tc, read(small).rr) == (1, [])
    assert len(read(render_stored(stored, client_query(), 0, 65535)).rr) == 59


def test_ad_only_for_those_who_asked() -> None:
    stored = store_reply(changed(GOOD, 3, GOOD[3] | 0x20), STRICT)
    shown = [
        read(render_stored(stored, asked, 0, 1232)).header.ad
        for asked in (client_query(), client_query(bits=0x0120), client_query(udp_len=1232, flags="do"))
    ]
    assert shown == [0, 1, 1]


@pytest.mark.parametrize(
    ("zone", "authority", "code", "ttl_s"),
    [
        ("www.example.org 60 A 192.0.2.1", "", 0, 60),
        ("www.example.org 0 A 192.0.2.1", "", 0, 0),
        ("www.example.org 2000000000 A 192.0.2.1", "", 0, 86400),
        ("www.example.org 4000000000 A 192.0.2.1", "", 0, 0),
        ("", "example.org 300 SOA ns.example.org h.example.org 1 2 3 4 90", 3, 90),
        ("", "example.org 30 SOA ns.example.org h.example.org 1 2 3 4 90", 0, 30),
        ("", "example.org 99999 SOA ns.example.org h.example.org 1 2 3 4 99999", 0, 900),
        ("", "", 3, 0),
        ("", "example.org 300 NS ns.example.org", 0, 0),
        ("www.example.org 60 CNAME a.example.org", "", 0, 0),
    ],
)
def test_how_long_a_reply_is_kept(zone: str, authority: str, code: int, ttl_s: int) -> None:
    assert store_reply(reply_to(SENT.wire, zone, authority, code=code), STRICT).ttl_s == ttl_s


def test_cname_chains() -> None:
    forward = "\n".join(f"a{n}.example.org 60 CNAME a{n + 1}.example.org" for n in range(12))
    chain = "www.example.org 60 CNAME a0.example.org\n" + forward + "\na12.example.org 60 A 192.0.2.1"
    assert store_reply(reply_to(SENT.wire, chain), STRICT).ttl_s == 60
    shuffled = "\n".join(reversed(chain.split("\n")))
    assert store_reply(reply_to(SENT.wire, shuffled), STRICT).ttl_s == 60
    loop = "www.example.org 60 CNAME b.example.org\nb.example.org 60 CNAME www.example.org"
    assert store_reply(reply_to(SENT.wire, loop), STRICT).ttl_s == 0


@pytest.mark.parametrize(
    ("zone", "reason"),
    [
        ("bank.example.com 60 A 192.0.2.66", "dns-off-topic"),
        ("www.example.org 60 A 192.0.2.1\nbank.example.com 60 A 192.0.2.66", "dns-off-topic"),
        ("www.example.org 60 A 10.0.0.1", "dns-rebinding"),
        ("www.example.org 60 A 127.0.0.1", "dns-rebinding"),
        ("www.example.org 60 A 169.254.169.254", "dns-rebinding"),
        ("www.example.org 60 A 192.168.1.1", "dns-rebinding"),
        ("www.example.org 60 A 100.64.0.1", "dns-rebinding"),
        ("www.example.org 60 AAAA ::1", "dns-rebinding"),
        ("www.example.org 60 AAAA fe80::1", "dns-rebinding"),
        ("www.example.org 60 AAAA ::ffff:a00:1", "dns-rebinding"),
        ("www.example.org 60 CNAME a.example.net\na.example.net 60 A 10.0.0.1", "dns-rebinding"),
    ],
)
def test_replies_that_are_refused(zone: str, reason: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        store_reply(reply_to(SENT.wire, zone), STRICT)
    assert caught.value.reason == reason


def test_the_sites_own_names_may_be_private() -> None:
    private = reply_to(SENT.wire, "www.example.org 60 A 10.0.0.1")
    assert store_reply(private, Rebinding(frozenset({parse_text("example.org")}))).ttl_s == 60
    with pytest.raises(MalformedPacket):
        store_reply(private, Rebinding(frozenset({parse_text("ample.org")})))
    assert list(site_domains("prod.example.com")) == ["prod.example.com", "example.com"]
    assert list(site_domains("example.com")) == ["example.com"]


def test_every_truncation_is_refused() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(MalformedPacket):
            store_reply(GOOD[:size], STRICT)


@given(st.lists(st.tuples(st.integers(12, 200), st.integers(0, 255)), max_size=5))
def test_damaged_replies_are_refused_or_render(changes: list[tuple[int, int]]) -> None:
    data = bytearray(reply_to(SENT.wire, "www.example.org 300 CNAME a.example.net\na.example.net 60 A 192.0.2.1"))
    for at, value in changes:
        data[12 + at % (len(data) - 12)] = value
    try:
        stored = store_reply(bytes(data), STRICT)
    except MalformedPacket:
        return
    assert len(render_stored(stored, client_query(), 5, 512)) <= 512


def test_letters() -> None:
    assert letters_in(b"\x04ab-1\x03Org\x00\x00\x41\x00\x01") == 5
