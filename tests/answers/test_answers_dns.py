"""The decision about a query, rule by rule; replies are read back with dnslib."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import dnslib
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rack import NODE4_MAC, make_cluster, make_machine

from bootstrapper.answers.dns import DnsAnswers, Drop, Forward, Reply
from bootstrapper.answers.dns_index import build_names
from bootstrapper.cluster.model import Cluster, Role


def etcd_cluster(count: int) -> Cluster:
    return make_cluster(
        *(
            make_machine(f"00:00:00:00:00:{n:02x}", f"member{n}", f"10.10.14.{n}", roles=frozenset({Role.ETCD}))
            for n in range(1, count + 1)
        )
    )


def make_answers(cluster: Cluster | None = None, forwards: bool = True) -> DnsAnswers:
    names = build_names(cluster or make_cluster(), {NODE4_MAC: IPv4Address("10.10.14.120")}, 7)
    return DnsAnswers(names, forwards)


ANSWERS = make_answers()


def question(name: str, qtype: str = "A", **edns: object) -> bytes:
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=4321, bitmap=0x0100), q=dnslib.DNSQuestion(name, _type(qtype)))
    if edns:
        record.add_ar(dnslib.EDNS0(**edns))
    return bytes(record.pack())


def _type(name: str) -> int:
    return int(name[4:]) if name.startswith("TYPE") else int(getattr(dnslib.QTYPE, name))


def ask(
    name: str, qtype: str = "A", answers: DnsAnswers = ANSWERS, allowed: bool = True, **edns: object
) -> dnslib.DNSRecord:
    outcome = answers.answer(question(name, qtype, **edns), allowed)
    assert isinstance(outcome, Reply), outcome
    return dnslib.DNSRecord.parse(outcome.wire)


def rcode(record: dnslib.DNSRecord) -> str:
    return str(dnslib.RCODE[record.header.rcode])


def values(record: dnslib.DNSRecord) -> list[str]:
    return [f"{dnslib.QTYPE[rr.rtype]} {rr.rdata}" for rr in record.rr]


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("node1.prod.example.com", "A", ["A 10.10.14.11"]),
        ("NODE1.Prod.Example.COM", "A", ["A 10.10.14.11"]),
        ("node4.prod.example.com", "A", ["A 10.10.14.120"]),
        ("bootstrapper.prod.example.com", "A", ["A 10.10.14.253"]),
        ("prod.example.com", "NS", ["NS bootstrapper.prod.example.com."]),
        (
            "prod.example.com",
            "SOA",
            ["SOA bootstrapper.prod.example.com. hostmaster.prod.example.com. 7 3600 600 604800 10"],
        ),
        ("11.14.10.10.in-addr.arpa", "PTR", ["PTR node1.prod.example.com."]),
        ("120.14.10.10.in-addr.arpa", "PTR", ["PTR node4.prod.example.com."]),
        ("121.14.10.10.in-addr.arpa", "PTR", ["PTR ip-10-10-14-121.dyn.prod.example.com."]),
        ("IP-10-10-14-121.dyn.prod.example.com", "A", ["A 10.10.14.121"]),
        ("localhost", "A", ["A 127.0.0.1"]),
        ("localhost", "AAAA", ["AAAA ::1"]),
        ("x.y.localhost", "A", ["A 127.0.0.1"]),
        ("1.0.0.127.in-addr.arpa", "PTR", ["PTR localhost."]),
        ("node1.prod.example.com", "ANY", ["A 10.10.14.11"]),
    ],
)
def test_what_is_there(name: str, qtype: str, expected: list[str]) -> None:
    reply = ask(name, qtype)
    assert (rcode(reply), values(reply), reply.header.aa, reply.header.ra) == ("NOERROR", expected, 1, 1)
    assert all(rr.ttl == 60 for rr in reply.rr)


@pytest.mark.parametrize(
    ("name", "qtype", "expected", "zone"),
    [
        ("node1.prod.example.com", "AAAA", "NOERROR", "prod.example.com."),
        ("node1.prod.example.com", "TYPE65280", "NOERROR", "prod.example.com."),
        ("ip-10-10-14-121.dyn.prod.example.com", "AAAA", "NOERROR", "prod.example.com."),
        ("dyn.prod.example.com", "A", "NOERROR", "prod.example.com."),
        ("node9.prod.example.com", "A", "NXDOMAIN", "prod.example.com."),
        ("x.node1.prod.example.com", "A", "NXDOMAIN", "prod.example.com."),
        ("node1.prod.example.com.prod.example.com", "A", "NXDOMAIN", "prod.example.com."),
        ("7.14.10.10.in-addr.arpa", "PTR", "NXDOMAIN", "14.10.10.in-addr.arpa."),
        ("10.10.in-addr.arpa", "PTR", "NOERROR", "10.in-addr.arpa."),
        ("1.1.9.10.in-addr.arpa", "PTR", "NXDOMAIN", "10.in-addr.arpa."),
        ("1.1.168.192.in-addr.arpa", "PTR", "NXDOMAIN", "168.192.in-addr.arpa."),
        ("1.0.31.172.in-addr.arpa", "PTR", "NXDOMAIN", "31.172.in-addr.arpa."),
        ("1.0.0.0.d.f.ip6.arpa", "PTR", "NXDOMAIN", "d.f.ip6.arpa."),
        ("printer.local", "A", "NXDOMAIN", "local."),
        ("kubernetes.default.svc.cluster.local", "A", "NXDOMAIN", "cluster.local."),
        ("a.test", "A", "NXDOMAIN", "test."),
        ("invalid", "A", "NOERROR", "invalid."),
        ("x.onion", "A", "NXDOMAIN", "onion."),
    ],
)
def test_what_is_not_there(name: str, qtype: str, expected: str, zone: str) -> None:
    reply = ask(name, qtype)
    assert (rcode(reply), values(reply), reply.header.aa) == (expected, [], 1)
    (soa,) = reply.auth
    assert (str(soa.rname), soa.rtype, soa.ttl, soa.rdata.times[4]) == (zone, 6, 10, 10)


def test_empty_non_terminals_exist() -> None:
    answers = make_answers(etcd_cluster(1))
    assert rcode(ask("_tcp.prod.example.com", "SRV", answers)) == "NOERROR"
    assert rcode(ask("_udp.prod.example.com", "SRV", answers)) == "NXDOMAIN"


def test_the_question_comes_back_letter_for_letter() -> None:
    data = question("nOdE1.pROd.exAMPle.com")
    for _ in range(2):  # packed, then kept
        outcome = ANSWERS.answer(data, True)
        assert isinstance(outcome, Reply)
        assert outcome.wire[:2] == data[:2]
        assert outcome.wire[12 : len(data)] == data[12:]
    other = ANSWERS.answer(question("NODE1.prod.example.com"), True)
    assert isinstance(other, Reply)
    assert b"\x05NODE1\x04prod" in other.wire


def test_srv_brings_the_addresses_along() -> None:
    reply = ask("_etcd-server-ssl._tcp.prod.example.com", "SRV", make_answers(etcd_cluster(2)))
    assert values(reply) == ["SRV 0 0 2380 member1.prod.example.com.", "SRV 0 0 2380 member2.prod.example.com."]
    assert [(str(rr.rname), str(rr.rdata)) for rr in reply.ar] == [
        ("member1.prod.example.com.", "10.10.14.1"),
        ("member2.prod.example.com.", "10.10.14.2"),
    ]


def test_sizes() -> None:
    answers = make_answers(etcd_cluster(12))
    data = question("_etcd-server-ssl._tcp.prod.example.com", "SRV")
    small = answers.answer(data, True)
    assert isinstance(small, Reply)
    assert len(small.wire) <= 512
    assert dnslib.DNSRecord.parse(small.wire).header.tc == 1
    assert dnslib.DNSRecord.parse(small.wire).rr == []
    over_tcp = answers.answer(data, True, tcp=True)
    assert isinstance(over_tcp, Reply)
    whole = dnslib.DNSRecord.parse(over_tcp.wire)
    assert (len(whole.rr), len(whole.ar), whole.header.tc) == (12, 12, 0)
    edns = ask("_etcd-server-ssl._tcp.prod.example.com", "SRV", answers, udp_len=4096)
    assert (len(edns.rr), len(edns.ar), edns.header.tc) == (12, 13, 0)


def test_additional_records_go_before_answers_do() -> None:
    reply = ask("_etcd-server-ssl._tcp.prod.example.com", "SRV", make_answers(etcd_cluster(9)))
    assert (len(reply.rr), reply.ar, reply.header.tc) == (9, [], 0)


def test_edns_is_answered_only_when_asked_for() -> None:
    assert ask("node1.prod.example.com").ar == []
    (opt,) = ask("node1.prod.example.com", udp_len=4096, flags="do").ar
    assert (opt.rtype, opt.rclass, opt.ttl) == (41, 1232, 0x8000)


def test_an_edns_version_of_the_future() -> None:
    reply = ask("node1.prod.example.com", version=1, udp_len=1232)
    assert (reply.header.rcode, reply.rr) == (0, [])
    assert reply.ar[0].ttl == 1 << 24  # BADVERS is 16: its high part is in the OPT record; the version is ours, 0


@pytest.mark.parametrize("option", [3, 8, 10, 100])
def test_unknown_edns_options_are_ignored(option: int) -> None:
    reply = ask("node1.prod.example.com", opts=[dnslib.EDNSOption(option, b"12345678")])
    assert values(reply) == ["A 10.10.14.11"]


@pytest.mark.parametrize("qtype", ["AXFR", "IXFR"])
def test_zone_transfers_are_refused(qtype: str) -> None:
    assert rcode(ask("prod.example.com", qtype)) == "REFUSED"


def test_chaos_is_refused() -> None:
    data = question("version.bind", "TXT")[:-2] + b"\0\3"
    outcome = ANSWERS.answer(data, True)
    assert isinstance(outcome, Reply)
    assert rcode(dnslib.DNSRecord.parse(outcome.wire)) == "REFUSED"


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_other_opcodes_are_not_implemented(opcode: int) -> None:
    data = bytearray(question("node1.prod.example.com"))
    data[2] = opcode << 3 | 1
    outcome = ANSWERS.answer(bytes(data), True)
    assert isinstance(outcome, Reply)
    assert outcome.wire == data[:2] + bytes((0x80 | opcode << 3 | 1, 4)) + bytes(8)


def test_two_questions_are_a_format_error() -> None:
    data = bytearray(question("node1.prod.example.com"))
    data[5] = 2
    assert ANSWERS.answer(bytes(data), True) == Reply(data[:2] + b"\x81\x01" + bytes(8), "dns-question-count")


def test_a_reply_is_never_answered() -> None:
    data = bytearray(question("node1.prod.example.com"))
    data[2] |= 0x80
    assert ANSWERS.answer(bytes(data), True) == Drop("dns-not-a-query")


def test_less_than_a_header_is_dropped() -> None:
    assert ANSWERS.answer(bytes(11), True) == Drop("dns-short")


def test_who_may_ask_about_the_rest() -> None:
    outcome = ANSWERS.answer(question("www.example.org"), allowed=True)
    assert isinstance(outcome, Forward)
    assert outcome.query.name == b"\x03www\x07example\x03org\x00"
    stranger = ask("www.example.org", allowed=False)
    assert (rcode(stranger), stranger.header.ra, stranger.header.aa) == ("REFUSED", 0, 0)


def test_a_stranger_may_ask_about_the_cluster() -> None:
    reply = ask("node1.prod.example.com", allowed=False)
    assert (values(reply), reply.header.ra, reply.header.aa) == (["A 10.10.14.11"], 0, 1)


def test_a_stranger_gets_no_large_replies() -> None:
    answers = make_answers(etcd_cluster(12))
    reply = ask("_etcd-server-ssl._tcp.prod.example.com", "SRV", answers, allowed=False, udp_len=1232)
    assert (reply.header.tc, reply.rr) == (1, [])


def test_without_forwarders_the_rest_is_refused_and_why() -> None:
    reply = ask("www.example.org", answers=make_answers(forwards=False), udp_len=1232)
    assert (rcode(reply), reply.header.ra) == ("REFUSED", 0)
    (option,) = reply.ar[0].rdata
    assert (option.code, option.data) == (15, b"\x00\x14this server forwards nothing")


def test_without_recursion_desired_nothing_is_forwarded() -> None:
    data = bytearray(question("www.example.org"))
    data[2] &= 0xFE
    outcome = ANSWERS.answer(bytes(data), True)
    assert isinstance(outcome, Reply)
    assert rcode(dnslib.DNSRecord.parse(outcome.wire)) == "REFUSED"


@pytest.mark.parametrize("qtype", ["A", "AAAA", "MX", "TXT", "DS", "TYPE64", "ANY"])
@pytest.mark.parametrize("name", ["nobody.prod.example.com", "prod.example.com", "99.14.10.10.in-addr.arpa"])
def test_our_own_zones_are_never_forwarded(name: str, qtype: str) -> None:
    assert isinstance(ANSWERS.answer(question(name, qtype), True), Reply)


def test_an_exact_name_outside_leaves_its_surroundings_alone() -> None:
    cluster = make_cluster()
    api = replace(cluster.kubernetes.api, host="api.example.org", vip=IPv4Address("10.10.14.250"))
    answers = make_answers(replace(cluster, kubernetes=replace(cluster.kubernetes, api=api)))
    assert values(ask("api.example.org", "A", answers)) == ["A 10.10.14.250"]
    assert rcode(ask("api.example.org", "AAAA", answers)) == "NOERROR"
    assert isinstance(answers.answer(question("x.api.example.org"), True), Forward)
    assert isinstance(answers.answer(question("example.org"), True), Forward)


def test_a_domain_below_a_special_one() -> None:
    answers = make_answers(replace(make_cluster(), domain="rack1.home.arpa"))
    assert values(ask("node1.rack1.home.arpa", "A", answers)) == ["A 10.10.14.11"]
    assert rcode(ask("x.home.arpa", "A", answers)) == "NXDOMAIN"
    assert rcode(ask("rack1.home.arpa", "TXT", answers)) == "NOERROR"


def test_names_that_follow_from_the_octets_alone_are_final() -> None:
    final = {
        name: getattr(ANSWERS.answer(data, True), "final", None)
        for name, data in {
            "plain": question("node1.prod.example.com"),
            "cookie": question("node1.prod.example.com", opts=[dnslib.EDNSOption(10, b"12345678")]),
            "nobody": question("nobody.prod.example.com"),
        }.items()
    }
    assert final == {"plain": True, "cookie": False, "nobody": False}


SAMPLES = [
    question("node1.prod.example.com"),
    question("_etcd-server-ssl._tcp.prod.example.com", "SRV", udp_len=4096, flags="do"),
    question("11.14.10.10.in-addr.arpa", "PTR", opts=[dnslib.EDNSOption(10, b"12345678")]),
    question("www.example.org", "ANY"),
]


def check_outcome(data: bytes) -> None:
    for allowed in (False, True):
        for tcp in (False, True):
            outcome = ANSWERS.answer(data, allowed, tcp)
            if isinstance(outcome, Drop):
                assert len(data) < 12 or data[2] & 0x80
                continue
            if isinstance(outcome, Forward):
                assert allowed
                continue
            assert outcome.wire[:2] == data[:2]
            assert outcome.wire[2] & 0x80
            assert tcp or len(outcome.wire) <= 1232


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_truncation_has_an_outcome(sample: bytes) -> None:
    for size in range(len(sample)):
        check_outcome(sample[:size])


@given(st.binary(max_size=300))
@example(bytes(12))
def test_any_bytes_have_an_outcome(data: bytes) -> None:
    check_outcome(data)


@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_damaged_queries_have_an_outcome(sample: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(sample)
    for at, value in changes:
        data[at % len(data)] = value
    check_outcome(bytes(data))
