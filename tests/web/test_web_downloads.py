"""What is told of a machine that downloads its kernel, initrd and image, and of one that does not trust our TLS."""

from __future__ import annotations

import pytest

from bootstrapper.assets.systems import list_assets
from bootstrapper.web.downloads import Downloads, Watch
from bootstrapper.web.senders import Senders

KERNEL = "flatcar/amd64-usr/4593.2.5/flatcar_production_pxe.vmlinuz"
IMAGE = "flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"
GB = 1_000_000_000


@pytest.fixture
def kernel(plane):
    path = plane.assets / KERNEL
    path.parent.mkdir(parents=True)
    path.write_bytes(b"k" * 5_000_000)
    return path


def told(plane):
    return [(event.mac, event.service, event.step, event.detail, event.level) for event in plane.events]


def start(plane, name, start=0, length=GB, size=GB, source="10.10.14.11"):
    downloads = Downloads(Senders(lambda: plane.cluster, plane.store), plane.events.append, lambda: plane.clock)
    return downloads.watch({"REMOTE_ADDR": source}, name, start, length, size)


def test_the_names_are_those_of_the_machines_own_system(plane):
    names = {asset.name: asset.use for asset in list_assets(plane.cluster.machines[0])}
    assert (names[KERNEL], names[IMAGE]) == ("kernel", "image")


def test_a_kernel_is_told_when_it_begins_and_ends(plane, kernel):
    mac = plane.cluster.machines[0].mac
    assert len(plane.get(f"/assets/{KERNEL}", buffered=True).data) == 5_000_000
    assert told(plane) == [
        (mac, "http", "loading", f"kernel {KERNEL}, 5 MB", "info"),
        (mac, "http", "loaded", f"kernel {KERNEL}, 5 MB in 0.0 s", "info"),
    ]


def test_one_that_is_not_read_to_its_end_is_cut_off(plane, kernel):
    reply = plane.get(f"/assets/{KERNEL}", buffered=False)
    next(reply.iter_encoded())
    reply.close()
    assert told(plane)[-1][2:] == ("cut off", f"kernel {KERNEL}, at 20 % after 0.0 s", "warning")


def test_nothing_is_told_of_strangers_heads_and_other_files(plane, kernel):
    other = plane.assets / "kubernetes"
    other.write_bytes(b"x")
    plane.get(f"/assets/{KERNEL}", source="10.10.14.77")
    plane.get(f"/assets/{KERNEL}", method="HEAD")
    plane.get("/assets/kubernetes")
    plane.get("/assets/no/such", source="10.10.14.77")
    assert told(plane) == []


def test_a_machine_is_known_by_its_lease_too(plane, kernel):
    plane.lease("10.10.14.150", "00:25:90:c0:f6:ee")
    plane.get(f"/assets/{KERNEL}", source="10.10.14.150")
    assert {event.mac for event in plane.events} == {"00:25:90:c0:f6:ee"}


def test_names_without_end_do_not_fill_the_history(plane):
    for number in range(100):
        plane.get(f"/assets/flatcar/nothing-{number}")
    assert len(told(plane)) == 20


def test_a_missing_file_is_told_once_in_a_while_and_cleaned(plane):
    mac = plane.cluster.machines[0].mac
    for _ in range(3):
        plane.get(f"/assets/{KERNEL}")
    assert told(plane) == [(mac, "http", "no file", KERNEL, "warning")]
    plane.clock += 61
    plane.get(f"/assets/{KERNEL}")
    assert len(plane.events) == 2
    for _ in range(1000):  # a system that asks each minute, for ever
        plane.clock += 60
        plane.get(f"/assets/{KERNEL}")
    assert 100 < len(plane.events) < 150


def test_a_large_image_is_told_in_tenths_at_most_every_five_seconds(plane):
    watch = start(plane, IMAGE)
    assert isinstance(watch, Watch)
    for _ in range(100):
        watch.moved(GB // 100)
        plane.clock += 1
    watch.ended()
    watch.ended()
    steps = [(event.step, event.detail.partition(", ")[2]) for event in plane.events]
    assert steps[0] == ("loading", "1000 MB")
    assert steps[1:-1] == [("progress", f"{percent} %") for percent in range(10, 100, 10)]
    assert steps[-1] == ("loaded", "1000 MB in 100.0 s")


def test_a_resumed_image_counts_from_where_it_begins(plane):
    watch = start(plane, IMAGE, start=GB // 2, length=GB // 2)
    watch.moved(GB // 4)
    watch.ended()
    assert [event.detail.partition(", ")[2] for event in plane.events] == [
        "1000 MB from 500 MB on",
        "at 75 % after 0.0 s",
    ]


def test_the_same_file_again_at_once_is_not_told_twice(plane):
    downloads = Downloads(Senders(lambda: plane.cluster, plane.store), plane.events.append, lambda: plane.clock)
    for _ in range(50):
        downloads.watch({"REMOTE_ADDR": "10.10.14.11"}, KERNEL, 0, 10, 10)
    assert len(plane.events) == 1


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("SSLV3_ALERT_BAD_CERTIFICATE", "it takes our certificate for expired, or not valid yet"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "it takes our certificate for expired, or not valid yet"),
        ("TLSV1_ALERT_UNKNOWN_CA", "it does not know our authority"),
    ],
)
def test_a_handshake_that_the_machine_breaks_off_is_told_with_its_reason(plane, reason, words):
    tell = plane.make_app().extensions["tls_failed"]
    tell("10.10.14.11", reason)
    tell("10.10.14.11", reason)
    tell("10.10.14.77", reason)
    tell("10.10.14.11", "HTTP_REQUEST")
    assert told(plane) == [
        (plane.cluster.machines[0].mac, "http", "tls failed", f"{words} (from 10.10.14.11)", "warning")
    ]
