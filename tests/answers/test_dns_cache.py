"""Forwarded replies in the cache: how long, how many."""

from __future__ import annotations

import dnslib

from bootstrapper.answers.dns_cache import DnsCache, Key, cache_key
from bootstrapper.answers.dns_forward import Stored
from bootstrapper.wire.dns import parse_query


def stored(ttl_s: int, size: int = 50) -> Stored:
    return Stored(bytes(size), 0, 0, (), ttl_s)


def key(name: str, qtype: int = 1, flags: int = 0x0100, dnssec: bool = False) -> Key:
    record = dnslib.DNSRecord(dnslib.DNSHeader(bitmap=flags), q=dnslib.DNSQuestion(name, qtype))
    if dnssec:
        record.add_ar(dnslib.EDNS0(flags="do"))
    return cache_key(parse_query(bytes(record.pack())))


def test_kept_for_its_time_and_no_longer() -> None:
    cache = DnsCache()
    cache.put(key("a"), stored(30), now=100.0)
    assert cache.find(key("a"), 100.0) == (stored(30), 0)
    assert cache.find(key("A"), 129.9) == (stored(30), 29)
    assert cache.find(key("a"), 130.0) is None
    assert len(cache) == 0


def test_what_is_not_kept() -> None:
    cache = DnsCache()
    cache.put(key("a"), stored(0), now=0.0)
    cache.put(key("b"), stored(60, size=4097), now=0.0)
    assert len(cache) == 0


def test_questions_are_told_apart() -> None:
    keys = {key("a"), key("b"), key("a", 28), key("a", flags=0x0110), key("a", dnssec=True)}
    assert len(keys) == 5
    assert key("a") == key("A", flags=0x0120)


def test_the_least_used_goes_first() -> None:
    cache = DnsCache(size=2)
    cache.put(key("a"), stored(60), 0.0)
    cache.put(key("b"), stored(60), 1.0)
    assert cache.find(key("a"), 2.0) is not None
    cache.put(key("c"), stored(60), 3.0)
    assert [cache.find(key(name), 4.0) is not None for name in "abc"] == [True, False, True]


def test_a_newer_reply_takes_the_place_of_an_older() -> None:
    cache = DnsCache()
    cache.put(key("a"), stored(60), 0.0)
    cache.put(key("a"), stored(10), 50.0)
    assert cache.find(key("a"), 59.0) == (stored(10), 9)
    assert cache.find(key("a"), 60.0) is None
