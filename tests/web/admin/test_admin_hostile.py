"""Hostile text of machines on the pages, in the API and in the terminal: shown as text, if at all."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from adminplane import NODE1, AdminPlane
from hostile import HOSTILE, every, is_harmless

from bootstrapper import cli_views
from bootstrapper.boot.events import Event
from bootstrapper.cli_views import clean
from bootstrapper.state.store import Sighting

STRANGER = "02:00:00:00:00:01"


@every
def test_pages_api_and_terminal_show_it_as_text(admin: AdminPlane, kind: str) -> None:
    text = HOSTILE[kind]
    admin.store.add_events([Event(admin.clock, NODE1, "installer", "failed", text, "error", text)])
    admin.store.change_history(NODE1, lambda history: history)
    admin.store.save_sightings([Sighting(STRANGER, 1.0, admin.clock, 1, text, text, text, text, text, text)])
    accept = {"Accept": "text/html"}
    shown = {path: admin.ask("GET", path, headers=accept) for path in ("/", "/machines/node1", "/unknown", "/events")}
    for path, reply in shown.items():
        assert reply.status_code == 200, path
        page = reply.get_data(as_text=True)
        assert "<script>EVIL7" not in page
        assert "<img src=x" not in page
        assert "{{ 7*7 }}EVIL7".replace("7*7", "49") not in page
        assert not re.search("[\0\x1b\x9b\u202e\u2066]", page)
    api = admin.ask("GET", "/api/v1/unknown").get_data(as_text=True)
    assert "\x1b" not in json.dumps(json.loads(api), ensure_ascii=False)
    assert is_harmless(clean(text))


HARMLESS_FORMS = ("", "[/evil]", "[bold]x[/bold]", "[link=http://evil]x[/link]", ":skull:", "[red")
"Of rich's own language, which a terminal's table would obey."


@every
@pytest.mark.parametrize("form", HARMLESS_FORMS)
def test_every_view_of_the_terminal_shows_it_as_text(
    admin: AdminPlane, kind: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that a machine says of itself, through the store, the API and each view: no escape, no markup, no fault."""
    text = form + HOSTILE[kind][:300].replace("\udc80", "\ufffd")  # the state refuses half a character
    admin.store.add_events([Event(admin.clock, NODE1, text, text, text, "error", text)])
    admin.store.change_history(NODE1, lambda history: replace(history, held=text, reason=text))
    admin.store.save_sightings([Sighting(STRANGER, 1.0, admin.clock, 1, text, text, text, text, text, text)])
    rack, machine = admin.get("/machines"), admin.get("/machines/node1")
    cli_views.show_rack(cli_views.Seen(rack, [{"text": text, "hint": text}], admin.clock))
    print(cli_views.show_machine(machine, admin.clock))
    for event in admin.get("/events"):
        cli_views.show_event(event)
    cli_views.show_unknown(admin.get("/unknown"), admin.clock)
    shown = capsys.readouterr().out
    assert all(is_harmless(line) for line in shown.split("\n"))
    assert shown.count(form) >= 6


def test_no_order_names_a_file_of_the_server(admin: AdminPlane) -> None:
    """Kea CVE-2025-32801 to 32803: an API that takes paths is root's for whoever may use it."""
    document = admin.get("/openapi.json")
    names = set(re.findall(r'"name": "(\w+)"', json.dumps(document)))
    for schema in document["components"]["schemas"].values():
        names |= set(schema.get("properties", {}))
    operations = [each for path in document["paths"].values() for each in path.values()]
    taken: set[str] = set()
    for operation in operations:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        taken |= set(body.get("properties", {}))
        taken |= {each.get("name", "") for each in operation.get("parameters", [])}
    assert len(operations) > 10
    assert "name" in taken | names
    assert not {each for each in taken if re.search("path|file|dir|url|command", each)}
