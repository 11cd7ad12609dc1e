"""Claims and reports: the URLs under `/m/<token>/` (design.md rule 3).

Whoever fails, fails with one constant 404, so that a stranger learns nothing by trying; 503 is said only to a valid
claim that cannot be answered yet, since cloud-init programs stop for good on a 4xx.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from flask import Response, request

from bootstrapper.boot.adoption import find_life
from bootstrapper.boot.claim import ClaimRefusal, Token, check_claim, is_handed_out
from bootstrapper.boot.history import History
from bootstrapper.boot.lifecycle import has_node
from bootstrapper.boot.membership import NOTE, Begin, Wait, decide_member, keep_cluster, parse_membership
from bootstrapper.boot.report import Step, apply_report, may_move
from bootstrapper.boot.report_body import parse_report
from bootstrapper.boot.steps import Http, find_percent
from bootstrapper.cluster.installed_as import describe_installed
from bootstrapper.cluster.model import Machine, Role
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.secrets import Secrets
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.tokens import digest_token, name_token
from bootstrapper.state.carry_out import give_new_keys, load_members
from bootstrapper.web.booting import find_leased
from bootstrapper.web.desk import Desk, find_source
from bootstrapper.web.limiter import Allowance
from bootstrapper.web.replies import json_reply, missing, not_ready, text_reply


class ClaimViews:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._reports = Allowance(REPORTS_AT_ONCE, REPORTS_PER_S)
        self._waits = Allowance(WAITS_AT_ONCE, WAITS_PER_S)

    # -- claims ---------------------------------------------------------------
    def install(self, token: str) -> Response:
        """The installer system's configuration. No secrets, but it carries the token on to the installer."""
        return self._claimed("install", token, redeem=False)

    def config(self, token: str) -> Response:
        """The machine's own configuration, secrets included: over TLS only, once."""
        if request.scheme != "https" or request.method != "GET":
            self.desk.counts.add('http_refused{reason="config without TLS"}')
            return missing()
        return self._claimed(None, token, redeem=True)

    def _claimed(self, name: str | None, token: str, *, redeem: bool) -> Response:
        """The output `name` (None: what the machine's system is provisioned by) for the machine that `token` is for."""
        parts, source, now = self.desk.parts, find_source(), self.desk.parts.now()
        kept, machine = self._find(token)
        # Looked up for an unknown token as well: each refusal is the outcome of the same work.
        find = parts.store.find_history
        mac, history = find_life(machine, find) if machine else ("", find(""))
        newest = parts.store.newest_token(mac)
        # The installer system's own text, fetched by the URL in its kernel arguments, has no secrets.
        uuid = request.args.get("uuid", "") if redeem else None
        refusal = check_claim(kept, source, history, now, newest, uuid)
        if kept is None or machine is None or refusal is not None:
            return self._answer_refusal(kept, machine, refusal or ClaimRefusal.UNKNOWN)
        output = name or str(machine.os.provision)
        try:
            context = self.desk.build_context(history, kept, token)
            if redeem and parts.pki is not None:
                begin = self._decide_member(machine, kept.generation)
                if isinstance(begin, Wait):
                    return self._wait_for_etcd(machine, begin)
                context = replace(
                    context,
                    secrets=self._find_secrets(parts.pki, machine),
                    etcd_existing=begin.existing,
                    etcd_members=begin.members,
                )
            reply = parts.render(output, context, machine)
        except UserError as error:
            if self.desk.listens_to_machine(f"{output} failed", machine.mac):
                self.desk.record(machine.mac, f"{output} failed", error.message, "error")
            return not_ready()
        if redeem:
            outcome = parts.store.redeem(kept.digest, source, now, uuid, describe_installed(machine))
            if isinstance(outcome, ClaimRefusal):
                return self._answer_refusal(kept, machine, outcome)
            kept = outcome
            if parts.pki is not None:
                parts.pki.mark_claimed(machine)
        self.desk.counts.add(f'http_claims{{output="{output}"}}')
        step = "config claimed" if redeem else "installer config"
        again = f", claim {kept.claims} within the grace" if kept.claims > 1 else ""
        if request.method == "GET" and (redeem or self.desk.listens_to_machine(step, machine.mac)):
            text = f"{output} for {source}, token {name_token(kept.digest)}{again}"
            self.desk.record(machine.mac, step, text, "warning" if redeem and again else "info")
            if redeem and not again:
                self._tell_again(kept, machine, source)
        return text_reply(reply.text, reply.content_type)

    def _find_secrets(self, pki: ClusterPki, machine: Machine) -> Secrets:
        if give_new_keys(self.desk.parts.store, pki, machine.mac):
            self.desk.record(machine.mac, "keys forgotten", "those of before are not renewed: it is given new ones")
        return pki.secrets_for(machine)

    def _tell_again(self, kept: Token, machine: Machine, source: IPv4Address) -> None:
        """An earlier boot has this order's secrets already and did not say that its install failed: whose was it?"""
        before = [each for each in self.desk.parts.store.list_tokens(kept.mac) if is_handed_out(each, kept)]
        if not before:
            return
        self.desk.counts.add("http_claims_again")
        text = (
            f"claimed by a newer boot, from {source}, token {name_token(kept.digest)}: install {kept.generation} was "
            f"claimed before, from {before[0].address}, token {name_token(before[0].digest)}; no failure was reported"
        )
        self.desk.record(machine.mac, Http.CLAIMED_AGAIN, text, "error")

    def _decide_member(self, machine: Machine, generation: int) -> Begin | Wait:
        if Role.ETCD not in machine.roles:
            return Begin(existing=False)
        parts = self.desk.parts
        membership = parse_membership(parts.store.load_note(NOTE))
        return decide_member(
            keep_cluster(membership, load_members(parts.store, parts.cluster())), machine.mac, generation
        )

    def _wait_for_etcd(self, machine: Machine, wait: Wait) -> Response:
        """The installer asks again until its place among etcd's members is made, or an admin changes the order."""
        if self._waits.takes(f"etcd {machine.mac} {wait.reason}", self.desk.parts.now()):
            self.desk.record(machine.mac, "config waits for etcd", wait.reason, "warning")
        return not_ready()

    def _answer_refusal(self, kept: Token | None, machine: Machine | None, refusal: ClaimRefusal) -> Response:
        """On hold is no refusal to the machine itself: it asks again until an admin has released it."""
        if machine is None or refusal is not ClaimRefusal.HELD:
            return self._refuse_claim(kept, refusal)
        if self._waits.takes(f"held {machine.mac}", self.desk.parts.now()):
            text = "it is on hold: it asks again until it is released"
            self.desk.record(machine.mac, Http.CLAIM_HELD, text, "warning")
        return not_ready()

    def _find(self, token: str) -> tuple[Token | None, Machine | None]:
        """Also what has not a token's form is looked for: it takes the same time to be found nowhere."""
        kept = self.desk.parts.store.find_token(digest_token(token))
        return kept, self.desk.parts.cluster().by_mac.get(kept.mac if kept else "")

    def _refuse_claim(self, kept: Token | None, refusal: ClaimRefusal) -> Response:
        source = find_source()
        self.desk.counts.add(f'http_claims_refused{{reason="{refusal}"}}')
        told = self.desk.listens_to_token(kept.digest) if kept else self.desk.listens_to("claim", source)
        if told:
            name = f", token {name_token(kept.digest)}" if kept else ""
            level = "error" if refusal in ALARMS else "warning"
            self.desk.record(kept.mac if kept else "", "claim refused", f"{refusal}, from {source}{name}", level)
        return missing()

    # -- reports --------------------------------------------------------------
    def report(self, token: str) -> Response:
        if request.scheme != "https":
            self.desk.counts.add('http_refused{reason="report without TLS"}')
            return missing()
        kept, machine = self._find(token)
        if kept is None or machine is None or not self._may_report(kept, machine):
            return self._refuse_report(kept)
        if not self._reports.takes(kept.digest, self.desk.parts.now()):
            self.desk.counts.add('http_refused{reason="too many reports"}')
            return not_ready()
        body = parse_report(request.get_data())
        if self._has_ended(kept) and (body is None or body.step is not Step.FAILED):
            return self._refuse_report(kept)
        if body is None:
            self.desk.counts.add('http_refused{reason="malformed report"}')
            return text_reply('expected {"step": ..., "detail": ..., "generation": ...}\n', status=400)
        step = body.step
        if body.generation != kept.generation or (step not in BEFORE_CLAIM and kept.redeemed_at is None):
            return self._refuse_report(kept)
        moved = self._move(kept, machine, step, body.detail)
        if moved is None:
            return self._refuse_report(kept)
        after, heeded = moved
        if step is Step.CONFIG:
            self.desk.parts.store.settle(kept.digest)
        if step is Step.FAILED:
            self.desk.parts.store.mark_failed(kept.digest)
        if step is Step.INSTALLED and not after.open:
            self.desk.parts.store.seal(kept.mac)
        service = "system" if kept.sealed or step in (Step.BOOTED, Step.UNIT) else "installer"
        self.desk.counts.add(f'http_reports{{step="{step}"}}')
        if heeded:
            self.desk.record(machine.mac, str(step), body.detail, body.level, service, body.tail)
        else:
            when = "after its failure" if self._is_newest(kept) else "of an older boot"
            text = f"{step} {when}, token {name_token(kept.digest)}: {body.detail}"
            self.desk.record(machine.mac, Http.UNHEEDED, text, "warning", more=body.tail)
        return json_reply({"ok": True})

    def _may_report(self, kept: Token, machine: Machine) -> bool:
        """From the machine's address, with a token that claimed, or still may, or is the newest: what came too late for
        its claim can say at least that it failed."""
        source, parts = find_source(), self.desk.parts
        if kept.redeemed_at is None:
            return kept.address == source and (not self._has_ended(kept) or self._is_newest(kept))
        # Its address may have been changed since its boot: what it was installed with is the one of its claim.
        return source in (kept.address, machine.ip) or source in find_leased(parts, machine, parts.now())

    def _has_ended(self, kept: Token) -> bool:
        return kept.redeemed_at is None and self.desk.parts.now() >= kept.expires_at

    def _is_newest(self, kept: Token) -> bool:
        return self.desk.parts.store.newest_token(kept.mac) == kept.digest

    def _move(self, kept: Token, machine: Machine, step: Step, detail: str) -> tuple[History, bool] | None:
        """The token's machine after the report, and whether the report counted (`may_move`); None: it is refused. The
        token's MAC, not the machine's first one: it goes along with a life that another first MAC has taken over."""
        taken, heeded = True, True
        now, store = self.desk.parts.now(), self.desk.parts.store

        def apply(history: History) -> History | None:
            nonlocal heeded
            heeded = may_move(history, kept, not history.open or self._is_newest(kept))
            after = apply_report(history, step, kept.generation, now, detail, has_node(machine), moves=heeded)
            return replace(after, plan=self._find_plan(kept, detail)) if after and history.open > after.open else after

        before = store.find_history(kept.mac)
        after = apply(before)
        if after == before or (after is not None and _is_progress(step, detail, before, after)):
            return after, heeded  # most reports, and a thousand machines send theirs at once: no transaction for these

        def change(history: History) -> History:
            nonlocal taken
            after = apply(history)
            taken = after is not None
            return after or history

        changed = store.change_history(kept.mac, change)
        return (changed, heeded) if taken else None

    def _find_plan(self, kept: Token, detail: str) -> str:
        """What the machine was when it claimed what is on its disk now."""
        if not detail.startswith(ADOPTED):
            return kept.plan
        tokens = self.desk.parts.store.list_tokens(kept.mac)
        earlier = (each.plan for each in tokens if each.digest != kept.digest and each.redeemed_at is not None)
        return next(earlier, kept.plan)

    def _refuse_report(self, kept: Token | None) -> Response:
        source = find_source()
        self.desk.counts.add('http_refused{reason="report"}')
        if self.desk.listens_to("report", source):
            self.desk.record(kept.mac if kept else "", "report refused", f"from {source}", "warning")
        return missing()


def _is_progress(step: Step, detail: str, before: History, after: History) -> bool:
    """Whether all that is new is a percentage, which the event tells."""
    return step is Step.IMAGE and find_percent(detail) is not None and replace(after, reason=before.reason) == before


REPORTS_AT_ONCE, REPORTS_PER_S = 60, 2.0
"Of one machine: its installer sends some 30, its system one for each unit. More fill the log and nothing else."

WAITS_AT_ONCE, WAITS_PER_S = 1, 1 / 600
"Of one machine that asks again and again for one reason, a month long: said often enough to show that it still does."

ADOPTED = "found complete on"
"How an installer's `installed` begins that wrote nothing (templates/nodes/install/install.sh): an earlier boot did."

ALARMS = frozenset({ClaimRefusal.CLAIMED, ClaimRefusal.SEALED, ClaimRefusal.ADDRESS, ClaimRefusal.UUID})
"Somebody else may have the token: the admin is told loudly."

BEFORE_CLAIM = frozenset({Step.CLOCK, Step.DISK, Step.WAITS, Step.CONFIG, Step.FAILED})
"What an installer may report before it has claimed its configuration."
