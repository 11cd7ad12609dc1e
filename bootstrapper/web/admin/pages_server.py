"""Pages of what happened and of the server: events as they come, the audit log, certificates, status."""

from __future__ import annotations

from typing import Any

from flask import Response, get_template_attribute, request

from bootstrapper.errors import UserError
from bootstrapper.web.admin import views
from bootstrapper.web.admin.desk import AdminDesk
from bootstrapper.web.admin.pages_reply import Notice, page
from bootstrapper.web.admin.problems import json_reply

EVENTS_SHOWN = 300
MORE_SHOWN = 1000
LEVELS = {"": ("info", "warning", "error"), "warning": ("warning", "error"), "error": ("error",)}
"The filter's value -> what it keeps."
SOON_DAYS = 30
"A certificate that ends earlier is marked; machines renew theirs at two thirds of a year."


class ServerPages:
    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def show_events(self) -> Response:
        machine, level = read_feed()
        notice = None
        most = MORE_SHOWN if request.args.get("most") == str(MORE_SHOWN) else EVENTS_SHOWN
        try:
            found = self._desk.events(machine, 0, most)
        except UserError as error:
            found, notice = [], Notice(error.message, "bad", error.hint)
        return page(
            "events.html",
            title="Events",
            machine=machine,
            level=level,
            events=keep_level(found, level)[::-1],
            last_id=found[-1]["id"] if found else 0,
            most=most,
            more=MORE_SHOWN if len(found) == most < MORE_SHOWN else 0,
            notice=notice,
        )

    def show_events_live(self) -> Response:
        """Those after the id `after`, as rows of the page's table."""
        machine, level = read_feed()
        text = request.args.get("after", "0")
        after = int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
        found = self._desk.events(machine, after, EVENTS_SHOWN)
        draw = get_template_attribute("parts.html", "event_row")
        rows = "".join(draw(event, True) for event in keep_level(found, level)[::-1])
        return json_reply({"after": found[-1]["id"] if found else after, "rows": rows})

    def show_audit(self) -> Response:
        return page("audit.html", title="Audit", entries=self._desk.audit(0, EVENTS_SHOWN)[::-1])

    def show_certificates(self) -> Response:
        rows = sorted(self._desk.certificates(), key=lambda row: (row["days_left"], row["machine"], row["name"]))
        shown = [
            {**row, "until": views.read_time(row["not_after"]), "tone": tell_expiry(row["days_left"])} for row in rows
        ]
        return page("certificates.html", title="Certificates", certificates=shown)

    def show_status(self) -> Response:
        status = self._desk.status()
        missing: dict[str, list[str]] = {}
        for machine in self._desk.machines():
            for name in machine.get("missing_assets") or ():
                missing.setdefault(name, []).append(machine["host"])
        return page(
            "status.html",
            title="Status",
            server=status,
            services=", ".join(service["name"] for service in status["services"] if service["on"]),
            facts=views.list_server_facts(status),
            missing=[(name, views.tell_hosts(hosts)) for name, hosts in sorted(missing.items())],
        )


def read_feed() -> tuple[str, str]:
    level = request.args.get("level", "")
    return request.args.get("machine", "").strip()[:100], level if level in LEVELS else ""


def keep_level(events: list[dict[str, Any]], level: str) -> list[dict[str, Any]]:
    return [event for event in events if event["level"] in LEVELS[level]]


def tell_expiry(days: int) -> str:
    return "bad" if days < 0 else "warn" if days < SOON_DAYS else ""
