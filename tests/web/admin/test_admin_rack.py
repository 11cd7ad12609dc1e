"""The rack's values: states, what is overdue, progress, boots, the diagnosis, and configurations without secrets."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from adminplane import NODE1, AdminPlane

from bootstrapper.answers.leases import Lease
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cli_views import show_machine
from bootstrapper.cluster.installed_as import describe_installed
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Role
from bootstrapper.nodeconfig.outputs import OUTPUTS
from bootstrapper.pki.authority import load_identity
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.web.admin.rack import RackView

NODE4 = "00:25:90:c0:f6:ee"
SECRET = re.compile(r"PRIVATE KEY|BEGIN (?:EC|RSA)|[a-z0-9]{6}\.[a-z0-9]{16}")


def test_an_install_under_way(admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(state=MachineState.INSTALLING, state_at=admin.clock))
    admin.event("image", detail="wrote 2.1 of 5 GiB, 42 %")
    (found, *_) = admin.get("/machines")
    assert found["progress"] == {"step": "image", "percent": 42}
    assert found["last_event"]["step"] == "image"
    assert found["exits"] == ["install", "hold", "forget"]
    assert found["overdue"] == ""
    admin.clock += 3600
    assert "hangs" in admin.get("/machines")[0]["overdue"]


def test_an_earlier_installs_word_is_no_progress(admin: AdminPlane) -> None:
    admin.event("image", detail="100 %")
    admin.store.save_history(NODE1, History(wanted=2, done=1, state=MachineState.INSTALLING, state_at=admin.clock + 60))
    assert admin.get("/machines")[0]["progress"] is None


def test_a_machine_without_a_fixed_address_shows_its_lease(admin: AdminPlane) -> None:
    admin.store.save_leases([Lease(IPv4Address("10.10.14.120"), NODE4, admin.clock + 60)])
    assert {each["host"]: each["address"] for each in admin.get("/machines")}["node4"] == "10.10.14.120"
    assert admin.get("/machines/node4")["address"] == "10.10.14.120"


def test_one_machine_has_its_boots_and_its_diagnosis(admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(state=MachineState.FAILED, state_at=admin.clock, reason="no disk"))
    admin.event("script", service="http", detail="install for UEFI x64: generation 1 is open")
    admin.event("failed", detail="no disk matches: there is none")
    found = admin.get("/machines/00-25-90-C0-F7-80")
    assert [each["outcome"] for each in found["boots"]] == ["failed"]
    assert [each["step"] for each in found["boots"][0]["steps"]] == ["script", "failed"]
    assert found["diagnosis"]["page"] == f"docs/diagnosis.md#{found['diagnosis']['cause']}"


def test_a_disk_that_has_an_older_plan(admin: AdminPlane) -> None:
    machine = admin.make_parts().cluster().by_mac[NODE1]
    older = describe_installed(replace(machine, host="old", roles=frozenset({Role.WORKER})))
    admin.store.save_history(NODE1, History(1, 1, MachineState.JOINED, 5.0, plan=older))
    change = ["host: old -> node1", "roles: worker -> etcd, flannel, master"]
    assert [each["older_plan"] for each in admin.get("/machines")][:2] == [change, []]
    assert "  older     its disk has roles: worker -> etcd, flannel, master: needs a reinstall" in show_machine(
        admin.get("/machines/node1"), admin.clock
    )
    admin.store.save_history(NODE1, History(2, 1, MachineState.ARMED, 5.0, plan=older))
    assert admin.get("/machines/node1")["older_plan"] == []
    admin.store.save_history(NODE1, History(2, 2, MachineState.JOINED, 5.0, plan=describe_installed(machine)))
    assert admin.get("/machines/node1")["older_plan"] == []


def test_what_is_missing_is_named_at_each_machine(admin: AdminPlane) -> None:
    admin.missing = {NODE1: ("flatcar/x.bz2",)}
    assert [each["missing_assets"] for each in admin.get("/machines")][:2] == [["flatcar/x.bz2"], []]


def test_certificates_end_and_damaged_ones_do_not_hide_the_rack(admin: AdminPlane) -> None:
    pki = ClusterPki(admin.folder / "pki" / "cluster", admin.cluster, lambda: admin.clock)
    load_identity(admin.folder / "pki", "bootstrapper.prod.example.com", [], admin.clock)
    pki.secrets_for(admin.cluster.by_host["node1"])
    found = {each["host"]: each["certificate_until"] for each in admin.get("/machines")}
    assert found["node1"].startswith("2028-")
    assert found["node4"] is None
    names = {(each["machine"], each["name"]) for each in admin.get("/certificates")}
    assert ("node1", "etcd-server") in names
    assert {each["renews"] for each in admin.get("/machines")} == {True}
    pki.forget(NODE1, admin.clock)
    admin.clock += 61
    found = admin.get("/machines/node1")
    assert (found["renews"], found["certificate_until"][:5]) == (False, "2028-")
    assert "it is not renewed" in admin.ask("GET", "/machines/node1").text
    (admin.folder / "pki" / "server.pem").write_text("x")
    admin.clock += 61
    assert admin.ask("GET", "/api/v1/machines").status_code == 200
    assert "server" in admin.ask("GET", "/api/v1/certificates").json["error"]


@pytest.mark.parametrize("output", sorted(OUTPUTS))
def test_no_output_holds_a_key(admin: AdminPlane, output: str) -> None:
    """With the cluster's real keys in the state, and an install open: what is shown never has them."""
    pki = ClusterPki(admin.folder / "pki" / "cluster", admin.cluster, lambda: admin.clock)
    canaries = set()
    for machine in admin.cluster.machines:
        secrets = pki.secrets_for(machine)
        canaries |= {pair.key for pair in secrets.pairs.values()} | {
            pair.certificate for pair in secrets.pairs.values()
        }
        canaries |= {secrets.bootstrap_token, secrets.encryption_key, *secrets.authority_keys.values()}
    lines = {line for text in canaries for line in text.splitlines() if len(line) > 20 and not line.startswith("-----")}
    assert len(lines) > 100
    for machine in admin.cluster.machines:
        text = admin.ask("GET", f"/api/v1/machines/{machine.host}/config/{output}").text
        assert [line for line in lines if line in text] == []
        assert not SECRET.search(text)


def test_an_output_that_is_not_there(admin: AdminPlane) -> None:
    reply = admin.ask("GET", "/api/v1/machines/node1/config/keys")
    assert reply.status_code == 404
    assert "cloud-config" in reply.json["hint"]


def test_a_thousand_machines_are_one_look(admin: AdminPlane) -> None:
    """Not a timed test: how often the store is asked does not grow with the rack."""
    template = admin.cluster.by_host["node4"]
    machines = tuple(
        replace(template, macs=(f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}",), host=f"m{number}")
        for number in range(1000)
    )
    admin.cluster = replace(admin.cluster, machines=machines)
    asked: list[str] = []
    execute = admin.store._read

    def read(statement: str, values: object = ()) -> object:
        asked.append(statement)
        return execute(statement, values)  # type: ignore[arg-type]

    admin.store._read = read  # type: ignore[method-assign, assignment]
    view = RackView(admin.make_parts())
    assert len(view.list()) == 1000
    assert len(asked) < 10


@pytest.mark.parametrize("name", ["nobody", "00:11:22:33:44:55", "x" * 500, "<script>", "%00", "%0a", "..", "node1%20"])
def test_machines_that_are_not_there(admin: AdminPlane, name: str) -> None:
    reply = admin.ask("GET", f"/api/v1/machines/{name}")
    assert reply.status_code == 404
    assert len(reply.text) < 400
    assert reply.content_type == "application/json"


def test_a_misspelt_host_is_told_the_nearest(admin: AdminPlane) -> None:
    assert "node1" in admin.ask("GET", "/api/v1/machines/nod1").json["hint"]


def test_orders_through_the_api_are_those_of_the_table(admin: AdminPlane) -> None:
    def order(**body: object) -> tuple[int, str]:
        reply = admin.ask("POST", "/api/v1/machines/node1/orders", json=body)
        found = reply.json
        return reply.status_code, found["machine"]["state"] if reply.status_code == 200 else found["error"]

    assert order(order="release") == (422, "it is not on hold")
    assert order(order="hold") == (200, "held")
    assert order(order="release") == (200, "armed")
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED))
    assert order(order="install")[0] == 422
    assert order(order="reinstall", wipe=True) == (200, "armed")
    assert admin.store.find_history(NODE1).wipe
    assert admin.get("/machines/node1")["exits"] == ["cancel", "hold", "reinstall", "forget"]
    assert order(order="cancel") == (200, "installed")
    kept = admin.store.find_history(NODE1)
    assert (kept.wanted, kept.done, kept.wipe) == (1, 1, False)
    assert order(order="forget") == (200, "held")
    refused = [each["what"] for each in admin.get("/audit") if each["outcome"] == "refused"]
    assert refused == ["order release", "order install"]


def test_a_move_to_another_card(admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED))
    reply = admin.ask("POST", "/api/v1/machines/node1/move", json={"to": "52-54-00-00-00-09"})
    assert reply.status_code == 200
    assert reply.json["mac"] == "52:54:00:00:00:09"
    assert "52:54:00:00:00:09" in reply.json["warnings"][0]
    assert admin.store.find_history("52:54:00:00:00:09").state is MachineState.JOINED
    assert admin.ask("POST", "/api/v1/machines/node1/move", json={"to": "x"}).status_code == 400


def test_a_life_is_moved_from_one_card_of_a_machine_to_its_first(admin: AdminPlane) -> None:
    first = "52:54:00:00:00:09"
    text = admin.file.read_text()
    admin.cluster = load(text.replace(f'mac: "{NODE1}"', f'macs: ["{first}", "{NODE1}"]').replace(
        f"mac: {NODE1}", f'macs: ["{first}", "{NODE1}"]'), "x")  # fmt: skip
    assert admin.cluster.by_mac[NODE1].mac == first
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED))
    held = "it has cards of two"
    admin.store.save_history(first, History(1, 1, MachineState.HELD, held=held, reason=held, forgotten=True))
    reply = admin.ask("POST", f"/api/v1/machines/{NODE1}/move", json={"to": first})
    assert (reply.status_code, reply.json["mac"]) == (200, first)
    assert admin.store.find_history(first).state is MachineState.JOINED


def test_nothing_of_the_state_directory_is_in_an_answer(admin: AdminPlane, tmp_path: Path) -> None:
    for path in ("/status", "/machines", "/certificates", "/description"):
        assert "T" * 43 not in admin.ask("GET", f"/api/v1{path}").text


def test_a_machine_in_service_that_goes_round_is_named_at_the_rack(admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(1, 1, MachineState.JOINED, admin.clock, booted_at=admin.clock))
    said = []
    for _ in range(6):
        admin.clock += 90
        admin.event("offer", service="dhcp", detail="10.10.14.11 to UEFI x64, nothing to boot: generation 1 is done")
        admin.event("local disk", service="tftp", detail="refused as it should be")
        said.append(admin.get("/machines")[0]["stopped"])
    # The fifth time three are over, two minutes ago at least; and it is said while it goes on.
    assert said == ["", "", "", "", *["installed, sent to its disk, and back on the network"] * 2]


def test_an_order_that_has_not_begun_has_a_button_to_take_it_back(admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(2, 1, MachineState.ARMED, admin.clock))
    assert "Take the order back" in admin.ask("GET", "/machines/node1").text
    admin.store.save_history(NODE1, History(2, 1, MachineState.ARMED, admin.clock, begun=True))
    assert "Take the order back" not in admin.ask("GET", "/machines/node1").text
