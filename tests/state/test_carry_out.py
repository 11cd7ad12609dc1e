"""Orders and moves, carried out on a real database: what goes, what stays, and that a refusal changes nothing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from fakes import MemoryStore
from rack import make_cluster, make_machine

from bootstrapper.answers.leases import Lease
from bootstrapper.boot.claim import Token
from bootstrapper.boot.decide import decide
from bootstrapper.boot.events import Event
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask, Refusal, build_forgotten
from bootstrapper.cluster.model import Cluster, Machine, Role, UnknownPolicy
from bootstrapper.state.carry_out import Done, adopt_histories, carry_move, carry_out, give_new_keys
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.state.store import Errand, LeaseChange, Sighting, Store

A, B, C, NEW = "00:00:00:00:00:0a", "00:00:00:00:00:0b", "00:00:00:00:00:0c", "00:00:00:00:00:ff"
A2 = "00:00:00:00:00:1a"
JOINED = History(1, 1, MachineState.JOINED, 5.0, booted_at=4.0, reason="its node is Ready")


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return SqliteStore(tmp_path / "state.db") if request.param == "sqlite" else MemoryStore()


def make_rack() -> Cluster:
    return make_cluster(
        replace(make_machine(A, "alpha", "10.10.14.11"), macs=(A, A2)),
        make_machine(B, "beta", None),
        make_machine(C, "ceph", "10.10.14.13", roles=frozenset({Role.ETCD})),
    )


def fill(store: Store, mac: str) -> None:
    store.save_history(mac, JOINED)
    store.save_leases([Lease(IPv4Address("10.10.14.100"), mac, 99.0), Lease(IPv4Address("10.10.14.101"), B, 99.0)])
    store.mint(Token("digest", mac, IPv4Address("10.10.14.100"), 1, 1.0, 99.0))
    store.add_events([Event(1.0, mac, "dhcp", "ack")])
    store.save_sightings([Sighting(mac, 1.0, 1.0, 1)])


def test_forget_takes_leases_tokens_and_sightings_and_leaves_a_machine_on_hold(store: Store) -> None:
    fill(store, A)
    done = carry_out(store, make_rack(), A2, Ask(Order.FORGET), 50.0)
    assert isinstance(done, Done) and done.changed
    kept = store.find_history(A)
    assert (kept.wanted, kept.done, kept.state, kept.forgotten, kept.open) == (1, 1, MachineState.HELD, True, False)
    assert [lease.mac for lease in store.load_leases()] == [B]
    assert (store.find_token("digest"), store.load_sightings()) == (None, [])
    assert store.load_errands() == [
        Errand(1, 50.0, "forget keys", A, "alpha"),
        Errand(2, 50.0, "forget node", A, "alpha"),
        Errand(3, 50.0, "forget etcd member", A, "alpha"),
    ]
    assert sorted(store.changed_leases(0)[1], key=lambda each: each.mac) == [LeaseChange(A), LeaseChange(A2)]
    events = [(event.step, event.detail.partition(":")[0]) for _, event in store.events(A)]
    assert events == [("ack", ""), ("state", "joined -> held")]


def test_a_forgotten_machine_is_installed_by_an_order_only(store: Store) -> None:
    fill(store, A)
    carry_out(store, make_rack(), A, Ask(Order.FORGET), 50.0)
    assert carry_out(store, make_rack(), A, Ask(Order.FORGET), 51.0) == Done(store.find_history(A), changed=False)
    done = carry_out(store, make_rack(), A, Ask(Order.INSTALL), 60.0)
    assert isinstance(done, Done)
    assert (done.history.wanted, done.history.done, done.history.state) == (2, 1, MachineState.ARMED)


def test_a_refusal_changes_nothing(store: Store) -> None:
    fill(store, A)
    events = store.events()
    refused = carry_out(store, make_rack(), A, Ask(Order.INSTALL), 50.0)
    assert refused == Refusal("generation 1 is installed on it", "order `reinstall` to write its disk once more")
    assert carry_out(store, make_rack(), NEW, Ask(Order.FORGET), 50.0) == Refusal("nothing is known of this machine")
    assert store.find_history(A) == JOINED
    assert (store.events(), store.load_errands(), store.lease_mark()) == (events, [], 0)
    assert store.find_token("digest") is not None


def test_move_takes_history_lease_tokens_and_events_along(store: Store) -> None:
    fill(store, B)
    store.save_leases([Lease(IPv4Address("10.10.14.102"), NEW, 99.0)])
    done = carry_move(store, make_rack(), B, NEW, 50.0)
    advice = (
        f"write `macs: [{NEW}, {B}]` for beta in the description: until then {NEW} is unknown; "
        "the old MAC stays second until it is installed again, for its certificates name it"
    )
    assert done == Done(JOINED, True, (advice,))
    assert store.find_history(NEW) == JOINED
    stays = store.find_history(B)
    assert (stays.held, stays.open, stays.forgotten) == (f"moved to {NEW} by an admin", False, True)
    assert {str(lease.address): lease.mac for lease in store.load_leases()} == {
        "10.10.14.100": NEW, "10.10.14.101": NEW,
    }  # fmt: skip
    token = store.find_token("digest")
    assert token is not None and token.mac == NEW
    assert [event.step for _, event in store.events(NEW)] == ["ack", "state"]
    assert store.changed_leases(0) == (1, [LeaseChange(B, NEW)])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (A, A, "that is the MAC that it has"),
        (A, A2, f"{A2} is a card of alpha already"),
        (NEW, A, "nothing has happened to this machine yet"),
        (A, B, f"{B} has been installed as a machine of its own"),
    ],
)
def test_moves_that_are_refused(store: Store, old: str, new: str, reason: str) -> None:
    store.save_history(A, JOINED)
    store.save_history(B, JOINED)
    refused = carry_move(store, make_rack(), old, new, 50.0)
    assert isinstance(refused, Refusal) and refused.reason == reason
    assert (store.find_history(A), store.find_history(B)) == (JOINED, JOINED)


def test_a_machine_whose_macs_are_named_in_another_order_is_not_new(store: Store) -> None:
    store.save_history(A, JOINED)
    store.save_leases([Lease(IPv4Address("10.10.14.100"), A, 99.0)])
    turned = make_cluster(replace(make_machine(A, "alpha", None), macs=(A2, A)), make_machine(B, "beta", None))
    assert adopt_histories(store, make_rack(), None, 9.0) == []
    assert adopt_histories(store, turned, None, 9.0) == [(A, A2)]
    assert store.find_history(A2) == JOINED
    assert store.find_history(A).forgotten
    assert [lease.mac for lease in store.load_leases()] == [A2]
    assert adopt_histories(store, turned, None, 9.0) == []


def test_a_machine_whose_first_card_is_taken_out_of_the_description_is_not_new(store: Store) -> None:
    store.save_history(A, JOINED)
    less = make_cluster(make_machine(A2, "alpha", None), make_machine(NEW, "other", None))
    assert adopt_histories(store, less, make_rack(), 9.0) == [(A, A2)]
    assert (store.find_history(A2), store.find_history(NEW)) == (JOINED, History())


def test_a_card_that_is_another_machine_now_takes_no_life_with_it(store: Store) -> None:
    store.save_history(A, JOINED)
    split = make_cluster(make_machine(A2, "new", None), make_machine(A, "alpha", None))
    assert adopt_histories(store, split, make_rack(), 9.0) == []


def test_a_move_after_the_description_was_changed(store: Store) -> None:
    store.save_history(A, JOINED)
    turned = make_cluster(replace(make_machine(A, "alpha", None), macs=(NEW, A)))
    assert carry_move(store, turned, A, NEW, 50.0) == Done(JOINED)
    assert store.find_history(NEW) == JOINED


def test_a_moved_machine_cannot_be_moved_again_from_its_old_mac(store: Store) -> None:
    store.save_history(A, JOINED)
    carry_move(store, make_rack(), A, NEW, 50.0)
    assert isinstance(carry_move(store, make_rack(), A, "00:00:00:00:00:fe", 51.0), Refusal)
    assert store.find_history(NEW) == JOINED


def test_a_name_made_from_the_old_mac_is_mentioned(store: Store) -> None:
    cluster = make_cluster(make_machine(A, A.replace(":", "-"), "10.10.14.11"))
    store.save_history(A, JOINED)
    done = carry_move(store, cluster, A, NEW, 50.0)
    assert isinstance(done, Done)
    assert done.warnings[1] == (
        "its host name came from its old MAC: give it `host: 00-00-00-00-00-0a`, the name of its node"
    )


def test_approval_is_for_unknown_machines_and_by_the_policy_only(store: Store) -> None:
    for policy, granted in ((UnknownPolicy.DISCOVER, False), (UnknownPolicy.WORKER, True)):
        done = carry_out(store, replace(make_rack(), unknown_machines=policy), NEW, Ask(Order.APPROVE), 50.0)
        assert isinstance(done, Done) is granted
        assert store.find_history(NEW).approved is granted
    assert isinstance(carry_out(store, make_rack(), A, Ask(Order.APPROVE), 50.0), Refusal)


def test_the_only_member_of_etcd_is_warned_of(store: Store) -> None:
    store.save_history(C, JOINED)
    done = carry_out(store, make_rack(), C, Ask(Order.REINSTALL, reason="new disk"), 50.0)
    assert isinstance(done, Done)
    assert done.warnings == ("no other member of etcd is installed: all that the cluster holds is lost with it",)
    assert done.history.reason == "an admin ordered it to be installed again: new disk"


def test_a_card_that_brings_an_open_order_does_not_install_its_new_machine(store: Store) -> None:
    """A2's own machine was to be installed; its card then went into A, which is installed."""
    store.save_history(A, History(1, 1, MachineState.JOINED))
    store.save_history(A2, History(2, 1))
    turned = make_cluster(replace(make_machine(A), macs=(A2, A)))
    assert adopt_histories(store, turned, None, 9.0) == []
    kept = store.find_history(A2)
    assert (kept.state, bool(kept.held)) == (MachineState.HELD, True)


def test_macs_that_are_turned_back_keep_the_life_too(store: Store) -> None:
    store.save_history(A, History(1, 1, MachineState.JOINED))
    there, back = (
        make_cluster(replace(make_machine(A), macs=(A2, A))),
        make_cluster(replace(make_machine(A), macs=(A, A2))),
    )
    assert adopt_histories(store, there, None, 9.0) == [(A, A2)]
    assert adopt_histories(store, back, None, 10.0) == [(A2, A)]
    assert store.find_history(A).state is MachineState.JOINED


def make_two(*machines: Machine) -> Cluster:
    return make_cluster(*machines, make_machine(C, "ceph", "10.10.14.13"))


BEFORE = make_two(make_machine(A, "alpha", "10.10.14.11"), make_machine(B, "beta", "10.10.14.12"))
MERGED = make_two(replace(make_machine(NEW, "alpha", "10.10.14.11"), macs=(NEW, A, B)))
REPLACED = make_two(make_machine(NEW, "alpha", "10.10.14.11"), make_machine(B, "beta", "10.10.14.12"))
BIOS = Firmware(Kind.BIOS, Stage.ROM, code=0)


def gets(store: Store, cluster: Cluster, mac: str) -> str:
    return str(decide(cluster.by_mac[mac], UnknownPolicy.IGNORE, BIOS, store.find_history(mac)).action)


def test_a_machine_with_the_cards_of_two_installed_ones_is_held(store: Store) -> None:
    store.save_history(A, replace(JOINED, wanted=2, done=2))
    store.save_history(B, JOINED)
    assert adopt_histories(store, MERGED, BEFORE, 9.0) == []
    kept = store.find_history(NEW)
    assert kept.held == (
        f"it has cards of alpha ({A}) and beta ({B}), known as installed: order `move {A} {NEW}` or `move {B} {NEW}` "
        "if it is one of them, or `install` if its disk is to be written"
    )
    assert (kept.wanted, kept.done, gets(store, MERGED, NEW)) == (2, 2, "local-disk")
    assert [(each.step, each.level) for _, each in store.events(NEW)] == [("state", "warning")]
    # The server starts again, with the same description: nothing new.
    assert adopt_histories(store, MERGED, MERGED, 10.0) == []
    assert store.find_history(NEW) == kept


def test_the_ways_out_of_such_a_hold(store: Store) -> None:
    store.save_history(A, JOINED)
    store.save_history(B, JOINED)
    adopt_histories(store, MERGED, BEFORE, 9.0)
    assert isinstance(carry_out(store, MERGED, NEW, Ask(Order.INSTALL), 10.0), Done)
    assert gets(store, MERGED, NEW) == "install"
    assert adopt_histories(store, MERGED, MERGED, 11.0) == []  # the order outlives a restart
    assert gets(store, MERGED, NEW) == "install"
    carry_out(store, MERGED, NEW, Ask(Order.FORGET), 12.0)
    assert isinstance(carry_move(store, MERGED, A, NEW, 13.0), Done)
    assert store.find_history(NEW) == JOINED


def test_cards_of_machines_that_were_never_installed_hold_nothing_up(store: Store) -> None:
    for mac in (A, B):
        store.save_history(mac, History(1, 0, MachineState.BOOTING, 5.0))
    assert adopt_histories(store, MERGED, BEFORE, 9.0) == []
    assert gets(store, MERGED, NEW) == "install"


def test_a_card_replaced_in_the_file_without_a_move_is_held(store: Store) -> None:
    store.save_history(A, JOINED)
    assert adopt_histories(store, REPLACED, BEFORE, 9.0) == []
    kept = store.find_history(NEW)
    assert kept.held == (
        f"it has the host name of alpha ({A}), which is installed and no longer described: order `move {A} {NEW}` if "
        "it is that machine, or `install` if its disk is to be written"
    )
    assert gets(store, REPLACED, NEW) == "local-disk"
    moved = carry_move(store, REPLACED, A, NEW, 10.0)
    assert isinstance(moved, Done)
    assert moved.warnings == (
        f"write `macs: [{NEW}, {A}]` for alpha: its certificates name the old MAC, and renew by it until it is "
        "installed again",
    )
    assert store.find_history(NEW) == JOINED


def test_the_address_of_an_installed_machine_that_is_gone_holds_as_its_name_does(store: Store) -> None:
    store.save_history(A, JOINED)
    other = make_two(make_machine(NEW, "gamma", "10.10.14.11"), make_machine(B, "beta", None))
    adopt_histories(store, other, BEFORE, 9.0)
    assert store.find_history(NEW).held.startswith(f"it has the address of alpha ({A})")


@pytest.mark.parametrize(
    "life", [History(), History(1, 0, MachineState.BOOTING, 5.0), build_forgotten(JOINED, 1.0, "x")]
)
def test_in_place_of_a_machine_that_has_no_system_one_is_new(store: Store, life: History) -> None:
    store.save_history(A, life)
    adopt_histories(store, REPLACED, BEFORE, 9.0)
    assert gets(store, REPLACED, NEW) == "install"


def test_an_order_for_a_machine_with_another_card_outlives_a_restart(store: Store) -> None:
    store.save_history(A, JOINED)
    store.save_history(A2, History(2, 1))
    turned = make_cluster(replace(make_machine(A), macs=(A2, A)))
    adopt_histories(store, turned, make_rack(), 9.0)
    assert gets(store, turned, A2) == "local-disk"
    carry_out(store, turned, A2, Ask(Order.INSTALL), 10.0)
    assert adopt_histories(store, turned, turned, 11.0) == []
    assert gets(store, turned, A2) == "install"


@pytest.mark.parametrize("failed", [False, True])
def test_an_order_for_a_machine_held_at_work_outlives_a_restart(store: Store, failed: bool) -> None:
    """A's first install had begun when the card of B, which is installed, was written beside its own."""
    store.save_history(A, History(1, 0, MachineState.BOOTING, 5.0, opened_at=(5.0,), begun=True))
    store.save_history(B, JOINED)
    merged = make_two(replace(make_machine(A, "alpha", "10.10.14.11"), macs=(A, B)))
    adopt_histories(store, merged, BEFORE, 9.0)
    held = store.find_history(A)
    assert held.held.startswith("its card has an open install of another machine")
    assert adopt_histories(store, merged, merged, 10.0) == []
    assert store.find_history(A) == held, "the hold outlives a restart"
    assert isinstance(carry_out(store, merged, A, Ask(Order.INSTALL), 11.0), Done)
    if failed:
        store.save_history(A, replace(store.find_history(A), state=MachineState.FAILED))
    ordered = store.find_history(A)
    assert adopt_histories(store, merged, merged, 12.0) == []
    assert (store.find_history(A), store.find_history(B)) == (ordered, JOINED)
    assert gets(store, merged, A) == "install"


def test_the_life_of_its_other_card_goes_on_where_an_admin_says_so(store: Store) -> None:
    store.save_history(A, History(1, 0, MachineState.BOOTING, 5.0, opened_at=(5.0,), begun=True))
    store.save_history(B, JOINED)
    merged = make_two(replace(make_machine(A, "alpha", "10.10.14.11"), macs=(A, B)))
    adopt_histories(store, merged, BEFORE, 9.0)
    assert isinstance(carry_move(store, merged, B, A, 10.0), Done)
    assert store.find_history(A) == JOINED


def list_kinds(store: Store) -> list[str]:
    return [errand.kind for errand in store.load_errands()]


def test_a_forgotten_machine_that_is_released_gets_its_keys_back_and_hears_what_it_lost(store: Store) -> None:
    for errands_done, warnings in (
        (False, ()),
        (True, ("it is no member of etcd any more: order `reinstall` to make it one again",)),
    ):
        store.save_history(C, JOINED)
        carry_out(store, make_rack(), C, Ask(Order.FORGET), 50.0)
        assert list_kinds(store) == ["forget keys", "forget node", "forget etcd member"]
        if errands_done:
            for errand in store.load_errands():
                store.finish_errand(errand.id)
        done = carry_out(store, make_rack(), C, Ask(Order.RELEASE), 60.0)
        assert isinstance(done, Done)
        assert done.warnings == warnings
        assert list_kinds(store) == ["restore keys"]
        for errand in store.load_errands():
            store.finish_errand(errand.id)


def test_a_release_that_is_refused_leaves_the_errands_and_one_of_another_hold_adds_none(store: Store) -> None:
    fill(store, A)
    carry_out(store, make_rack(), A, Ask(Order.FORGET), 50.0)
    carry_out(store, make_rack(), A, Ask(Order.INSTALL), 51.0)
    assert isinstance(carry_out(store, make_rack(), A, Ask(Order.RELEASE), 52.0), Refusal)
    carry_out(store, make_rack(), A, Ask(Order.HOLD), 53.0)
    done = carry_out(store, make_rack(), A, Ask(Order.RELEASE), 54.0)
    assert isinstance(done, Done) and done.warnings == ()
    assert list_kinds(store) == ["forget keys", "forget node", "forget etcd member"]


def test_an_approved_machine_that_is_forgotten_is_told_its_own_ways_out(store: Store) -> None:
    store.save_history(B, replace(JOINED, approved=True))
    done = carry_out(store, make_rack(), B, Ask(Order.FORGET), 50.0)
    assert isinstance(done, Done)
    assert done.history.held == (
        "forgotten by an admin: order `approve` to take it as a worker again; `install` or `release` once it is "
        "described"
    )


def test_a_claim_of_a_forgotten_machine_has_its_old_keys_retired_first(store: Store) -> None:
    class Keys:
        def __init__(self) -> None:
            self.asked: list[tuple[str, float]] = []

        def forget(self, mac: str, at: float) -> None:
            self.asked.append((mac, at))

    keys = Keys()
    fill(store, A)
    carry_out(store, make_rack(), A, Ask(Order.FORGET), 50.0)
    assert not give_new_keys(store, keys, B)
    assert list_kinds(store) == ["forget keys", "forget node", "forget etcd member"]
    assert give_new_keys(store, keys, A)
    assert not give_new_keys(store, keys, A), "its new keys are not taken as well"
    assert keys.asked == [(A, 50.0)]
    assert list_kinds(store) == ["forget node", "forget etcd member"]


def test_a_machine_is_moved_by_the_name_of_a_card_whose_life_went_on_already(store: Store) -> None:
    store.save_history(A, JOINED)
    turned = make_cluster(replace(make_machine(A, "alpha", "10.10.14.11"), macs=(A2, A)))
    adopt_histories(store, turned, make_rack(), 9.0)
    assert isinstance(carry_move(store, turned, A, NEW, 10.0), Done)
    assert store.find_history(NEW) == JOINED
