"""An etcd member's claim: it waits for its place among the members, and is told how to begin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rack import NODE1_MAC, make_cluster, make_machine

from bootstrapper.boot.history import History
from bootstrapper.boot.membership import NOTE, Membership, format_membership
from bootstrapper.cluster.model import Machine, Role
from bootstrapper.nodeconfig.context import Context, Output
from bootstrapper.nodeconfig.secrets import Secrets


class KeyRing:
    def secrets_for(self, machine: Machine) -> Secrets:
        return Secrets({}, {})

    def mark_claimed(self, machine: Machine) -> None:
        pass


def tell(plane: Any, membership: Membership) -> None:
    plane.store.save_note(NOTE, format_membership(membership))


def say(name: str, context: Context, machine: Machine) -> Output:
    return Output(f"existing {context.etcd_existing}, members {','.join(context.etcd_members)}\n", "text/plain")


@pytest.fixture
def etcd_plane(plane: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    make_parts = plane.make_parts
    monkeypatch.setattr(plane, "make_parts", lambda: replace(make_parts(), pki=KeyRing()))
    plane.cluster = make_cluster(make_machine(roles=frozenset({Role.ETCD})))
    plane.render = say
    return plane


@pytest.mark.parametrize(
    ("membership", "text"),
    [
        (Membership(founders={NODE1_MAC: 1}), "existing False, members \n"),
        (Membership(True, {}, {NODE1_MAC: 1}, ("node1", "node2")), "existing True, members node1,node2\n"),
    ],
)
def test_a_member_is_told_how_to_begin(etcd_plane: Any, membership: Membership, text: str) -> None:
    tell(etcd_plane, membership)
    etcd_plane.boot()
    reply = etcd_plane.get(f"https:/m/{etcd_plane.tokens[-1]}/config")
    assert (reply.status_code, reply.text) == (200, text)


def test_it_waits_for_its_place_and_its_claim_is_not_used_up(etcd_plane: Any) -> None:
    tell(etcd_plane, Membership(True, refusals={NODE1_MAC: "etcd would lose its majority"}))
    etcd_plane.boot()
    url = f"https:/m/{etcd_plane.tokens[-1]}/config"
    for _ in range(4):
        reply = etcd_plane.get(url)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "10")
    waits = [event for event in etcd_plane.events if event.step == "config waits for etcd"]
    assert [(event.mac, event.detail, event.level) for event in waits] == [
        (NODE1_MAC, "etcd would lose its majority", "warning")
    ]
    tell(etcd_plane, Membership(True, {}, {NODE1_MAC: 1}, ("node1", "node2")))
    assert etcd_plane.get(url).status_code == 200


def test_a_founder_waits_from_the_moment_that_another_ones_order_is_taken_back(etcd_plane: Any) -> None:
    """The next round with etcd has not been yet: the note still says that all begin anew."""
    macs = [NODE1_MAC, "00:00:00:00:00:0b", "00:00:00:00:00:0c"]
    etcd_plane.cluster = make_cluster(
        *(make_machine(mac, f"m{n}", f"10.10.14.1{n}", roles=frozenset({Role.ETCD})) for n, mac in enumerate(macs, 1))
    )
    for mac in macs:
        etcd_plane.store.save_history(mac, History(2, 1))
    tell(etcd_plane, Membership(founders=dict.fromkeys(macs, 2)))
    etcd_plane.boot()
    url = f"https:/m/{etcd_plane.tokens[-1]}/config"
    etcd_plane.store.save_history(macs[2], History(1, 1))
    assert etcd_plane.get(url).status_code == 503
    etcd_plane.store.save_history(macs[2], History(2, 1))
    assert etcd_plane.get(url).text == "existing False, members \n"


def test_who_is_no_member_does_not_wait(etcd_plane: Any) -> None:
    etcd_plane.cluster = make_cluster()
    etcd_plane.boot()
    assert etcd_plane.get(f"https:/m/{etcd_plane.tokens[-1]}/config").status_code == 200
