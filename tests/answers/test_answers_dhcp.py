"""RFC 2131's message and state table (reference A4), row by row, in both modes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from dhcp_world import (
    FAR,
    FIXED,
    NOW,
    OTHER,
    POOLED,
    RELAY,
    SECOND_CARD,
    STRANGER,
    World,
    kind,
    make_world_cluster,
    yiaddr,
)

from bootstrapper.answers.dhcp import Arrival
from bootstrapper.answers.leases import Lease, LeaseState
from bootstrapper.boot.history import History
from bootstrapper.cluster.model import DhcpMode, UnknownPolicy
from bootstrapper.wire.pxe import build_uuid

IGNORE = UnknownPolicy.IGNORE
RESERVATIONS = DhcpMode.RESERVATIONS
SERVER = "10.10.14.253"


# -- A4.1 DISCOVER -----------------------------------------------------------------------------------------------------


def test_discover_of_a_machine_with_a_fixed_address_is_offered_it() -> None:
    world = World()
    offer = world.discover(FIXED)
    assert kind(offer) == "offer"
    assert yiaddr(offer) == "10.10.14.11"
    assert world.outcome.lease is None
    assert world.outcome.event is not None and world.outcome.event.step == "offer"
    assert world.outcome.event.mac == FIXED


def test_every_card_of_a_machine_gets_its_address() -> None:
    assert yiaddr(World().discover(SECOND_CARD)) == "10.10.14.11"


def test_discover_of_a_known_machine_without_ip_is_offered_one_of_the_range() -> None:
    assert yiaddr(World().discover(POOLED)) == "10.10.14.100"


def test_discover_of_an_unknown_machine_is_offered_one_of_the_range_and_reported() -> None:
    world = World()
    assert yiaddr(world.discover(STRANGER)) == "10.10.14.100"
    assert world.outcome.event is None
    assert world.outcome.sighting is not None
    assert (world.outcome.sighting.mac, world.outcome.sighting.address) == (STRANGER, "10.10.14.100")


def test_discover_of_an_unknown_machine_is_met_with_silence_under_ignore_and_reported() -> None:
    world = World(IGNORE)
    uuid = bytes.fromhex("00 33221100 5544 7766 8899aabbccddeeff".replace(" ", ""))
    options = {60: b"PXEClient:Arch:00007\x1b[2J", 93: b"\0\7", 97: uuid, 12: b"evil\nname"}
    assert world.discover(STRANGER, options=options) is None
    assert world.outcome.drop == "dhcp-unknown"
    seen = world.outcome.sighting
    assert seen is not None
    assert seen.uuid == "00112233-4455-6677-8899-aabbccddeeff"
    assert seen.arch == "UEFI x64"
    assert seen.vendor_class == "PXEClient:Arch:00007?[2J"
    assert seen.host_name == "evil?name"


def test_a_sighting_is_reported_once_in_ten_seconds() -> None:
    world = World(IGNORE)
    reports = []
    for _ in range(25):
        world.discover(STRANGER)
        reports.append(world.outcome.sighting is not None)
        world.now += 1
    assert [at for at, reported in enumerate(reports) if reported] == [0, 10, 20]


def test_the_same_client_is_offered_the_same_address_however_often_it_asks() -> None:
    world = World()
    assert {yiaddr(world.discover(STRANGER, xid=xid)) for xid in range(20)} == {"10.10.14.100"}


def test_the_address_a_client_wishes_is_offered_when_it_is_free() -> None:
    world = World()
    assert yiaddr(world.discover(STRANGER, requested="10.10.14.102")) == "10.10.14.102"
    assert yiaddr(world.discover(OTHER, requested="10.10.14.102")) == "10.10.14.100"


@pytest.mark.parametrize("wish", ["10.10.14.11", "10.10.14.253", "10.10.14.99", "192.168.0.1", "255.255.255.255"])
def test_a_wish_outside_the_range_is_not_followed(wish: str) -> None:
    assert yiaddr(World().discover(STRANGER, requested=wish)) == "10.10.14.100"


def test_an_exhausted_range_gives_no_answer_and_says_why() -> None:
    world = World()
    for number in range(3):
        world.lease(f"02:00:00:00:01:{number:02x}")
    assert world.discover(STRANGER) is None
    assert world.outcome.drop == "dhcp-no-address"
    assert world.discover(POOLED) is None
    assert world.outcome.event is not None
    assert world.outcome.event.level == "error"
    assert world.outcome.event.detail == (
        "no free address in the range of 10.10.14.0/24: widen `range`, or shorten `lease`"
    )


@pytest.mark.parametrize(("field", "value"), [("server", SERVER), ("ciaddr", "10.10.14.11")])
def test_a_discover_that_names_a_server_or_an_address_of_its_own_is_dropped(field: str, value: str) -> None:
    world = World()
    assert world.discover(FIXED, **{field: value}) is None
    assert world.outcome.drop == "dhcp-discover-fields"


# -- A4.2 REQUEST, selecting -------------------------------------------------------------------------------------------


def test_selecting_the_fixed_address_needs_no_lease() -> None:
    world = World()
    ack = world.select(FIXED, "10.10.14.11")
    assert (kind(ack), yiaddr(ack)) == ("ack", "10.10.14.11")
    assert world.outcome.lease is None


def test_selecting_an_offered_address_returns_the_lease_to_save() -> None:
    world = World()
    world.discover(STRANGER)
    ack = world.select(STRANGER, "10.10.14.100")
    assert (kind(ack), yiaddr(ack)) == ("ack", "10.10.14.100")
    assert world.outcome.lease == Lease(IPv4Address("10.10.14.100"), STRANGER, 1_043_200.0, LeaseState.BOUND)


def test_the_second_card_of_a_machine_is_leased_under_its_first_mac() -> None:
    world = World()
    cluster = make_world_cluster()
    machine = replace(cluster.machines[1], macs=(POOLED, OTHER))
    world.describe(replace(cluster, machines=(machine,)))
    assert world.lease(OTHER) == "10.10.14.100"
    assert world.outcome.lease is not None and world.outcome.lease.mac == POOLED
    assert world.lease(POOLED) == "10.10.14.100"


@pytest.mark.parametrize("address", ["10.10.14.12", "10.10.14.100", "192.168.1.1"])
def test_selecting_another_than_the_fixed_address_is_refused(address: str) -> None:
    world = World()
    nak = world.select(FIXED, address)
    assert kind(nak) == "nak"
    assert yiaddr(nak) == "0.0.0.0"
    assert world.outcome.event is not None
    assert world.outcome.event.detail == f"asked for {address}; its address is 10.10.14.11"


def test_selecting_after_a_restart_between_offer_and_request_is_confirmed_when_the_address_is_free() -> None:
    assert kind(World().select(STRANGER, "10.10.14.101")) == "ack"


def test_selecting_an_address_that_another_holds_is_refused() -> None:
    world = World()
    world.lease(OTHER)
    assert kind(world.select(STRANGER, "10.10.14.100")) == "nak"


def test_selecting_an_address_that_is_offered_to_another_is_refused() -> None:
    world = World()
    world.discover(OTHER)
    assert kind(world.select(STRANGER, "10.10.14.100")) == "nak"


@pytest.mark.parametrize("address", ["10.10.14.99", "10.10.14.11", "10.10.14.254", "172.16.0.1"])
def test_selecting_an_address_outside_the_range_is_refused(address: str) -> None:
    assert kind(World().select(STRANGER, address)) == "nak"


def test_selecting_by_an_unknown_machine_under_ignore_is_met_with_silence() -> None:
    world = World(IGNORE)
    assert world.select(STRANGER, "10.10.14.100") is None
    assert world.outcome.drop == "dhcp-unknown"


@pytest.mark.parametrize(
    "more",
    [{"server": SERVER}, {"server": SERVER, "requested": "10.10.14.11", "ciaddr": "10.10.14.11"}, {}],
    ids=["server without address", "server with ciaddr", "neither"],
)
def test_a_request_in_no_state_of_the_rfc_is_dropped(more: dict[str, str]) -> None:
    world = World()
    assert world.send(FIXED, 3, **more) is None  # type: ignore[arg-type]
    assert world.outcome.drop == "dhcp-request-fields"


# -- A4.3 REQUEST, another server was selected -------------------------------------------------------------------------


def test_selecting_another_server_is_met_with_silence_and_frees_our_offer() -> None:
    world = World()
    assert yiaddr(world.discover(STRANGER)) == "10.10.14.100"
    assert world.send(STRANGER, 3, requested="10.10.14.77", server="10.10.14.1") is None
    assert world.outcome.drop == "dhcp-other-server"
    assert yiaddr(world.discover(OTHER, requested="10.10.14.100")) == "10.10.14.100"


# -- A4.4 REQUEST, init-reboot -----------------------------------------------------------------------------------------


def test_init_reboot_with_the_fixed_address_is_confirmed() -> None:
    assert kind(World().send(FIXED, 3, requested="10.10.14.11")) == "ack"


def test_init_reboot_with_another_address_is_refused() -> None:
    assert kind(World().send(FIXED, 3, requested="10.10.14.12")) == "nak"


def test_init_reboot_with_the_leased_address_is_confirmed_and_extended() -> None:
    world = World()
    world.lease(STRANGER)
    world.now += 40_000
    assert kind(world.send(STRANGER, 3, requested="10.10.14.100")) == "ack"
    assert world.outcome.lease is not None and world.outcome.lease.expires_at == 1_083_200.0


def test_init_reboot_on_the_wrong_network_is_refused() -> None:
    world = World()
    world.lease(STRANGER)
    assert kind(world.send(STRANGER, 3, requested="192.168.7.7")) == "nak"


def test_init_reboot_of_an_unremembered_client_is_refused_by_the_authority() -> None:
    assert kind(World().send(STRANGER, 3, requested="10.10.14.101")) == "nak"


def test_init_reboot_of_a_known_machine_gets_the_address_back_that_it_had() -> None:
    assert kind(World().send(POOLED, 3, requested="10.10.14.101")) == "ack"


@pytest.mark.parametrize("address", ["10.10.14.100", "192.168.7.7"])
def test_init_reboot_of_an_unknown_machine_is_met_with_silence_where_we_are_not_the_authority(address: str) -> None:
    world = World(mode=RESERVATIONS)
    assert world.send(STRANGER, 3, requested=address) is None
    assert world.outcome.drop == "dhcp-not-reserved"


# -- A4.5 and A4.6 REQUEST, renewing and rebinding ---------------------------------------------------------------------


@pytest.mark.parametrize("broadcast", [False, True], ids=["renewing", "rebinding"])
class TestRenewal:
    def test_right_address(self, broadcast: bool) -> None:
        world = World()
        world.lease(STRANGER)
        world.now += 100
        ack = world.send(STRANGER, 3, ciaddr="10.10.14.100", broadcast=broadcast)
        assert (kind(ack), yiaddr(ack)) == ("ack", "10.10.14.100")
        assert ack is not None and ack.ciaddr == int(IPv4Address("10.10.14.100"))
        assert world.outcome.lease is not None and world.outcome.lease.expires_at == 1_043_300.0

    def test_fixed_address(self, broadcast: bool) -> None:
        assert kind(World().send(FIXED, 3, ciaddr="10.10.14.11", broadcast=broadcast)) == "ack"

    def test_wrong_address(self, broadcast: bool) -> None:
        assert kind(World().send(FIXED, 3, ciaddr="10.10.14.99", broadcast=broadcast)) == "nak"

    def test_an_address_another_holds(self, broadcast: bool) -> None:
        world = World()
        world.lease(OTHER)
        assert kind(world.send(STRANGER, 3, ciaddr="10.10.14.100", broadcast=broadcast)) == "nak"

    def test_a_forgotten_lease_is_made_again_when_the_address_is_free(self, broadcast: bool) -> None:
        assert kind(World().send(STRANGER, 3, ciaddr="10.10.14.102", broadcast=broadcast)) == "ack"

    def test_unknown_machine_where_we_are_not_the_authority(self, broadcast: bool) -> None:
        world = World(mode=RESERVATIONS)
        assert world.send(STRANGER, 3, ciaddr="10.10.14.102", broadcast=broadcast) is None

    def test_unknown_machine_under_ignore(self, broadcast: bool) -> None:
        assert World(IGNORE).send(STRANGER, 3, ciaddr="10.10.14.102", broadcast=broadcast) is None


def test_rebinding_on_the_wrong_network_is_refused() -> None:
    assert kind(World().send(STRANGER, 3, ciaddr="192.168.7.7", broadcast=True)) == "nak"


def test_renewing_an_address_of_no_subnet_of_ours_is_met_with_silence() -> None:
    world = World()
    assert world.send(STRANGER, 3, ciaddr="192.168.7.7") is None
    assert world.outcome.drop == "dhcp-no-subnet"


def test_a_machine_that_was_given_a_fixed_address_meanwhile_is_refused_its_old_one_and_offered_the_new() -> None:
    world = World()
    world.lease(POOLED)
    cluster = world.cluster
    fixed = replace(cluster.machines[1], ip=IPv4Address("10.10.14.14"))
    world.describe(replace(cluster, machines=(fixed,)))
    assert kind(world.send(POOLED, 3, ciaddr="10.10.14.100")) == "nak"
    assert yiaddr(world.discover(POOLED)) == "10.10.14.14"


# -- A4.7 DECLINE ------------------------------------------------------------------------------------------------------


def test_a_declined_address_rests_and_its_client_is_offered_another() -> None:
    world = World()
    world.lease(STRANGER)
    assert world.send(STRANGER, 4, requested="10.10.14.100", server=SERVER) is None
    assert world.outcome.drop == ""
    assert world.outcome.lease == Lease(IPv4Address("10.10.14.100"), STRANGER, 1_000_600.0, LeaseState.DECLINED)
    assert world.lease(STRANGER) == "10.10.14.101"
    assert world.lease(OTHER) == "10.10.14.102"
    assert world.discover("02:00:00:00:00:03") is None
    world.now += 601
    assert world.lease("02:00:00:00:00:03") == "10.10.14.100"


@pytest.mark.parametrize(
    ("mac", "address", "server", "drop"),
    [
        (OTHER, "10.10.14.100", SERVER, "dhcp-decline-stranger"),
        (STRANGER, "10.10.14.101", SERVER, "dhcp-decline-stranger"),
        (STRANGER, "10.10.14.100", "10.10.14.1", "dhcp-decline-fields"),
        (OTHER, "10.10.14.100", None, "dhcp-decline-stranger"),
        (STRANGER, None, SERVER, "dhcp-decline-fields"),
    ],
)
def test_only_the_holder_declines(mac: str, address: str | None, server: str | None, drop: str) -> None:
    world = World()
    world.lease(STRANGER)
    assert world.send(mac, 4, requested=address, server=server) is None
    assert world.outcome.drop == drop
    assert world.outcome.lease is None
    assert world.lease(STRANGER) == "10.10.14.100"


def test_a_declined_fixed_address_is_told_as_an_error_and_stays_the_machines() -> None:
    world = World()
    assert world.send(FIXED, 4, requested="10.10.14.11", server=SERVER) is None
    assert world.outcome.event is not None
    assert (world.outcome.event.step, world.outcome.event.level) == ("decline", "error")
    assert yiaddr(world.discover(FIXED)) == "10.10.14.11"


# -- A4.8 RELEASE ------------------------------------------------------------------------------------------------------


def test_a_released_address_is_remembered_for_its_client_until_it_is_needed() -> None:
    world = World()
    world.lease(STRANGER)
    assert world.send(STRANGER, 7, ciaddr="10.10.14.100", server=SERVER) is None
    assert world.outcome.lease == Lease(IPv4Address("10.10.14.100"), STRANGER, 1_000_000.0, LeaseState.RELEASED)
    assert world.lease(OTHER) == "10.10.14.101"
    assert world.lease(STRANGER) == "10.10.14.100"


@pytest.mark.parametrize("message", [4, 7])
def test_a_holder_that_names_no_server_is_believed(message: int) -> None:
    """systemd-networkd releases so."""
    world = World()
    world.lease(STRANGER)
    requested, ciaddr = ("10.10.14.100", "0.0.0.0") if message == 4 else (None, "10.10.14.100")
    world.send(STRANGER, message, requested=requested, ciaddr=ciaddr)
    assert (world.outcome.drop, world.outcome.lease is None) == ("", False)


def test_a_released_address_is_reused_when_no_other_is_left() -> None:
    world = World()
    for number in range(3):
        world.lease(f"02:00:00:00:01:{number:02x}")
    world.send("02:00:00:00:01:01", 7, ciaddr="10.10.14.101", server=SERVER)
    world.now += 121
    assert world.lease(STRANGER) == "10.10.14.101"


@pytest.mark.parametrize(
    ("mac", "address", "server", "drop"),
    [
        (OTHER, "10.10.14.100", SERVER, "dhcp-release-stranger"),
        (STRANGER, "10.10.14.101", SERVER, "dhcp-release-stranger"),
        (STRANGER, "10.10.14.100", "10.10.14.1", "dhcp-release-fields"),
        (OTHER, "10.10.14.100", None, "dhcp-release-stranger"),
        (STRANGER, "0.0.0.0", SERVER, "dhcp-release-fields"),
    ],
)
def test_only_the_holder_releases(mac: str, address: str, server: str | None, drop: str) -> None:
    world = World()
    world.lease(STRANGER)
    assert world.send(mac, 7, ciaddr=address, server=server) is None
    assert (world.outcome.drop, world.outcome.lease) == (drop, None)


# -- A4.9 and A4.10 INFORM ---------------------------------------------------------------------------------------------


def test_inform_is_answered_with_settings_and_no_lease() -> None:
    world = World()
    ack = world.send(STRANGER, 8, ciaddr="10.10.14.77", source="10.10.14.77")
    assert ack is not None
    assert kind(ack) == "ack"
    assert (ack.yiaddr, ack.ciaddr) == (0, int(IPv4Address("10.10.14.77")))
    assert not {51, 58, 59} & set(ack.options)
    assert ack.options[1] == bytes((255, 255, 255, 0))
    assert ack.options[6] == bytes((10, 10, 14, 253))
    assert world.outcome.lease is None


def test_inform_through_a_relay_without_ciaddr_is_broadcast_by_the_relay() -> None:
    world = World()
    ack = world.send(STRANGER, 8, giaddr=RELAY, source=RELAY)
    assert ack is not None and ack.flags == 0x8000
    assert ack.options[3] == bytes((10, 20, 0, 1))


@pytest.mark.parametrize(
    ("more", "drop"),
    [
        ({}, "dhcp-inform-fields"),
        ({"source": "192.168.1.1"}, "dhcp-inform-elsewhere"),
        ({"ciaddr": "8.8.8.8", "source": "8.8.8.8"}, "dhcp-no-subnet"),
        ({"ciaddr": "8.8.8.8", "source": "8.8.8.8", "broadcast": True}, "dhcp-inform-elsewhere"),
    ],
)
def test_inform_never_makes_us_write_to_an_address_elsewhere(more: dict[str, object], drop: str) -> None:
    world = World()
    assert world.send(STRANGER, 8, **more) is None  # type: ignore[arg-type]
    assert world.outcome.drop == drop


@pytest.mark.parametrize(
    ("unknown", "mode"), [(IGNORE, DhcpMode.AUTHORITATIVE), (UnknownPolicy.DISCOVER, RESERVATIONS)]
)
def test_inform_of_an_unknown_machine_may_be_met_with_silence(unknown: UnknownPolicy, mode: DhcpMode) -> None:
    assert World(unknown, mode).send(STRANGER, 8, ciaddr="10.10.14.77", source="10.10.14.77") is None


# -- A4.11 BOOTP -------------------------------------------------------------------------------------------------------


def test_bootp_gets_a_fixed_address_within_300_bytes() -> None:
    world = World()
    reply = world.send(FIXED, None)
    assert reply is not None and world.outcome.reply is not None
    assert yiaddr(reply) == "10.10.14.11"
    assert len(world.outcome.reply.payload) == 300
    assert not {51, 53, 54, 58, 59} & set(reply.options)
    assert reply.options[1] == bytes((255, 255, 255, 0))
    assert reply.options[12] == b"node1"


@pytest.mark.parametrize("mac", [POOLED, STRANGER, FAR])
def test_bootp_without_a_fixed_address_here_is_met_with_silence(mac: str) -> None:
    world = World()
    assert world.send(mac, None) is None
    assert world.outcome.drop == "dhcp-bootp-not-reserved"


# -- A4.12 and what is no request at all -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "drop"),
    [
        (2, "dhcp-type-2"),
        (5, "dhcp-type-5"),
        (6, "dhcp-type-6"),
        (9, "dhcp-type-9"),
        (10, "dhcp-type-10"),
        (13, "dhcp-type-13"),
        (0, "dhcp-type-0"),
        (200, "dhcp-type-other"),
    ],
)
def test_other_messages_are_dropped_and_counted(message: int, drop: str) -> None:
    world = World()
    assert world.send(FIXED, message) is None
    assert world.outcome.drop == drop


@pytest.mark.parametrize(
    ("more", "drop"),
    [
        ({"hlen": 0}, "dhcp-no-hardware"),
        ({"hops": 17}, "dhcp-hops"),
        ({"options": {53: b""}}, "dhcp-option-shape"),
        ({"options": {53: b"\1\1"}}, "dhcp-option-shape"),
        ({"giaddr": "192.168.9.1"}, "dhcp-no-subnet"),
        ({"giaddr": SERVER}, "dhcp-relay-self"),
        ({"local": "192.168.9.2"}, "dhcp-no-subnet"),
    ],
)
def test_what_cannot_be_a_request_to_us_is_dropped(more: dict[str, object], drop: str) -> None:
    world = World()
    assert world.discover(FIXED, **more) is None
    assert world.outcome.drop == drop


def test_bytes_that_are_no_packet_are_dropped_with_a_reason() -> None:
    world = World()
    where = Arrival(IPv4Address("0.0.0.0"), 68, IPv4Address(SERVER), 67, True)
    assert world.answers.answer(b"", where, NOW).drop == "dhcp-short"
    assert world.answers.answer(bytes(300), where, NOW).drop == "dhcp-cookie"
    assert world.answers.answer(b"\2" + bytes(235) + b"\x63\x82\x53\x63\xff", where, NOW).drop == "dhcp-reply"


def test_hardware_that_is_not_ethernet_is_answered_as_unknown() -> None:
    """edk2 can put the machine's GUID into chaddr, with a length of 16."""
    world = World()
    offer = world.discover("00112233445566778899aabbccddeeff", hlen=16)
    assert (kind(offer), yiaddr(offer)) == ("offer", "10.10.14.100")
    assert world.outcome.reply is not None and world.outcome.reply.to.address == "255.255.255.255"


# -- modes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [DhcpMode.OFF, DhcpMode.PROXY])
def test_modes_that_answer_nothing_say_so(mode: DhcpMode) -> None:
    world = World(mode=mode)
    assert world.discover(FIXED) is None
    assert world.outcome.drop == "dhcp-off"
    assert world.answers.hint.startswith("network.dhcp.mode")
    assert World().answers.hint == ""


def test_reservations_mode_serves_fixed_addresses_and_nobody_else() -> None:
    world = World(mode=RESERVATIONS)
    assert yiaddr(world.discover(FIXED)) == "10.10.14.11"
    assert kind(world.select(FIXED, "10.10.14.12")) == "nak"
    for mac in (POOLED, STRANGER):
        assert world.discover(mac) is None
        assert world.outcome.drop == "dhcp-not-reserved"
        assert world.select(mac, "10.10.14.100") is None


# -- relays and subnets ------------------------------------------------------------------------------------------------


def test_a_relay_chooses_the_subnet() -> None:
    world = World()
    offer = world.discover(STRANGER, giaddr=RELAY, source=RELAY)
    assert offer is not None
    assert yiaddr(offer) == "10.20.9.1"
    assert (offer.options[1], offer.options[3]) == (bytes((255, 255, 0, 0)), bytes((10, 20, 0, 1)))
    assert yiaddr(world.discover(FAR, giaddr=RELAY, source=RELAY)) == "10.20.0.50"


def test_a_relayed_client_renews_by_writing_to_us_directly() -> None:
    world = World()
    assert world.lease(STRANGER, giaddr=RELAY, source=RELAY) == "10.20.9.1"
    ack = world.send(STRANGER, 3, ciaddr="10.20.9.1", source="10.20.9.1")
    assert kind(ack) == "ack"
    assert world.outcome.reply is not None and world.outcome.reply.to.address == "10.20.9.1"
    assert world.send(STRANGER, 3, ciaddr="10.20.9.9", source="10.20.9.9") is None
    assert world.outcome.drop == "dhcp-nak-unreachable"


@pytest.mark.parametrize(("mac", "relay"), [(FAR, None), (FIXED, RELAY)])
def test_a_machine_on_another_link_than_its_address_gets_none_and_a_warning(mac: str, relay: str | None) -> None:
    world = World()
    more = {"giaddr": relay, "source": relay} if relay else {}
    assert world.discover(mac, **more) is None
    assert world.outcome.drop == "dhcp-wrong-subnet"
    assert world.outcome.event is not None
    assert world.outcome.event.level == "warning"
    assert "outside of it: no address given" in world.outcome.event.detail


def test_a_machine_on_another_link_that_insists_on_its_address_is_refused() -> None:
    world = World()
    assert kind(world.send(FAR, 3, requested="10.20.0.50")) == "nak"
    assert world.outcome.event is not None and "is outside of it" in world.outcome.event.detail
    assert World(mode=RESERVATIONS).send(FAR, 3, requested="10.20.0.50") is None


def test_a_relay_of_ours_may_name_the_clients_link() -> None:
    relay = bytes((5, 4, 10, 20, 0, 0))
    world = World()
    assert yiaddr(world.discover(STRANGER, giaddr="10.10.14.9", options={82: relay})) == "10.20.9.1"


def test_a_link_named_without_a_relay_or_by_a_foreign_one_is_not_believed() -> None:
    relay = bytes((5, 4, 10, 20, 0, 0))
    world = World()
    assert yiaddr(world.discover(STRANGER, options={82: relay})) == "10.10.14.100"
    assert world.discover(STRANGER, giaddr="192.168.1.1", options={82: relay}) is None


def test_a_relay_of_ours_may_take_our_place_as_the_server() -> None:
    relay = bytes((11, 4, 10, 20, 0, 1))
    world = World()
    offer = world.discover(STRANGER, giaddr=RELAY, options={82: relay})
    assert offer is not None and offer.options[54] == bytes((10, 20, 0, 1))
    more = {"requested": "10.20.9.1", "server": RELAY, "giaddr": RELAY, "options": {82: relay}}
    assert kind(world.send(STRANGER, 3, **more)) == "ack"  # type: ignore[arg-type]


def test_each_subnet_keeps_its_own_lease_of_a_machine() -> None:
    world = World()
    assert world.lease(POOLED) == "10.10.14.100"
    assert world.lease(POOLED, giaddr=RELAY) == "10.20.9.1"
    assert {str(lease.address) for lease in world.table.find(POOLED)} == {"10.10.14.100", "10.20.9.1"}


# -- the same address all the way --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mac", "address"), [(FIXED, "10.10.14.11"), (POOLED, "10.10.14.100")])
def test_one_address_through_firmware_ipxe_installer_and_system(mac: str, address: str) -> None:
    """Each of them sends another client identifier (coreos/bugs#1432)."""
    world = World()
    firmware = {60: b"PXEClient:Arch:00007:UNDI:003016", 93: b"\0\7", 61: b"\0" + bytes(16)}
    ipxe = {60: b"PXEClient:Arch:00007:UNDI:003010", 77: b"iPXE", 175: b"\xb1\1\1", 61: b"\1" + bytes(6)}
    system = {61: b"\xff" + bytes(18), 12: b"localhost"}
    assert [world.lease(mac, options=each) for each in (firmware, ipxe, system)] == [address] * 3


def test_an_installed_machine_is_offered_its_address_and_nothing_to_boot() -> None:
    world = World(history=History(wanted=1, done=1))
    offer = world.discover(FIXED, options={60: b"PXEClient:Arch:00000:UNDI:002001", 93: b"\0\0"})
    assert offer is not None
    assert (offer.siaddr, offer.file, offer.sname) == (0, bytes(128), bytes(64))
    assert not {43, 60, 66, 67} & set(offer.options)
    assert world.outcome.event is not None
    assert world.outcome.event.detail == "10.10.14.11 to BIOS, nothing to boot: install generation 1 is done"


def test_a_retransmission_is_not_another_event() -> None:
    world = World()
    events = []
    for _ in range(4):
        world.discover(FIXED)
        events.append(world.outcome.event is not None)
        world.now += 0.4
    assert events == [True, False, False, True]


def test_a_copied_mac_cannot_fill_the_log() -> None:
    world = World()
    events = 0
    for number in range(1000):
        world.select(FIXED, f"10.10.15.{number % 250}")
        events += world.outcome.event is not None
        world.now += 0.02
    assert events == 40


# -- what is told of a machine's boot ----------------------------------------------------------------------------------

UEFI = {60: b"PXEClient:Arch:00007:UNDI:003016", 93: b"\0\7"}


def told(world: World) -> tuple[str, str, str, str]:
    event = world.outcome.event
    assert event is not None
    return event.service, event.step, event.detail, event.level


def test_taking_another_servers_offer_is_told_with_its_address() -> None:
    world = World()
    world.discover(FIXED)
    assert world.send(FIXED, 3, requested="10.10.14.77", server="10.10.14.1") is None
    assert told(world) == ("dhcp", "other server", "it took 10.10.14.77 from 10.10.14.1", "warning")
    world.send(FIXED, 3, requested="10.10.14.77", server="10.10.14.1")
    assert world.outcome.event is None  # within a second: the same packet again
    world.send(STRANGER, 3, requested="10.10.14.77", server="10.10.14.1")
    assert world.outcome.event is None


def test_an_offer_says_to_which_firmware_and_what_it_boots() -> None:
    world = World()
    world.discover(FIXED, options=UEFI)
    assert told(world) == ("dhcp", "offer", "10.10.14.11 to UEFI x64, boots snponly.efi", "info")
    world.discover(FIXED)
    assert told(world) == ("dhcp", "offer", "10.10.14.11", "info")


def test_a_uuid_that_is_not_the_descriptions_is_told_with_the_offer() -> None:
    uuid = "4c4c4544-0051-3610-8054-b4c04f595031"
    world = World()
    machine = world.cluster.by_mac[FIXED]
    own = replace(machine, uuid="4c4c4544-0000-3610-8054-b4c04f595031")
    world.describe(replace(world.cluster, machines=(own, *world.cluster.machines[1:])))
    world.discover(FIXED, options=UEFI | {97: build_uuid(uuid)})
    assert told(world)[2:] == (
        "10.10.14.11 to UEFI x64, boots snponly.efi; the description has another UUID than this, " + uuid,
        "warning",
    )
    world.discover(FIXED, options=UEFI | {97: build_uuid(own.uuid or "")})
    assert told(world)[2:] == ("10.10.14.11 to UEFI x64, boots snponly.efi", "info")


def test_a_full_range_and_a_wrong_subnet_have_their_own_words() -> None:
    world = World()
    for number in range(3):
        world.lease(f"02:00:00:00:01:{number:02x}")
    world.discover(POOLED)
    assert told(world)[1] == "no address"
    world.discover(FAR)
    assert told(world)[1] == "wrong subnet"
    world.discover(STRANGER, options=UEFI)  # an unknown machine has its place in the list all the same
    assert world.outcome.sighting is not None
    assert (world.outcome.sighting.arch, world.outcome.sighting.address) == ("UEFI x64", "")


def test_a_relay_that_nobody_described_is_told_for_the_machines_behind_it() -> None:
    world = World()
    assert world.discover(SECOND_CARD, giaddr="192.168.9.1") is None
    assert world.outcome.event is not None and world.outcome.event.mac == FIXED
    detail = "asks through the relay 192.168.9.1, which is in no subnet of the description"
    assert told(world) == ("dhcp", "no subnet", detail, "warning")
    world.discover(SECOND_CARD, giaddr="192.168.9.1")
    assert world.outcome.event is None  # at once again
    world.discover(STRANGER, giaddr="192.168.9.1")
    assert world.outcome.event is None


def test_http_boot_is_told_as_nothing_to_boot_while_an_install_is_open() -> None:
    world = World()
    world.discover(FIXED, options={60: b"HTTPClient:Arch:00016:UNDI:003016", 93: b"\0\x10"})
    assert told(world)[1:3] == ("offer", "10.10.14.11 to UEFI x64, nothing to boot: install generation 1 is open")


def test_port_4011_with_nothing_to_boot_is_told() -> None:
    world = World(history=History(done=1))
    bios = {60: b"PXEClient:Arch:00000:UNDI:002001", 93: b"\0\0"}
    assert world.send(FIXED, 3, port=4011, source="10.10.14.11", ciaddr="10.10.14.11", options=bios) is None
    assert told(world) == ("pxe", "nothing to boot", "install generation 1 is done", "info")
