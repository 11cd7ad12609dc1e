"""The OpenAPI document is valid, names every URL, and every answer is as it says."""

from __future__ import annotations

import re
from typing import Any

from adminplane import NODE1, AdminPlane
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from bootstrapper.boot.history import History, MachineState
from bootstrapper.state.store import Sighting

MAC = "52:54:00:12:34:56"
BODIES: dict[str, Any] = {
    "order": {"order": "hold", "reason": "a new disk"},
    "move": {"to": "52:54:00:12:34:99"},
    "adopt": {"host": "new1", "save": True},
    "log_in": {"token": "T" * 43},
}


def test_it_is_valid(admin: AdminPlane) -> None:
    validate(admin.get("/openapi.json"))


def test_it_names_every_url_of_the_api(admin: AdminPlane) -> None:
    document = admin.get("/openapi.json")
    described = {(path, method.upper()) for path, each in document["paths"].items() for method in each}
    served = {
        (re.sub(r"<(?:[^:<>]+:)?([a-z]+)>", r"{\1}", rule.rule), method)
        for rule in admin.app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == served


def test_every_answer_is_as_described(admin: AdminPlane) -> None:
    """On a rack where everything has happened once, in the table's order: reading first, then changing."""
    admin.store.save_sightings([Sighting(MAC, 1.0, 2.0, 3, "Dell", "", "UEFI x64", "10.10.14.101")])
    admin.event("image", detail="written 42 %")
    admin.event("failed", detail="no disk: nothing matches")
    history = History(state=MachineState.INSTALLING, state_at=admin.clock)
    admin.store.save_history(NODE1, history)
    document = admin.get("/openapi.json")
    operations = [
        (path, method, operation)
        for path, each in document["paths"].items()
        for method, operation in each.items()
        if operation["operationId"] != "stream"
    ]
    assert len(operations) == 22
    for path, method, operation in sorted(operations, key=lambda each: each[1] != "get"):
        name = operation["operationId"]
        text = admin.file.read_text()
        more = {
            "save_description": {"text": text + "# edited\n", "base_revision": admin.get("/description")["revision"]},
            "check": {"text": text.replace("10.10.14.12", "10.10.14.11")},
            "plan": {"text": text},
        }
        json = BODIES.get(name, more.get(name))
        if "requestBody" in operation:
            check(document, operation["requestBody"]["content"]["application/json"]["schema"], json)
        url = path.format(name="node1", mac=MAC, output="ignition", number=1)
        reply = admin.ask(method.upper(), url, json=json)
        assert reply.status_code == 200, (name, reply.text)
        ((kind, answer),) = operation["responses"]["200"]["content"].items()
        assert reply.content_type == kind
        if kind == "application/json":
            check(document, answer["schema"], reply.json)


def test_refusals_are_as_described(admin: AdminPlane) -> None:
    document = admin.get("/openapi.json")
    error = {"$ref": "#/components/schemas/Error"}
    for reply in (
        admin.ask("GET", "/api/v1/machines/nobody"),
        admin.ask("GET", "/api/v1/nothing"),
        admin.browser().get("/api/v1/machines"),
        admin.ask("PUT", "/api/v1/description", json={"text": "x", "base_revision": 1}),
        admin.ask("PUT", "/api/v1/machines"),
        admin.ask("POST", "/api/v1/description/plan", json={"text": "x"}),
    ):
        assert reply.status_code >= 400
        check(document, error, reply.json)


def check(document: Any, schema: Any, value: Any) -> None:
    found = Draft202012Validator({**schema, "components": document["components"]}).iter_errors(value)
    assert [f"{list(each.path)}: {each.message[:300]}" for each in found] == []
