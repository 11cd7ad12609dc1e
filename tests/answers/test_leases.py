"""The lease table: what is kept, reused and probed; and a model that plays clients, restarts and clocks."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from dhcp_world import NOW, OTHER, POOLED, STRANGER, make_world_cluster
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bootstrapper.answers.leases import Lease, LeaseState, LeaseTable, Limits
from bootstrapper.cluster.model import AddressRange, Cluster
from bootstrapper.wire.dhcp import dotted

A100, A101, A102 = (IPv4Address(f"10.10.14.{last}") for last in (100, 101, 102))


def make_table(*leases: Lease, cluster: Cluster | None = None, limits: Limits | None = None) -> LeaseTable:
    table = LeaseTable(leases, limits)
    table.configure(cluster or make_world_cluster())
    return table


def offer(table: LeaseTable, mac: str, now: float = NOW, wanted: IPv4Address | None = None) -> IPv4Address | None:
    pool = table.pool(make_world_cluster().network.link)
    binding = pool.offer(mac, int(wanted) if wanted else 0, now)
    return IPv4Address(binding.number) if binding else None


def bind(table: LeaseTable, mac: str, address: IPv4Address, now: float = NOW, lease_s: float = 1000) -> Lease | None:
    pool = table.pool(make_world_cluster().network.link)
    binding = pool.bind(mac, int(address), now, now + lease_s)
    return binding.lease() if binding else None


def test_an_offer_is_held_for_its_client() -> None:
    table = make_table()
    assert [offer(table, mac) for mac in (STRANGER, OTHER, STRANGER)] == [A100, A101, A100]


def test_an_offer_nobody_took_up_is_free_again() -> None:
    table = make_table()
    for number in range(3):
        assert offer(table, f"02:00:00:00:01:{number:02x}") is not None
    assert offer(table, STRANGER, NOW + 5) is None
    assert offer(table, STRANGER, NOW + 121) == A100


def test_in_need_an_offer_is_taken_back_after_ten_seconds_the_oldest_first() -> None:
    table = make_table()
    for number in range(3):
        offer(table, f"02:00:00:00:01:{number:02x}", NOW + number)
    assert offer(table, STRANGER, NOW + 10) == A100
    assert offer(table, OTHER, NOW + 10) is None
    assert offer(table, OTHER, NOW + 11) == A101


def test_an_expired_lease_is_reused_only_when_nothing_else_is_left_the_longest_expired_first() -> None:
    table = make_table()
    bind(table, STRANGER, A102, NOW, 100)
    bind(table, OTHER, A100, NOW, 50)
    late = NOW + 500
    assert offer(table, "02:00:00:00:00:aa", late) == A101
    assert offer(table, "02:00:00:00:00:ab", late) == A100
    assert offer(table, "02:00:00:00:00:ac", late) == A102


def test_a_client_that_returns_after_its_lease_has_its_address_again() -> None:
    table = make_table()
    bind(table, STRANGER, A101, NOW, 10)
    assert offer(table, STRANGER, NOW + 9999) == A101


def test_an_expired_lease_that_is_offered_again_is_not_taken_from_under_its_client() -> None:
    table = make_table()
    for address, mac in ((A100, STRANGER), (A101, OTHER), (A102, "02:00:00:00:00:03")):
        bind(table, mac, address, NOW, 10)
    assert offer(table, STRANGER, NOW + 100) == A100
    assert offer(table, "02:00:00:00:00:aa", NOW + 100) == A101
    assert offer(table, "02:00:00:00:00:ab", NOW + 100) == A102
    assert offer(table, "02:00:00:00:00:ac", NOW + 100) is None


def test_a_released_address_that_another_wished_for_is_that_ones() -> None:
    table = make_table()
    pool = table.pool(make_world_cluster().network.link)
    bind(table, STRANGER, A100)
    pool.release(STRANGER, int(A100), NOW)
    assert bind(table, OTHER, A100) is not None
    for mac in ("02:00:00:00:00:03", "02:00:00:00:00:04"):
        bind(table, mac, offer(table, mac) or A100)
    assert offer(table, STRANGER) is None
    assert offer(table, OTHER) == A100


def test_only_a_lease_can_be_released() -> None:
    table = make_table()
    pool = table.pool(make_world_cluster().network.link)
    assert offer(table, STRANGER) == A100
    assert pool.release(STRANGER, int(A100), NOW) is None
    bind(table, STRANGER, A100)
    assert pool.release(STRANGER, int(A100), NOW) is not None
    assert pool.release(STRANGER, int(A100), NOW) is None


def test_a_known_machines_lease_is_never_given_to_others_even_when_wished_for() -> None:
    table = make_table()
    bind(table, POOLED, A100, NOW, 10)
    late = NOW + 10_000_000
    got = [offer(table, f"02:00:00:00:01:{number:02x}", late, wanted=A100) for number in range(3)]
    assert got == [A101, A102, None]
    assert bind(table, STRANGER, A100, late) is None
    assert offer(table, POOLED, late) == A100


@pytest.mark.parametrize("released", [False, True])
def test_once_a_machine_leaves_the_description_its_expired_lease_is_like_any_other(released: bool) -> None:
    cluster = make_world_cluster()
    table = make_table(cluster=cluster)
    bind(table, POOLED, A100, NOW, 10)
    pool = table.pool(cluster.network.link)
    if released:
        pool.release(POOLED, int(A100), NOW + 1)
    for number in range(3):
        offer(table, f"02:00:00:00:01:{number:02x}", NOW + 1000)
    table.configure(replace(cluster, machines=(cluster.machines[0], cluster.machines[2])))
    assert offer(table, STRANGER, NOW + 1001) == A100


def test_leases_outlive_a_restart_and_declined_addresses_rest_on() -> None:
    stored = (
        Lease(A100, STRANGER, NOW + 50),
        Lease(A101, OTHER, NOW + 50, LeaseState.DECLINED),
        Lease(A102, "02:00:00:00:00:03", NOW - 5, LeaseState.RELEASED),
    )
    table = make_table(*stored)
    assert sorted(table.leases(), key=lambda lease: lease.address) == list(stored)
    assert offer(table, STRANGER) == A100
    assert offer(table, OTHER) == A102
    assert offer(table, "02:00:00:00:00:04", NOW + 9) is None
    assert offer(table, "02:00:00:00:00:04", NOW + 51) == A101


def test_leases_outside_the_range_wait_for_its_return() -> None:
    narrow = make_world_cluster(last="10.10.14.100")
    lease = Lease(A102, STRANGER, NOW + 500)
    table = make_table(lease, cluster=narrow)
    assert list(table.leases()) == [lease]
    assert table.find(STRANGER) == []
    table.configure(make_world_cluster())
    assert table.find(STRANGER) == [lease]
    assert table.find_by_address(A102) == lease
    assert table.find_by_address(A100) is None


def test_of_two_stored_leases_of_a_client_the_latest_counts() -> None:
    table = make_table(Lease(A100, STRANGER, NOW + 5), Lease(A101, STRANGER, NOW + 50))
    assert table.find(STRANGER) == [Lease(A101, STRANGER, NOW + 50)]


def test_addresses_in_use_by_others_are_never_given_out() -> None:
    cluster = make_world_cluster(first="10.10.14.252", last="10.10.14.255")
    pool = make_table(cluster=cluster).pool(cluster.network.link)
    got = [pool.offer(f"02:00:00:00:01:{number:02x}", 0, NOW) for number in range(2)]
    assert [dotted(binding.number) if binding else None for binding in got] == ["10.10.14.252", None]


def test_a_subnet_without_a_range_gives_nothing() -> None:
    cluster = make_world_cluster()
    link = replace(cluster.network.link, range=None)
    cluster = replace(cluster, network=replace(cluster.network, link=link))
    table = make_table(cluster=cluster)
    assert table.pool(link).offer(STRANGER, 0, NOW) is None
    assert table.candidates(link, 5, NOW) == []


# -- probing -----------------------------------------------------------------------------------------------------------


def test_addresses_probed_free_are_given_first() -> None:
    table, link = make_table(), make_world_cluster().network.link
    assert table.candidates(link, 2, NOW) == [A100, A101]
    assert table.mark_probed(A101, NOW, in_use=False) is None
    assert offer(table, STRANGER) == A101
    assert offer(table, OTHER) == A100


def test_an_address_a_stranger_uses_is_set_aside_and_told() -> None:
    table, link = make_table(), make_world_cluster().network.link
    lease = table.mark_probed(A100, NOW, in_use=True)
    assert lease == Lease(A100, "", NOW + 600, LeaseState.DECLINED)
    assert [offer(table, mac) for mac in (STRANGER, OTHER)] == [A101, A102]
    assert table.candidates(link, 5, NOW) == []
    assert table.candidates(link, 5, NOW + 601) == [A100]


def test_a_client_that_answers_a_probe_of_its_own_address_keeps_it() -> None:
    table = make_table()
    bind(table, STRANGER, A100)
    assert table.mark_probed(A100, NOW, in_use=True) is None
    assert offer(table, STRANGER) == A100


def test_probes_are_repeated_when_they_grow_stale_and_not_before() -> None:
    table, link = make_table(), make_world_cluster().network.link
    for address in table.candidates(link, 3, NOW):
        table.mark_probed(address, NOW, in_use=False)
    assert table.candidates(link, 3, NOW + 599) == []
    assert table.candidates(link, 3, NOW + 601) == [A100, A101, A102]


def test_what_was_never_probed_is_offered_all_the_same() -> None:
    assert offer(make_table(), STRANGER) == A100


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_storm_of_offers_is_bounded_and_forgotten() -> None:
    cluster = make_world_cluster()
    link = replace(cluster.network.link, range=AddressRange(IPv4Address("10.10.0.1"), IPv4Address("10.10.255.254")))
    table = make_table(cluster=replace(cluster, network=replace(cluster.network, link=link)), limits=Limits(offers=50))
    pool = table.pool(link)
    for number in range(5000):
        assert pool.offer(f"{number:012x}", 0, NOW) is not None
    assert pool.held == 50
    assert len(pool.by_mac) == len(pool.by_number) == 50


def test_usage() -> None:
    table, cluster = make_table(), make_world_cluster()
    bind(table, STRANGER, A100)
    offer(table, OTHER)
    assert table.usage(cluster.network.link, NOW) == (3, 1, 1, 0)
    assert table.usage(cluster.network.link, NOW + 5000) == (3, 0, 1, 0)


def test_a_forgotten_machines_address_is_free_at_once() -> None:
    table = make_table(Lease(A101, POOLED, NOW + 1000), Lease(IPv4Address("10.9.9.9"), POOLED, NOW + 1000))
    assert [lease.address for lease in table.forget(POOLED)] == [A101, IPv4Address("10.9.9.9")]
    assert list(table.leases()) == []
    assert offer(table, STRANGER, wanted=A101) == A101
    assert table.forget(POOLED) == []


def test_a_moved_machines_address_goes_to_its_new_card() -> None:
    table = make_table(Lease(A101, POOLED, NOW + 1000), Lease(A102, STRANGER, NOW + 1000))
    assert table.move(POOLED, STRANGER) == [Lease(A101, STRANGER, NOW + 1000)]
    assert offer(table, STRANGER) == A101
    assert offer(table, POOLED) == A102, "the new card's own lease is free"
    # The new card is not in the description yet: its lease is kept for it as long as it lasts, and no longer.
    assert bind(table, POOLED, A102, NOW) is not None
    assert bind(table, OTHER, A100, NOW + 999) is not None
    assert offer(table, "02:00:00:00:01:01", NOW + 999) is None
    assert offer(table, "02:00:00:00:01:01", NOW + 1500) == A101


def test_a_set_clock_moves_every_lease() -> None:
    table = make_table()
    bind(table, STRANGER, A100, NOW, 1000)
    year = 365 * 86400.0
    assert table.shift(year) == [Lease(A100, STRANGER, NOW + 1000 + year)]
    assert bind(table, OTHER, A100, NOW + year) is None


# -- the model ---------------------------------------------------------------------------------------------------------

CLIENTS = [f"02:00:00:00:00:{number:02x}" for number in range(6)] + [POOLED]
ADDRESSES = [f"10.10.14.{last}" for last in range(98, 105)]


class Clients(RuleBasedStateMachine):
    """Clients that believe what they were told, on their own clock, against a table that is restarted at any moment
    from what was saved. The server's clock is set at times; `shift` is how its loop says so."""

    @initialize()
    def start(self) -> None:
        self.time = NOW
        "True time."
        self.skew = 0.0
        self.saved: dict[IPv4Address, Lease] = {}
        self.believed: dict[str, tuple[IPv4Address, float]] = {}
        self.had: dict[str, IPv4Address] = {}
        "The last address of each, given back or not: a confused client declines what it has released."
        self.offered: dict[str, IPv4Address] = {}
        self.first_of_known: IPv4Address | None = None
        self.cluster = make_world_cluster(first="10.10.14.99", last="10.10.14.103")
        self.table = make_table(cluster=self.cluster)

    @property
    def now(self) -> float:
        return self.time + self.skew

    @property
    def pool(self):  # type: ignore[no-untyped-def]
        return self.table.pool(self.cluster.network.link)

    def save(self, lease: Lease | None) -> None:
        if lease is not None:
            self.saved[lease.address] = lease

    @rule(mac=st.sampled_from(CLIENTS), wish=st.none() | st.sampled_from(ADDRESSES))
    def discover(self, mac: str, wish: str | None) -> None:
        binding = self.pool.offer(mac, int(IPv4Address(wish)) if wish else 0, self.now)
        if binding is not None:
            self.offered[mac] = IPv4Address(binding.number)

    @rule(mac=st.sampled_from(CLIENTS))
    def select(self, mac: str) -> None:
        if mac in self.offered:
            self.request(mac, self.offered[mac])

    @rule(mac=st.sampled_from(CLIENTS), address=st.sampled_from(ADDRESSES))
    def claim(self, mac: str, address: str) -> None:
        self.request(mac, IPv4Address(address))

    @rule(mac=st.sampled_from(CLIENTS))
    def renew(self, mac: str) -> None:
        if mac in self.believed:
            self.request(mac, self.believed[mac][0])

    def request(self, mac: str, address: IPv4Address) -> None:
        binding = self.pool.bind(mac, int(address), self.now, self.now + 1000)
        if binding is None:
            self.believed.pop(mac, None)
            return
        assert IPv4Address(binding.number) == address
        self.save(binding.lease())
        self.believed[mac] = (address, self.time + 1000)
        self.had[mac] = address
        if mac == POOLED:
            self.first_of_known = self.first_of_known or address
            assert address == self.first_of_known

    @rule(mac=st.sampled_from(CLIENTS))
    def release(self, mac: str) -> None:
        if mac in self.believed:
            address, _ = self.believed.pop(mac)
            binding = self.pool.release(mac, int(address), self.now)
            self.save(binding.lease() if binding else None)

    @rule(mac=st.sampled_from(CLIENTS))
    def decline(self, mac: str) -> None:
        if mac in self.had:
            self.believed.pop(mac, None)
            binding = self.pool.decline(mac, int(self.had.pop(mac)), self.now)
            self.save(binding.lease() if binding else None)
            if mac == POOLED:
                self.first_of_known = None

    @rule(mac=st.sampled_from(CLIENTS), address=st.sampled_from(ADDRESSES))
    def declined_by_a_stranger(self, mac: str, address: str) -> None:
        if self.believed.get(mac, (None,))[0] == IPv4Address(address) or mac in self.offered:
            return
        binding = self.pool.by_mac.get(mac)
        if binding is None:
            assert self.pool.decline(mac, int(IPv4Address(address)), self.now) is None

    @rule(in_use=st.booleans())
    def probe(self, in_use: bool) -> None:
        for address in self.table.candidates(self.cluster.network.link, 2, self.now):
            self.save(self.table.mark_probed(address, self.now, in_use))

    @rule(seconds=st.sampled_from([1, 15, 130, 700, 1001]))
    def wait(self, seconds: int) -> None:
        self.time += seconds

    @rule(seconds=st.sampled_from([-100_000.0, -60.0, 60.0, 1_000_000.0]))
    def set_clock(self, seconds: float) -> None:
        self.skew += seconds
        for lease in self.table.shift(seconds):
            self.save(lease)

    @rule(mac=st.sampled_from(CLIENTS))
    def forget(self, mac: str) -> None:
        """By an admin's order, for a machine that is not there any more."""
        for lease in self.table.forget(mac):
            del self.saved[lease.address]
        assert self.table.find(mac) == []
        self.drop(mac)

    @rule(mac=st.sampled_from(CLIENTS), new=st.sampled_from(CLIENTS))
    def move(self, mac: str, new: str) -> None:
        """The card of `mac`'s machine was replaced by `new`, on disk and then here."""
        if mac == new or mac not in self.pool.by_mac:
            return
        for lease in self.table.find(new):
            del self.saved[lease.address]
        self.drop(new)
        believed, had = self.believed.get(mac), self.had.get(mac)
        self.drop(mac)
        moved = self.table.move(mac, new)
        for lease in moved:
            assert lease.mac == new
            self.save(lease)
        if believed:
            self.believed[new] = believed
        if had:
            self.had[new] = had
        if new == POOLED and moved and moved[0].state is LeaseState.BOUND:
            self.first_of_known = moved[0].address
        assert mac not in self.pool.by_mac

    def drop(self, mac: str) -> None:
        for kept in (self.believed, self.had, self.offered):
            kept.pop(mac, None)
        if mac == POOLED:
            self.first_of_known = None

    @rule()
    def restart(self) -> None:
        self.table = make_table(*self.saved.values(), cluster=self.cluster)
        self.offered.clear()

    @rule()
    def reload(self) -> None:
        """Another description, and back."""
        self.table.configure(make_world_cluster(first="10.10.14.100", last="10.10.14.101"))
        self.table.configure(self.cluster)

    @invariant()
    def no_address_is_believed_by_two(self) -> None:
        holders: dict[IPv4Address, str] = {}
        for mac, (address, until) in self.believed.items():
            if until > self.time:
                assert address not in holders, f"{address}: {mac} and {holders[address]}"
                holders[address] = mac

    @invariant()
    def the_indexes_agree(self) -> None:
        pool = self.pool
        for mac, binding in pool.by_mac.items():
            assert binding.mac == mac
            assert pool.by_number[binding.number] is binding
        for number, binding in pool.by_number.items():
            assert binding.number == number
            assert pool.first <= number <= pool.last
        assert all(pool.by_number[number].state is None for number in pool._held)
        assert all(pool.by_number[number].state is LeaseState.RELEASED for number in pool._returned)
        assert not {*pool._fresh, *pool._probed} & set(pool.by_number)


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
