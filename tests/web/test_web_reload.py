"""While a description that names another of a machine's cards first comes into force, processes with the one before go
on answering: the machine's life is under the new first MAC by then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rack import NODE1_MAC, make_cluster, make_machine

from bootstrapper.boot.adoption import find_life
from bootstrapper.boot.history import History, MachineState
from bootstrapper.state.carry_out import adopt_histories

OTHER = "00:25:90:c0:f7:81"
BEFORE = make_cluster(replace(make_machine(NODE1_MAC, "node1", "10.10.14.11"), macs=(NODE1_MAC, OTHER)))
AFTER = make_cluster(replace(make_machine(OTHER, "node1", "10.10.14.11"), macs=(OTHER, NODE1_MAC)))


@pytest.mark.parametrize("in_force", [BEFORE, AFTER])
def test_a_claim_in_the_middle_of_a_reload_is_answered(plane: Any, in_force: Any) -> None:
    plane.cluster = BEFORE
    plane.boot()
    token = plane.tokens[-1]
    assert adopt_histories(plane.store, AFTER, BEFORE, plane.clock) == [(NODE1_MAC, OTHER)]
    plane.cluster = in_force
    assert plane.get(f"/m/{token}/install").status_code == 200
    assert plane.get(f"https:/m/{token}/config").status_code == 200
    assert plane.report(token, "config").status_code == 200
    assert plane.store.find_history(OTHER).state is MachineState.INSTALLING


def test_a_boot_in_the_middle_of_a_reload_opens_the_install_where_its_life_is(plane: Any) -> None:
    plane.cluster = BEFORE
    plane.store.save_history(NODE1_MAC, History(2, 1))
    adopt_histories(plane.store, AFTER, BEFORE, plane.clock)
    assert "kernel" in plane.boot(NODE1_MAC)
    assert plane.store.find_history(OTHER).state is MachineState.BOOTING
    plane.cluster = AFTER
    assert plane.get(f"https:/m/{plane.tokens[-1]}/config").status_code == 200


def test_a_card_of_another_machine_lends_no_life() -> None:
    machine = BEFORE.machines[0]
    lives = {NODE1_MAC: History(2, 2, held="moved to somewhere else", forgotten=True), OTHER: History(2, 1)}
    assert find_life(machine, lambda mac: lives[mac]) == (NODE1_MAC, lives[NODE1_MAC])
    lives[NODE1_MAC] = replace(lives[NODE1_MAC], held=f"moved to {OTHER} by an admin")
    assert find_life(machine, lambda mac: lives[mac]) == (OTHER, lives[OTHER])
