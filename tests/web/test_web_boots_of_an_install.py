"""Several boots for one install: whose report moves the machine, who claims, and what is told when two have claimed."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from rack import NODE1_MAC

from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.lifecycle import Order, find_state
from bootstrapper.boot.orders import Ask, Subject, apply_order
from bootstrapper.boot.report import may_move
from bootstrapper.cluster.installed_as import compare_installed
from bootstrapper.cluster.model import Role
from bootstrapper.pki.tokens import digest_token

LIFE_S = 6 * 3600


def boot(plane, after_s=60.0):
    """Another boot; its token."""
    plane.clock += after_s
    plane.boot()
    return plane.tokens[-1]


def claim(plane, token, source="10.10.14.11"):
    return plane.get(f"https:/m/{token}/config", source).status_code


def tell(plane, token, step, detail="said so", source="10.10.14.11"):
    plane.clock += 1
    body = {"step": step, "detail": detail, "generation": 1}
    return plane.get(f"https:/m/{token}/report", source, "POST", json=body).status_code


def state(plane):
    history = plane.store.find_history(NODE1_MAC)
    return str(find_state(history)), history.reason, history.done


def order(plane, what):
    change = lambda history: apply_order(history, Ask(Order(what)), Subject(known=True), plane.clock)  # noqa: E731
    plane.store.change_history(NODE1_MAC, change)


class TestTooLate:
    def test_a_claim_hours_after_the_script(self, plane):
        token = boot(plane)
        plane.clock += LIFE_S - 1
        assert claim(plane, token) == 200

    def test_what_came_too_late_may_say_that_it_failed(self, plane):
        token = boot(plane)
        plane.clock += LIFE_S
        assert claim(plane, token) == 404
        assert tell(plane, token, "disk") == 404
        assert tell(plane, token, "failed", "refused") == 200
        assert state(plane) == ("failed", "refused", 0)
        body = b"{}"
        assert plane.get(f"https:/m/{token}/report", method="POST", data=body).status_code == 404
        assert tell(plane, token, "failed", source="10.10.14.66") == 404

    def test_not_when_a_newer_boot_took_its_place(self, plane):
        old = boot(plane)
        plane.clock += LIFE_S
        boot(plane)
        assert tell(plane, old, "failed") == 404
        assert state(plane)[0] == "booting"

    def test_another_boot_claims(self, plane):
        old = boot(plane)
        plane.clock += LIFE_S
        assert (claim(plane, old), tell(plane, old, "failed")) == (404, 200)
        new = boot(plane)
        assert claim(plane, new) == 200
        assert not [event for event in plane.events if event.step == "config claimed again"]


class TestForward:
    def test_an_older_boot_that_never_claimed_moves_nothing(self, plane):
        old, new = boot(plane), boot(plane)
        assert claim(plane, new) == 200
        assert tell(plane, new, "image", "42 % of the image") == 200
        before = state(plane)
        assert tell(plane, old, "failed", "two disks match") == 200
        assert state(plane) == before
        event = plane.events[-1]
        assert (event.service, event.step, event.level) == ("http", "report unheeded", "warning")
        assert re.fullmatch("failed of an older boot, token [0-9a-f]{8}: two disks match", event.detail)

    def test_an_older_boot_that_claimed_neither_closes_the_install_nor_seals_the_newer(self, plane):
        old = boot(plane)
        assert claim(plane, old) == 200
        new = boot(plane)
        assert tell(plane, old, "installed") == 200  # its installer ends well
        assert state(plane)[0::2] == ("booting", 0)
        assert claim(plane, new) == 200
        assert tell(plane, new, "installed") == 200
        assert state(plane)[0::2] == ("installed", 1)

    @pytest.mark.parametrize("late", ["image", "disk", "installed"])
    def test_after_a_failure_only_a_later_boot_moves_it(self, plane, late):
        token = boot(plane)
        assert claim(plane, token) == 200
        assert tell(plane, token, "failed", "the mirror is gone") == 200
        assert tell(plane, token, late, "43 % of the image") == 200
        assert state(plane) == ("failed", "the mirror is gone", 0)
        assert plane.events[-1].detail.startswith(f"{late} after its failure, token ")
        later = boot(plane)
        assert state(plane)[0] == "booting"
        assert tell(plane, later, "disk") == 200
        assert state(plane)[0] == "installing"

    def test_a_script_asked_for_in_the_moment_of_the_failure(self, plane):
        """The same boot still, so it opens nothing; but its token is newer than the failure."""
        token = boot(plane)
        assert tell(plane, token, "failed") == 200
        later = boot(plane, 2.0)
        assert state(plane)[0] == "failed"
        assert tell(plane, later, "disk") == 200
        assert state(plane)[0] == "installing"

    def test_a_system_has_the_token_of_the_boot_that_wrote_it(self, plane):
        """The next boot found the disk complete, and reported it with its own."""
        wrote = boot(plane)
        assert claim(plane, wrote) == 200
        found = boot(plane)
        assert claim(plane, found) == 200
        assert tell(plane, found, "installed", "found complete on /dev/sda from an earlier attempt") == 200
        assert tell(plane, wrote, "booted") == 200
        assert plane.store.find_history(NODE1_MAC).booted_at > 0

    def test_the_rule(self, plane):
        token = plane.store.find_token(digest_token(boot(plane)))
        done, claimed = History(1, 1), replace(token, redeemed_at=5.0)
        assert (may_move(done, token, True), may_move(done, claimed, False)) == (False, True)
        assert (may_move(History(), claimed, False), may_move(History(), token, True)) == (False, True)
        failed = History(state=MachineState.FAILED, state_at=token.minted_at)
        assert not may_move(failed, token, True)
        assert may_move(replace(failed, state_at=token.minted_at - 1), token, True)


class TestOnHold:
    def test_a_valid_claim_is_asked_to_come_again_and_nothing_else_is(self, plane):
        old, token = boot(plane), boot(plane)
        order(plane, "hold")
        assert (claim(plane, token), plane.get(f"/m/{token}/install").status_code) == (503, 503)
        event = plane.events[-1]
        assert (event.step, event.level) == ("config waits for release", "warning")
        assert claim(plane, token, "10.10.14.66") == claim(plane, old) == claim(plane, "x" * 43) == 404
        assert plane.store.find_token(digest_token(token)).redeemed_at is None
        plane.clock += LIFE_S
        assert claim(plane, token) == 404
        plane.clock -= LIFE_S
        order(plane, "release")
        assert claim(plane, token) == 200

    def test_asking_without_end_fills_no_history(self, plane):
        token = boot(plane)
        order(plane, "hold")
        assert {claim(plane, token) for _ in range(200)} == {503}
        assert sum(event.step == "config waits for release" for event in plane.events) == 1
        plane.clock += 600
        assert {claim(plane, token) for _ in range(200)} == {503}
        assert sum(event.step == "config waits for release" for event in plane.events) == 2

    def test_a_failure_is_kept_and_it_is_released_to_it(self, plane):
        token = boot(plane)
        order(plane, "hold")
        assert tell(plane, token, "failed", "two disks match") == 200
        history = plane.store.find_history(NODE1_MAC)
        assert (str(find_state(history)), history.held) == ("held", "an admin put it on hold")
        order(plane, "release")
        assert state(plane) == ("failed", "two disks match", 0)
        boot(plane)
        assert state(plane)[0] == "booting"

    def test_without_one_it_is_armed(self, plane):
        boot(plane)
        order(plane, "hold")
        order(plane, "release")
        assert state(plane)[:2] == ("armed", "an admin released it")


class TestClaimedAgain:
    def again(self, plane):
        return [event for event in plane.events if event.step == "config claimed again"]

    def test_a_newer_boot_after_a_claim_is_an_alarm(self, plane):
        first = boot(plane)
        assert claim(plane, first) == 200
        second = boot(plane)
        assert claim(plane, second) == 200
        (event,) = self.again(plane)
        assert event.level == "error"
        assert event.detail.startswith("claimed by a newer boot, from 10.10.14.11, token ")
        assert "install 1 was claimed before, from 10.10.14.11, token " in event.detail
        assert not {first, second} & set(event.detail.split())
        assert "bootstrapper_http_claims_again_total 1.0" in plane.get("/metrics").text

    def test_also_within_the_same_ten_seconds(self, plane):
        assert claim(plane, boot(plane)) == 200
        assert claim(plane, boot(plane, 2.0)) == 200
        assert len(self.again(plane)) == 1

    def test_its_retries_are_none(self, plane):
        token = boot(plane)
        assert claim(plane, token) == claim(plane, token) == 200
        assert not self.again(plane)
        assert "bootstrapper_http_claims_again_total 0.0" in plane.get("/metrics").text

    def test_nor_is_a_boot_after_a_failure_of_who_had_the_configuration(self, plane):
        first = boot(plane)
        assert claim(plane, first) == 200
        assert (tell(plane, first, "config"), tell(plane, first, "failed")) == (200, 200)
        assert claim(plane, boot(plane)) == 200
        assert not self.again(plane)

    def test_but_after_a_failure_of_who_never_got_it(self, plane):
        """The token was somebody else's: the machine's own claim was refused, and it says so."""
        first = boot(plane)
        assert claim(plane, first) == 200
        assert tell(plane, first, "failed", "the server refused this machine's configuration") == 200
        assert claim(plane, boot(plane)) == 200
        assert len(self.again(plane)) == 1

    def test_nor_is_another_order(self, plane):
        plane.install()
        order(plane, "reinstall")
        assert claim(plane, boot(plane)) == 200
        assert not self.again(plane)


class TestDescribedOtherwise:
    def describe(self, plane, **changes):
        machine = replace(plane.cluster.by_mac[NODE1_MAC], **changes)
        others = [each for each in plane.cluster.machines if each.mac != NODE1_MAC]
        plane.cluster = replace(plane.cluster, machines=(machine, *others))
        return machine

    def test_its_address_is_changed_between_script_and_claim(self, plane):
        token = boot(plane)
        self.describe(plane, ip=IPv4Address("10.10.14.44"))
        assert claim(plane, token, "10.10.14.44") == 404
        assert claim(plane, token) == 200
        assert tell(plane, token, "installed") == 200
        assert tell(plane, token, "booted", source="10.10.14.44") == 200
        assert tell(plane, token, "booted", source="10.10.14.45") == 404
        plane.lease("10.10.14.45", NODE1_MAC)
        assert tell(plane, token, "unit", source="10.10.14.45") == 200

    def test_what_it_was_is_kept_with_its_install(self, plane):
        token = boot(plane)
        assert claim(plane, token) == 200
        machine = self.describe(plane, host="other", roles=frozenset({Role.WORKER, Role.ETCD}))
        assert tell(plane, token, "installed") == 200
        kept = plane.store.find_history(NODE1_MAC).plan
        assert compare_installed(kept, machine)[0] == "host: node1 -> other"

    def test_a_disk_found_complete_has_the_plan_of_the_boot_that_wrote_it(self, plane):
        assert claim(plane, boot(plane)) == 200
        machine = self.describe(plane, host="other")
        found = boot(plane)
        assert claim(plane, found) == 200
        assert tell(plane, found, "installed", "found complete on /dev/sda from an earlier attempt") == 200
        assert compare_installed(plane.store.find_history(NODE1_MAC).plan, machine) == ("host: node1 -> other",)
