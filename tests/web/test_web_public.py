"""What anyone may ask for: scripts of unknown machines, public texts, health, metrics, and nonsense."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rack import NODE1_MAC, make_cluster

from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.model import UnknownPolicy

STRANGER = "52:54:00:12:34:56"


@pytest.mark.parametrize("mac", ["00:25:90:c0:f7:80", "00-25-90-C0-F7-80", "0025.90c0.f780", "002590C0F780"])
@pytest.mark.parametrize("name", ["cloud-config", "ignition"])
def test_the_public_text_by_any_usual_spelling(plane, mac, name):
    reply = plane.get(f"/{name}/{mac}", "10.10.14.66")
    assert (reply.status_code, reply.text) == (200, f"{name} of node1, token None, wipe False\n")


@pytest.mark.parametrize("mac", [STRANGER, "x", "..", "00:25:90:c0:f7", "%0a"])
def test_no_public_text_of_a_stranger(plane, mac):
    assert plane.get(f"/cloud-config/{mac}").status_code == 404


def test_an_unknown_machine_gets_nothing_but_a_place_in_the_list(plane):
    for _ in range(5):
        reply = plane.get(f"/boot.ipxe?mac={STRANGER}&arch=7&uuid=00112233-4455-6677-8899-aabbccddeeff", "10.10.14.66")
        assert (reply.status_code, reply.data) == (404, b"not found\n")
    (sighting,) = plane.store.load_sightings()
    assert (sighting.mac, sighting.count, sighting.address) == (STRANGER, 1, "10.10.14.66")
    assert (sighting.arch, sighting.uuid) == ("UEFI x64", "00112233-4455-6677-8899-aabbccddeeff")
    assert [event.step for event in plane.events] == ["unknown machine"]
    plane.clock += 11
    plane.boot(STRANGER)
    assert plane.store.load_sightings()[0].count == 2


@pytest.mark.parametrize("policy", [UnknownPolicy.DISCOVER, UnknownPolicy.WORKER])
def test_a_discovered_machine_is_told_why_nothing_boots(plane, policy):
    plane.cluster = make_cluster(unknown=policy)
    script = plane.boot(STRANGER)
    assert f"not in the description (unknown_machines: {policy})" in script
    assert len(plane.store.load_sightings()) == 1
    assert plane.tokens == []


def test_a_vendor_is_named(plane):
    plane.boot("00:25:90:00:00:01")
    assert "Super Micro" in plane.store.load_sightings()[0].vendor


@pytest.mark.parametrize(
    "query", ["", "mac=", "mac=x", "mac=ff:ff:ff:ff:ff:ff", "mac=%00", "arch=7", "mac=" + "0" * 400]
)
def test_a_request_without_a_machine(plane, query):
    assert plane.get(f"/boot.ipxe?{query}").status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [("arch=0", "sanboot"), ("arch=7", "exit 1"), ("arch=9", "exit 1"), ("arch=16", "exit 1"), ("", "${platform}"),
     ("platform=efi&cpu=x86_64", "exit 1"), ("platform=pcbios&cpu=i386", "sanboot"), ("arch=x", "${platform}"),
     ("arch=%C2%B2", "${platform}"), ("platform=efi&cpu=nonsense", "${platform}")],
)  # fmt: skip
def test_the_firmware_from_the_request(plane, query, found):
    plane.install()
    assert found in plane.get(f"/boot.ipxe?mac={NODE1_MAC}&{query}").text


def test_a_held_machine_tells_its_reason_to_itself_only(plane):
    plane.store.save_history(NODE1_MAC, History(state=MachineState.HELD, held="disk fault, see ticket 7"))
    assert "ticket 7" in plane.boot()
    assert "ticket 7" not in plane.boot(source="10.10.14.66")
    assert plane.tokens == []


def test_a_uuid_that_is_not_the_machines(plane):
    from rack import make_machine

    plane.cluster = make_cluster(make_machine(uuid="00112233-4455-6677-8899-aabbccddeeff"))
    url = f"/boot.ipxe?mac={NODE1_MAC}&arch=7&uuid="
    assert "another UUID" in plane.get(url + "ffffffff-4455-6677-8899-aabbccddeeff").text
    assert plane.tokens == []
    assert "installing" in plane.get(url + "00112233-4455-6677-8899-AABBCCDDEEFF").text


@pytest.mark.parametrize("name", ["grub.cfg", "pxelinux.cfg"])
def test_other_loaders(plane, name):
    text = plane.get(f"/{name}?mac={NODE1_MAC}&arch=7").text
    assert f"/m/{plane.tokens[0]}/install" in text


def test_autoexec(plane):
    assert plane.get("/autoexec.ipxe").text.startswith("#!ipxe\n")


def test_health(plane):
    assert plane.get("/healthz").get_json() == {"ok": True, "description": None}
    plane.store.save_description("x", 1.0)
    assert plane.get("/healthz").get_json() == {"ok": True, "description": 1}
    plane.store.close()
    reply = plane.get("/healthz")
    said = {"ok": False, "problem": "the state cannot be read: see the server's log"}
    assert (reply.status_code, reply.get_json()) == (503, said), "no path of ours, to anyone who asks"


def test_metrics(plane):
    plane.install()
    plane.store.save_counters("dhcp", {'dhcp_dropped{reason="dhcp-cookie"}': 12, "dhcp_offers": 3, "No Name!": 1})
    lines = plane.get("/metrics").text.splitlines()
    assert 'bootstrapper_dhcp_dropped_total{reason="dhcp-cookie"} 12.0' in lines
    assert "bootstrapper_dhcp_offers_total 3.0" in lines
    assert 'bootstrapper_machines{state="installed"} 1.0' in lines
    assert 'bootstrapper_machines{state="armed"} 1.0' in lines


def test_a_store_that_fails_is_not_ready_and_not_a_404(plane):
    plane.store.close()
    assert plane.get(f"/m/{'x' * 43}/install").status_code == 503
    assert plane.get(f"/boot.ipxe?mac={NODE1_MAC}&arch=7").status_code == 503


def test_a_fault_of_ours_is_a_plain_500(plane, monkeypatch, caplog):
    monkeypatch.setattr("bootstrapper.web.machine.render_autoexec", lambda *_: 1 / 0)
    reply = plane.get("/autoexec.ipxe")
    assert (reply.status_code, reply.data) == (500, b"internal error\n")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.text(st.characters(codec="latin-1"), max_size=60), query=st.text(max_size=40), data=st.binary(max_size=50)
)
@pytest.mark.parametrize("prefix", ["/", "/m/", "/assets/", "/cloud-config/", "/boot.ipxe?"])
def test_no_url_is_our_fault(plane, prefix, path, query, data):
    client = plane.make_app().test_client()
    for method in ("GET", "POST"):
        environ = {"PATH_INFO": prefix + path, "QUERY_STRING": query.encode().decode("latin-1"), "HTTP_HOST": path}
        reply = client.open("/", method=method, data=data, environ_overrides={"REMOTE_ADDR": "10.10.14.66"} | environ)
        assert reply.status_code in (200, 400, 404, 413)
