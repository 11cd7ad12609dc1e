"""Hostile text of machines on the pages, in the API and in the terminal: shown as text, if at all."""

from __future__ import annotations

import json
import re

from adminplane import NODE1, AdminPlane
from hostile import HOSTILE, every, is_harmless

from bootstrapper.boot.events import Event
from bootstrapper.cli_views import clean
from bootstrapper.state.store import Sighting

STRANGER = "02:00:00:00:00:01"


@every
def test_pages_api_and_terminal_show_it_as_text(admin: AdminPlane, kind: str) -> None:
    text = HOSTILE[kind]
    admin.store.add_events([Event(admin.clock, NODE1, "installer", "failed", text, "error", text)])
    admin.store.change_history(NODE1, lambda history: history)
    admin.store.save_sightings([Sighting(STRANGER, 1.0, admin.clock, 1, text, text, text, text)])
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
