"""What a new description changes, machine by machine."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Machine
from bootstrapper.cluster.plan import MACHINE_KEYS, Effect, MachineChange, plan

EXAMPLE = (Path(__file__).parents[2] / "cluster-desc.example.yaml").read_text()
OLD = load(EXAMPLE)


def change(*pairs: tuple[str, str]) -> dict[str, MachineChange]:
    text = EXAMPLE
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after, 1)
    return {each.host: each for each in plan(OLD, load(text)).machines}


def test_nothing_changes_for_the_same_text() -> None:
    found = plan(OLD, load(EXAMPLE))
    assert {each.effect for each in found.machines} == {Effect.NOTHING}
    assert found.server == ()


def test_every_key_of_a_machine_is_in_the_table() -> None:
    assert set(MACHINE_KEYS) == {field.name for field in fields(Machine)}


@pytest.mark.parametrize(
    ("before", "after", "effect", "said"),
    [
        ("ip: 10.10.14.12", "ip: 10.10.14.22", Effect.REINSTALL, "ip: 10.10.14.12 -> 10.10.14.22"),
        ("host: node2, ", "host: node2, labels: {a: b}, ", Effect.LIVE, "labels.a: none -> b"),
        ("host: node2, ", "host: node2, serial: X1, ", Effect.LIVE, "serial: none -> X1"),
        ("host: node2, ", "host: node2, taints: ['a=b:NoExecute'], ", Effect.REINSTALL,
         "taints: none -> a=b:NoExecute"),
        ("host: node2, ", "host: node2, disk: {path: /dev/sda}, ", Effect.REINSTALL,
         "disk: the only non-removable disk -> /dev/sda"),
    ],
)  # fmt: skip
def test_a_machines_own_key(before: str, after: str, effect: Effect, said: str) -> None:
    found = change((before, after))
    assert found["node2"].effect is effect
    assert found["node2"].changes == (said,)
    assert found["node1"].effect is Effect.NOTHING


def test_roles_are_named_in_one_order() -> None:
    found = change(("host: node4, roles: [worker]", "host: node4, roles: [worker, ingress]"))
    assert found["node4"].changes == ("roles: flannel, worker -> flannel, ingress, worker",)


def test_machines_come_and_go() -> None:
    line = '  - {mac: "00:25:90:c0:f6:ee", host: node4, roles: [worker]}\n'
    found = change((line, '  - {mac: "00:25:90:c0:f6:01", host: node9, roles: [worker]}\n'))
    assert found["node9"].effect is Effect.NEW
    assert found["node4"].effect is Effect.GONE
    assert list(found)[-1] == "node4"


def test_a_renamed_machine_is_the_same_one() -> None:
    found = change(("host: node4", "host: other"))
    assert found["other"].effect is Effect.REINSTALL
    assert found["other"].changes == ("host: node4 -> other",)


def test_a_life_goes_on_under_another_first_card() -> None:
    found = change(('mac: "00:25:90:c0:f6:ee"', 'macs: ["00:25:90:c0:f6:01", "00:25:90:c0:f6:ee"]'))
    assert found["node4"].effect is Effect.LIVE
    assert found["node4"].mac == "00:25:90:c0:f6:01"
    assert found["node4"].changes[-1].endswith("its life goes on under 00:25:90:c0:f6:01")


def test_the_file_s_own_keys_and_what_wants_a_restart() -> None:
    text = EXAMPLE.replace("bootstrapper: 10.10.14.253", "bootstrapper: 10.10.14.252")
    text = text.replace("unknown_machines: ignore", "unknown_machines: discover")
    found = plan(OLD, load(text))
    assert found.restarts == ("network.bootstrapper: 10.10.14.253 -> 10.10.14.252",)
    assert found.server == (
        "restart of this server needed for network.bootstrapper: 10.10.14.253 -> 10.10.14.252",
        "unknown_machines: ignore -> discover",
    )


def test_what_differs_in_the_configuration_means_installing_again() -> None:
    found = plan(OLD, OLD, lambda old, new: ["/etc/hosts changes"] if new.host == "node1" else [])
    assert [each.effect for each in found.machines][:2] == [Effect.REINSTALL, Effect.NOTHING]
    assert found.machines[0].changes == ("/etc/hosts changes",)
