"""Pages of machines: the rack at a glance, one machine with its orders, and the machines nobody described."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response, get_template_attribute, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from bootstrapper.boot.lifecycle import STATES
from bootstrapper.cluster.model import Role, UnknownPolicy
from bootstrapper.errors import UserError
from bootstrapper.web.admin import views
from bootstrapper.web.admin.auth import caller
from bootstrapper.web.admin.desk import AdminDesk
from bootstrapper.web.admin.faults import Malformed
from bootstrapper.web.admin.pages_reply import SAID, Notice, find_said, go, page
from bootstrapper.web.admin.problems import find_status, json_reply
from bootstrapper.web.admin.rack_state import RackState, Seen

EVENTS_SHOWN = 20
POLICIES = {
    UnknownPolicy.IGNORE: "no answer.",
    UnknownPolicy.DISCOVER: "an address, and nothing to boot.",
    UnknownPolicy.WORKER: "an address; one that is approved here becomes a worker.",
}


class MachinePages:
    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk
        self._rack = RackState(self._read_rows, desk.parts.now)

    # -- the rack -----------------------------------------------------------------------------------------------------
    def show_rack(self) -> Response:
        seen = self._rack.see()
        wanted = read_filter()
        kept = {row.mac for row in seen.rows if wanted.keeps(row)}
        return page(
            "rack.html",
            title="Rack",
            rows=seen.rows,
            kept=kept,
            version=seen.version,
            filter=wanted,
            role_names=[role.value for role in Role],
            summary=build_summary(seen),
            warnings=self._desk.warnings(),
        )

    def show_rack_live(self) -> Response:
        """What changed since `version`, as pieces of the page."""
        change = self._rack.find_change(request.args.get("version", "")[:40])
        answer: dict[str, Any] = {"version": change.version, "anew": change.anew, "rows": "", "summary": ""}
        if change.rows:
            wanted = read_filter()
            draw = get_template_attribute("rack_parts.html", "rack_row")
            answer["rows"] = "".join(draw(row, not wanted.keeps(row)) for row in change.rows)
            draw_summary = get_template_attribute("rack_parts.html", "rack_summary")
            answer["summary"] = draw_summary(build_summary(self._rack.see()), wanted)
        warnings = self._desk.warnings()
        answer["warned"] = views.make_digest(warnings)
        if answer["warned"] != request.args.get("warned", ""):
            answer["warnings"] = get_template_attribute("rack_parts.html", "server_warnings")(warnings)
        return json_reply(answer)

    def _read_rows(self) -> list[views.Row]:
        return [views.build_row(machine) for machine in self._desk.machines()]

    # -- one machine --------------------------------------------------------------------------------------------------
    def show_machine(self, name: str) -> Response:
        return self._draw_machine(name, find_said())

    def _draw_machine(self, name: str, notice: Notice | None, status: int = 200) -> Response:
        machine = self._desk.machine(name)
        output = request.args.get("output", "")
        outputs = self._desk.outputs()
        text = ""
        # A page that only keeps itself up to date has the text already.
        if output in outputs and "live" not in request.args:
            try:
                text = self._desk.config(machine["mac"], output)
            except UserError as error:
                text = f"cannot be made: {error.message}\n{error.hint}"
        events = self._desk.events(machine["mac"], 0, EVENTS_SHOWN)[::-1]
        row = views.build_row(machine)
        boots = views.build_boots(machine)
        forms = [self._fill(form, machine) for form in views.list_forms(machine["exits"])]
        missing = machine.get("missing_assets") or []
        facts = views.list_facts(machine)
        if row.why and not row.alarm and not missing:
            facts.append(("Why", row.why, False))
        certificate_until = views.read_time(machine.get("certificate_until"))
        return page(
            "machine.html",
            status,
            title=machine["host"],
            machine=machine,
            meaning=STATES[machine["state"]].meaning,
            row=row,
            heard=views.find_heard(machine),
            report=views.tell_report(machine),
            diagnosis=machine.get("diagnosis"),
            facts=facts,
            missing=missing,
            certificate_until=certificate_until,
            boots=boots,
            events=events,
            forms=forms,
            outputs=outputs,
            output=output if output in outputs else "",
            text=text,
            notice=notice,
            versions={
                "head": views.make_digest([machine["state"], machine["state_at"]]),
                "diagnosis": views.make_digest([machine.get("diagnosis"), row.why, row.doing, row.tone]),
                "facts": views.make_digest(
                    [facts, missing, views.find_heard(machine), certificate_until, machine.get("renews")]
                ),
                "boots": views.make_digest(boots),
                "events": events[0]["id"] if events else 0,
                "orders": views.make_digest(machine["exits"]),
            },
        )

    def _fill(self, form: views.Form, machine: dict[str, Any]) -> dict[str, Any]:
        endpoint = "pages.order" if form.order else "pages.move"
        return {
            "form": replace(form, confirms=form.confirms.format(host=machine["host"])),
            "action": url_for(endpoint, name=machine["mac"]),
        }

    def show_order(self, name: str) -> BaseResponse:
        order, wipe = request.form.get("order", ""), request.form.get("wipe") == "yes"
        try:
            form = views.find_form(order, wipe)
            if form is None:
                raise Malformed(f"there is no order {order[:40]!r} on this page")
            if form.confirms:
                self._check_confirmed(form, name)
            done = self._desk.order(caller(), name, order, wipe, request.form.get("reason", ""))
        except UserError as error:
            return self._refuse(name, error)
        if done.get("warnings"):
            return self._draw_machine(name, Notice(SAID[form.id], "warn", " ".join(done["warnings"])))
        if not self._is_described(name):
            return go("pages.unknown", order)
        return go("pages.machine", "wipe" if wipe else order, name=name)

    def _check_confirmed(self, form: views.Form, name: str) -> None:
        wanted = form.confirms.format(host=self._desk.machine(name)["host"])
        if request.form.get("confirm", "").strip() != wanted:
            raise Malformed("nothing was ordered: it was not confirmed", f"type {wanted} to confirm")

    def show_move(self, name: str) -> BaseResponse:
        to = request.form.get("to", "").strip()
        try:
            self._desk.move(caller(), name, to)
        except UserError as error:
            return self._refuse(name, error)
        return go("pages.machine", "move", name=to if self._is_described(to) else name)

    def _refuse(self, name: str, error: UserError) -> Response:
        """On the machine's own page, where it has one."""
        if not self._is_described(name):
            raise error
        return self._draw_machine(name, Notice(error.message, "bad", error.hint), find_status(error))

    def _is_described(self, name: str) -> bool:
        try:
            self._desk.machine(name)
        except UserError:
            return False
        return True

    # -- machines that nobody described -------------------------------------------------------------------------------
    def show_unknown(self) -> Response:
        policy = self._desk.parts.cluster().unknown_machines
        sightings = self._desk.unknown()
        return page(
            "unknown.html",
            title="Unknown machines",
            sightings=sightings,
            version=views.make_digest(sightings),
            policy=policy.value,
            policy_meaning=POLICIES[policy],
            can_approve=policy is UnknownPolicy.WORKER,
            notice=find_said(),
        )

    def show_dismiss(self, mac: str) -> BaseResponse:
        self._desk.forget_unknown(caller(), mac)
        return go("pages.unknown", "dismiss")


def read_filter() -> views.Filter:
    ask = request.args
    return views.Filter(ask.get("state", "")[:20], ask.get("role", "")[:20], ask.get("q", "")[:100])


def build_summary(seen: Seen) -> dict[str, Any]:
    """What stands above the table; it is the same whatever is filtered."""
    counts = views.count_states(seen.rows)
    alarms = sorted((row for row in seen.rows if row.alarm), key=lambda row: -row.at)
    return {
        "machines": len(seen.rows),
        "counts": counts,
        "shares": views.share_out(counts),
        "told": views.tell_counts(counts),
        "attention": alarms[: views.MOST_ATTENTION],
        "attention_more": max(0, len(alarms) - views.MOST_ATTENTION),
    }
