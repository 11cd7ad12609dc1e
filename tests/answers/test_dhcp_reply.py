"""What is in a reply: reference A1 (sizes, order), A2 (fields), A5 and A6 (boot options)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dhcp_world import FIXED, RELAY, STRANGER, World, kind

from bootstrapper.boot.history import History
from bootstrapper.cluster.model import LocalBoot

SERVER = "10.10.14.253"
SERVER_BYTES = bytes((10, 10, 14, 253))
BIOS = {60: b"PXEClient:Arch:00000:UNDI:002001", 93: b"\0\0"}
UEFI = {60: b"PXEClient:Arch:00007:UNDI:003016", 93: b"\0\7"}
IPXE = {60: b"PXEClient:Arch:00007:UNDI:003010", 93: b"\0\7", 77: b"iPXE", 175: b"\xb1\5\1\x1a\xf4\x10\0"}
URL = b"http://10.10.14.253/boot.ipxe?mac=00:25:90:c0:f7:80&uuid=${uuid}&arch=7"


def options_of(payload: bytes) -> list[int]:
    """The option numbers in the order they stand in; checks that one END follows, then zeros only."""
    codes, at = [], 240
    while payload[at] != 255:
        codes.append(payload[at])
        at += 2 + payload[at + 1]
    assert set(payload[at + 1 :]) <= {0}
    return codes


def test_an_offer_byte_for_byte() -> None:
    world = World()
    world.discover(FIXED, xid=0x01020304, flags=0x8000, options={55: bytes((6, 12, 15))})
    assert world.outcome.reply is not None
    expected = (
        "02010600 01020304 00008000 00000000 0a0a0e0b 00000000 00000000 002590c0f780"
        + "00" * (10 + 64 + 128)
        + "63825363 350102 36040a0a0efd 33040000a8c0 3a0400005460 3b04000093a8"
        + "0104ffffff00 03040a0a0efe 06040a0a0efd 0f10"
        + b"prod.example.com".hex()
        + "0c05"
        + b"node1".hex()
        + "ff"
    )
    assert world.outcome.reply.payload.hex() == expected.replace(" ", "")


def test_what_clients_need_is_sent_whatever_they_list() -> None:
    world = World()
    for options in ({}, {55: b"\x0c"}, {55: b"\xfc"}):
        offer = world.discover(STRANGER, options=options)
        assert offer is not None
        assert {1, 3, 51, 53, 54, 58, 59} <= set(offer.options)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, {6, 12, 15, 28, 42}),
        (b"\x06", {6}),
        (b"\x0c\x2a", {12, 42}),
        (b"\xfc\x79\x77", set()),
    ],
)
def test_optional_options_are_those_listed_or_all(listed: bytes | None, expected: set[int]) -> None:
    offer = World().discover(FIXED, options={} if listed is None else {55: listed})
    assert offer is not None
    assert set(offer.options) - {1, 3, 51, 53, 54, 58, 59} == expected


def test_the_relay_option_is_echoed_last_and_the_ids_before_it() -> None:
    world = World()
    relay, client, uuid = b"\x01\x04eth1\x02\x02ab", b"\xff" + bytes(range(18)), b"\0" + bytes(range(16))
    echoed = {82: relay, 61: client, 97: uuid}
    offer = world.discover(STRANGER, giaddr=RELAY, options={**UEFI, **echoed})
    assert offer is not None and world.outcome.reply is not None
    assert (offer.options[82], offer.options[61], offer.options[97]) == (relay, client, uuid)
    assert options_of(world.outcome.reply.payload)[:2] == [53, 54]
    assert options_of(world.outcome.reply.payload)[-3:] == [61, 97, 82]
    nak = world.send(STRANGER, 3, requested="10.99.0.1", server=SERVER, giaddr=RELAY, options=echoed)
    assert nak is not None and kind(nak) == "nak"
    assert (nak.options[82], nak.options[61]) == (relay, client)
    assert nak.flags == 0x8000


def test_a_nak_holds_nothing_else() -> None:
    world = World()
    nak = world.select(FIXED, "10.10.14.12", options=UEFI)
    assert nak is not None
    assert nak.options == {53: b"\6", 54: SERVER_BYTES}
    assert (nak.ciaddr, nak.yiaddr, nak.siaddr, nak.file, nak.sname) == (0, 0, 0, bytes(128), bytes(64))


def test_header_fields_are_copied_and_hops_and_secs_cleared() -> None:
    world = World()
    offer = world.discover(STRANGER, giaddr=RELAY, hops=3, xid=0xFFFFFFFF, flags=0x8001)
    assert offer is not None
    assert (offer.op, offer.htype, offer.hlen, offer.hops, offer.secs) == (2, 1, 6, 0, 0)
    assert (offer.xid, offer.flags, offer.giaddr) == (0xFFFFFFFF, 0x8001, 0x0A140001)
    assert offer.chaddr == bytes.fromhex("02000000000100000000000000000000")


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_a_reply_has_300_bytes_at_least() -> None:
    world = World()
    world.discover(STRANGER, options={55: b"\xfc"})
    assert world.outcome.reply is not None and len(world.outcome.reply.payload) == 300


@pytest.mark.parametrize(
    ("most", "size"),
    [(None, 548), (b"\x00\x10", 548), (b"\x02\x40", 548), (b"\x03\x20", 772), (b"\xff\xff", 1472), (b"\x01", 548)],
)
def test_a_reply_is_no_longer_than_the_client_takes(most: bytes | None, size: int) -> None:
    """With a relay option that grows: optional options go first, then the relay's."""
    longest = 0
    for length in range(0, 1300, 7):
        world = World()
        options = {82: b"\x02" + bytes([min(length, 253)]) + bytes(min(length, 253)), 61: bytes(min(length, 600))}
        if length > 600:
            options[97] = bytes(length - 600)
        if most is not None:
            options[57] = most
        offer = world.discover(FIXED, options=options)
        if offer is None:
            assert world.outcome.drop == "dhcp-reply-too-long"
            continue
        assert world.outcome.reply is not None
        longest = max(longest, len(world.outcome.reply.payload))
        assert {1, 3, 51, 53, 54, 58, 59, 61} <= set(offer.options)
        assert offer.options[61] == options[61]
    assert size - 40 < longest <= size


def test_what_is_left_out_first_is_what_is_needed_least() -> None:
    world = World()
    seen = []
    for length in range(100, 190):
        offer = world.discover(FIXED, options={61: bytes(length), **UEFI})
        assert offer is not None
        left = tuple(sorted({6, 12, 15, 28, 42} & set(offer.options)))
        if left not in seen:
            seen.append(left)
        assert {43, 60, 66, 67} <= set(offer.options)
    assert seen[0] == (6, 12, 15, 28, 42)
    assert all(6 in left for left in seen)
    assert all(15 in left for left in seen[:3])


# -- boot options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("firmware", "name"), [(BIOS, b"undionly.kpxe"), (UEFI, b"snponly.efi")])
@pytest.mark.parametrize("message", ["offer", "ack"])
def test_firmware_is_told_the_same_in_every_place_it_may_look(
    firmware: dict[int, bytes], name: bytes, message: str
) -> None:
    world = World()
    if message == "offer":
        reply = world.discover(FIXED, options=firmware)
    else:
        reply = world.select(FIXED, "10.10.14.11", options=firmware)
    assert reply is not None
    assert reply.siaddr == int.from_bytes(SERVER_BYTES, "big")
    assert reply.sname == b"10.10.14.253".ljust(64, b"\0")
    assert reply.file == name.ljust(128, b"\0")
    assert reply.options[66] == b"10.10.14.253\0"
    assert reply.options[67] == name + b"\0"
    assert reply.options[60] == b"PXEClient"
    assert reply.options[43] == b"\x06\x01\x08\xff"
    assert not {13, 52, 150, 175, 252} & set(reply.options)


def test_ipxe_is_told_the_scripts_url_and_never_hears_pxeclient() -> None:
    reply = World().discover(FIXED, options=IPXE)
    assert reply is not None
    assert reply.file == URL.ljust(128, b"\0")
    assert reply.options[67] == URL + b"\0"
    assert reply.options[175] == b"\xb0\x01\x01"
    assert not {43, 60} & set(reply.options)


@pytest.mark.parametrize("mark", [{77: b"iPXE"}, {77: b"\x04iPXE"}, {175: b""}], ids=["bare", "rfc3004", "175"])
def test_ipxe_is_known_by_each_of_its_marks(mark: dict[int, bytes]) -> None:
    reply = World().discover(FIXED, options={**UEFI, **mark})
    assert reply is not None and reply.options[67] == URL + b"\0"


def test_ipxe_of_an_installed_machine_is_told_nothing_but_not_to_wait() -> None:
    reply = World(history=History(1, 1)).discover(FIXED, options=IPXE)
    assert reply is not None
    assert reply.options[175] == b"\xb0\x01\x01"
    assert not {43, 60, 66, 67} & set(reply.options)
    assert reply.siaddr == 0


def test_a_running_system_is_told_nothing_of_boot() -> None:
    reply = World().discover(FIXED, options={60: b"udhcp 1.36", 61: b"\1abcdef"})
    assert reply is not None
    assert not {43, 60, 66, 67, 175} & set(reply.options)
    assert reply.siaddr == 0


def test_a_held_machine_is_led_to_a_script_that_says_so() -> None:
    reply = World(history=History(held="looped")).discover(FIXED, options=UEFI)
    assert reply is not None and reply.options[67] == b"snponly.efi\0"


@pytest.mark.parametrize(
    "firmware",
    [
        {60: b"HTTPClient:Arch:00016:UNDI:003001", 93: b"\0\x10"},
        {60: b"PXEClient:Arch:00011:UNDI:003000", 93: b"\0\x0b"},
        {60: b"PXEClient:Arch:00099:UNDI:003000", 93: b"\0\x63"},
    ],
    ids=["HTTP boot", "arm64", "unheard of"],
)
def test_firmware_that_has_no_file_here_gets_an_address_only(firmware: dict[int, bytes]) -> None:
    reply = World().discover(FIXED, options=firmware)
    assert reply is not None and not {43, 60, 66, 67} & set(reply.options)


def test_an_unknown_machine_gets_nothing_to_boot() -> None:
    reply = World().discover(STRANGER, options=UEFI)
    assert reply is not None and not {43, 60, 66, 67} & set(reply.options)


# -- port 4011 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [3, 8])
def test_4011_answers_with_the_file_to_where_the_request_came_from(message: int) -> None:
    world = World()
    item = b"\x47\x04\x00\x00\x00\x00\xff"
    more = {"ciaddr": "10.10.14.11", "source": "10.10.14.11", "source_port": 4011, "port": 4011}
    uuid = b"\0" + bytes(16)
    ack = world.send(FIXED, message, options={**UEFI, 43: item, 97: uuid, 61: uuid}, **more)  # type: ignore[arg-type]
    assert ack is not None and world.outcome.reply is not None
    assert (world.outcome.reply.to.address, world.outcome.reply.to.port) == ("10.10.14.11", 4011)
    assert (kind(ack), ack.yiaddr, ack.file) == ("ack", 0, b"snponly.efi".ljust(128, b"\0"))
    assert ack.siaddr == int.from_bytes(SERVER_BYTES, "big")
    assert ack.options[43] == b"\x47\x04\x00\x00\x00\x00\x06\x01\x08\xff"
    assert set(ack.options) == {43, 53, 54, 60, 61, 66, 67, 97}
    assert world.outcome.event is not None and world.outcome.event.service == "pxe"


@pytest.mark.parametrize(
    ("mac", "message", "history", "options", "drop"),
    [
        (FIXED, 1, History(), UEFI, "pxe-type"),
        (FIXED, 3, History(1, 1), BIOS, "pxe-nothing-to-boot"),
        (FIXED, 3, History(), {}, "pxe-nothing-to-boot"),
        (STRANGER, 3, History(), UEFI, "pxe-nothing-to-boot"),
    ],
)
def test_4011_is_silent_unless_there_is_something_to_boot(
    mac: str, message: int, history: History, options: dict[int, bytes], drop: str
) -> None:
    world = World(history=history)
    more = {"ciaddr": "10.10.14.11", "source": "10.10.14.11", "source_port": 68, "port": 4011}
    assert world.send(mac, message, options=options, **more) is None  # type: ignore[arg-type]
    assert world.outcome.drop == drop


# -- the boot loop -----------------------------------------------------------------------------------------------------


def test_firmware_that_never_comes_back_as_ipxe_is_told_of() -> None:
    world = World()
    levels = []
    for _ in range(7):
        world.select(FIXED, "10.10.14.11", options=UEFI)
        assert world.outcome.event is not None
        levels.append(world.outcome.event.level)
        world.now += 30
    assert levels == ["info"] * 5 + ["warning"] * 2
    world.select(FIXED, "10.10.14.11", options=IPXE)
    world.select(FIXED, "10.10.14.11", options=UEFI)
    assert world.outcome.event is not None and world.outcome.event.level == "info"


def test_a_uefi_machine_sent_to_its_disk_again_and_again_is_no_loop() -> None:
    world = World(history=History(1, 1))
    for _ in range(7):
        ack = world.select(FIXED, "10.10.14.11", options=UEFI)
        assert ack is not None and ack.file == b"local-disk".ljust(128, b"\0")
        assert ack.siaddr == int.from_bytes(SERVER_BYTES, "big")
        assert (ack.options[43], ack.options[60]) == (b"\x06\x01\x08\xff", b"PXEClient")
        assert world.outcome.event is not None and world.outcome.event.level == "info"
        assert world.outcome.event.detail == ("10.10.14.11 to UEFI x64, nothing to boot: install generation 1 is done")
        world.now += 30


def test_a_machine_that_is_to_get_no_offer_is_given_its_address_by_the_system_only() -> None:
    world = World(history=History(1, 1))
    machines = tuple(replace(each, local_boot=LocalBoot.NO_OFFER) for each in world.cluster.machines)
    world.describe(replace(world.cluster, machines=machines))
    for options in (UEFI, BIOS, IPXE):
        assert world.discover(FIXED, options=options) is None
        assert world.outcome.drop == "dhcp-no-offer"
    assert world.send(FIXED, 3, port=4011, ciaddr="10.10.14.11", source="10.10.14.11", options=UEFI) is None
    assert world.discover(FIXED) is not None
    world.histories[FIXED] = History()
    assert world.discover(FIXED, options=UEFI) is not None, "it installs as any other"


def test_a_machine_whose_disk_our_ipxe_starts_is_told_so() -> None:
    world = World(history=History(1, 1))
    machines = tuple(replace(each, local_boot=LocalBoot.FIRST_DISK) for each in world.cluster.machines)
    world.describe(replace(world.cluster, machines=machines))
    ack = world.select(FIXED, "10.10.14.11", options=UEFI)
    assert ack is not None and ack.file == b"snponly.efi".ljust(128, b"\0")
    ack = world.select(FIXED, "10.10.14.11", options=IPXE)
    assert ack is not None and ack.options[67].startswith(b"http://10.10.14.253/boot.ipxe?mac=")


def test_firmware_that_boots_now_and_then_is_no_loop() -> None:
    world = World()
    for _ in range(20):
        world.select(FIXED, "10.10.14.11", options=UEFI)
        assert world.outcome.event is not None and world.outcome.event.level == "info"
        world.now += 100
