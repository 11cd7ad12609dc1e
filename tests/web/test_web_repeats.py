"""Whoever asks without end, from a machine's own address, does not push out the machine's history."""

from __future__ import annotations

from collections import Counter

from rack import NODE1_MAC

from bootstrapper.errors import UserError

STORM = 300


def count(plane):
    return Counter(event.step for event in plane.events if event.mac == NODE1_MAC)


def test_scripts_and_installer_configs_without_end(plane):
    for _ in range(STORM):
        plane.boot()
        assert plane.get(f"/m/{plane.tokens[-1]}/install").status_code == 200
        plane.clock += 0.01
    assert count(plane) == {"script": 20, "installer config": 20}


def test_a_machine_that_loops_each_minute_has_every_boot_on_record(plane):
    plane.waiting[NODE1_MAC] = ""
    for _ in range(STORM):
        plane.boot()
        plane.clock += 60
    assert count(plane)["script"] + count(plane)["script refused"] >= STORM - 1


def test_a_template_that_fails_for_who_asks_without_end(plane, monkeypatch):
    def fail(*_: object, **__: object) -> str:
        raise UserError("templates/boot/x.j2: no")

    plane.boot()
    plane.render_fails = True
    for _ in range(STORM):
        assert plane.get(f"/m/{plane.tokens[-1]}/install").status_code == 503
    monkeypatch.setattr("bootstrapper.web.machine.render_script", fail)
    for _ in range(STORM):
        plane.get(f"/boot.ipxe?mac={NODE1_MAC}&arch=7")
    assert count(plane) == {"script": 1, "install failed": 20, "script failed": 20}


def test_who_asks_in_its_name_leaves_its_own_boots_on_record(plane):
    for _ in range(STORM):
        plane.boot(source="10.10.14.66")
        plane.clock += 10
    plane.events.clear()
    plane.boot()
    assert count(plane) == {"script": 1}
