"""Claims and reports: the URLs under `/m/<token>/` (design.md rule 3).

Whoever fails, fails with one constant 404, so that a stranger learns nothing by trying; 503 is said only to a valid
claim that cannot be answered yet, since cloud-init programs stop for good on a 4xx.
"""

from __future__ import annotations

from dataclasses import replace

from flask import Response, request

from bootstrapper.boot.claim import ClaimRefusal, Token, check_claim
from bootstrapper.boot.history import History
from bootstrapper.boot.lifecycle import has_node
from bootstrapper.boot.membership import NOTE, Begin, Wait, decide_member, parse_membership
from bootstrapper.boot.report import Step, apply_report
from bootstrapper.boot.report_body import parse_report
from bootstrapper.boot.steps import find_percent
from bootstrapper.cluster.model import Machine, Role
from bootstrapper.errors import UserError
from bootstrapper.pki.tokens import digest_token, name_token
from bootstrapper.web.desk import Desk, find_source
from bootstrapper.web.limiter import Allowance
from bootstrapper.web.replies import json_reply, missing, not_ready, text_reply


class ClaimViews:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._reports = Allowance(REPORTS_AT_ONCE, REPORTS_PER_S)

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
        mac = machine.mac if machine else ""
        history, newest = parts.store.find_history(mac), parts.store.newest_token(mac)
        # The installer system's own text, fetched by the URL in its kernel arguments, has no secrets.
        uuid = request.args.get("uuid", "") if redeem else None
        refusal = check_claim(kept, source, history, now, newest, uuid)
        if kept is None or machine is None or refusal is not None:
            return self._refuse_claim(kept, refusal or ClaimRefusal.UNKNOWN)
        output = name or str(machine.os.provision)
        try:
            context = self.desk.build_context(history, kept, token)
            if redeem and parts.pki is not None:
                begin = self._decide_member(machine, kept.generation)
                if isinstance(begin, Wait):
                    return self._wait_for_etcd(machine, begin)
                context = replace(
                    context,
                    secrets=parts.pki.secrets_for(machine),
                    etcd_existing=begin.existing,
                    etcd_members=begin.members,
                )
            reply = parts.render(output, context, machine)
        except UserError as error:
            if self.desk.listens_to_machine(f"{output} failed", machine.mac):
                self.desk.record(machine.mac, f"{output} failed", error.message, "error")
            return not_ready()
        if redeem:
            outcome = parts.store.redeem(kept.digest, source, now, uuid)
            if isinstance(outcome, ClaimRefusal):
                return self._refuse_claim(kept, outcome)
            kept = outcome
            if parts.pki is not None:
                parts.pki.mark_claimed(machine)
        self.desk.counts.add(f'http_claims{{output="{output}"}}')
        step = "config claimed" if redeem else "installer config"
        again = f", claim {kept.claims} within the grace" if kept.claims > 1 else ""
        if request.method == "GET" and (redeem or self.desk.listens_to_machine(step, machine.mac)):
            text = f"{output} for {source}, token {name_token(kept.digest)}{again}"
            self.desk.record(machine.mac, step, text, "warning" if redeem and again else "info")
        return text_reply(reply.text, reply.content_type)

    def _decide_member(self, machine: Machine, generation: int) -> Begin | Wait:
        if Role.ETCD not in machine.roles:
            return Begin(existing=False)
        return decide_member(parse_membership(self.desk.parts.store.load_note(NOTE)), machine.mac, generation)

    def _wait_for_etcd(self, machine: Machine, wait: Wait) -> Response:
        """The installer asks again until its place among etcd's members is made, or an admin changes the order."""
        if self.desk.listens_to("etcd", machine.mac):
            self.desk.record(machine.mac, "config waits for etcd", wait.reason, "warning")
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
        if kept is None or machine is None or not self._may_report(kept):
            return self._refuse_report(kept)
        if not self._reports.takes(kept.digest, self.desk.parts.now()):
            self.desk.counts.add('http_refused{reason="too many reports"}')
            return not_ready()
        body = parse_report(request.get_data())
        if body is None:
            self.desk.counts.add('http_refused{reason="malformed report"}')
            return text_reply('expected {"step": ..., "detail": ..., "generation": ...}\n', status=400)
        step = body.step
        if body.generation != kept.generation or (step not in BEFORE_CLAIM and kept.redeemed_at is None):
            return self._refuse_report(kept)
        if not self._move(kept.mac, machine, step, kept.generation, body.detail):
            return self._refuse_report(kept)
        if step is Step.CONFIG:
            self.desk.parts.store.settle(kept.digest)
        if step is Step.INSTALLED:
            self.desk.parts.store.seal(kept.mac)
        service = "system" if kept.sealed or step in (Step.BOOTED, Step.UNIT) else "installer"
        self.desk.counts.add(f'http_reports{{step="{step}"}}')
        self.desk.record(machine.mac, str(step), body.detail, body.level, service, body.tail)
        return json_reply({"ok": True})

    def _may_report(self, kept: Token) -> bool:
        """From the machine's address, with a token that claimed or still may."""
        fresh = kept.redeemed_at is not None or self.desk.parts.now() < kept.expires_at
        return fresh and kept.address == find_source()

    def _move(self, mac: str, machine: Machine, step: Step, generation: int, detail: str) -> bool:
        """`mac`: the token's, which goes along with a life that another first MAC has taken over."""
        moved = True
        now, store = self.desk.parts.now(), self.desk.parts.store
        before = store.find_history(mac)
        after = apply_report(before, step, generation, now, detail, has_node(machine))
        if after == before or (after is not None and _is_progress(step, detail, before, after)):
            return True  # most reports, and a thousand machines send theirs at once: no transaction for these

        def change(history: History) -> History:
            nonlocal moved
            after = apply_report(history, step, generation, now, detail, has_node(machine))
            moved = after is not None
            return after or history

        store.change_history(mac, change)
        return moved

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

ALARMS = frozenset({ClaimRefusal.CLAIMED, ClaimRefusal.SEALED, ClaimRefusal.ADDRESS, ClaimRefusal.UUID})
"Somebody else may have the token: the admin is told loudly."

BEFORE_CLAIM = frozenset({Step.CLOCK, Step.DISK, Step.CONFIG, Step.FAILED})
"What an installer may report before it has claimed its configuration."
