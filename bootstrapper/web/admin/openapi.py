"""The API's OpenAPI 3.1 document, made from the table of its URLs and the schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from bootstrapper import __version__
from bootstrapper.nodeconfig.outputs import OUTPUTS
from bootstrapper.web.admin.schemas import SCHEMAS, TEXT, WHOLE, Schema, many, ref

PREFIX = "/api/v1"
PARAMETER = re.compile(r"<(?:([a-z]+)(?:\([^)]*\))?:)?([a-z]+)>")


class Url(NamedTuple):
    method: str
    rule: str
    "Below `/api/v1`, as Flask writes rules."
    view: str
    "A method of the views; also the operation's id."
    summary: str
    answer: str = ""
    "A schema's name, `[NAME]` for a list of them; a content type for what is not JSON."
    body: str = ""
    query: tuple[str, ...] = ()


def build_document(urls: Iterable[Url]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for url in urls:
        path = PREFIX + PARAMETER.sub(r"{\2}", url.rule)
        paths.setdefault(path, {})[url.method.lower()] = _build_operation(url)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bootstrapper admin API",
            "version": __version__,
            "description": "By the Unix socket STATE/admin.sock without a token, or by TCP with one.",
        },
        "servers": [{"url": "http://127.0.0.1:8480"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "bootstrapper_session",
                    "description": "With TLS its name is `__Host-bootstrapper_session`. It is of use from where the"
                    " session was begun only, and a change needs the header X-CSRF-Token as well.",
                },
            },
        },
    }


def _build_operation(url: Url) -> dict[str, Any]:
    error = {"description": "Refused", "content": {"application/json": {"schema": ref("Error")}}}
    operation: dict[str, Any] = {
        "operationId": url.view,
        "summary": url.summary,
        "parameters": [
            *(_build_parameter(name, kind) for kind, name in PARAMETER.findall(url.rule)),
            *({"name": name, "in": "query", **QUERY[name]} for name in url.query),
        ],
        "responses": {"200": {"description": "Done", "content": _build_answer(url.answer)}, "default": error},
    }
    if url.body:
        content = {"application/json": {"schema": ref(url.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    if url.view == "log_in":
        operation["security"] = []
    return operation


def _build_answer(answer: str) -> dict[str, Any]:
    if "/" in answer:
        return {answer: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": find_schema(answer)}}


def find_schema(answer: str) -> Schema:
    return many(ref(answer[1:-1])) if answer.startswith("[") else ref(answer)


def _build_parameter(name: str, kind: str) -> dict[str, Any]:
    schema = WHOLE if kind == "int" else {"enum": list(OUTPUTS)} if name == "output" else TEXT
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": PLACES[name]}


PLACES = {
    "name": "A machine: its host name, or one of its MACs in any usual spelling.",
    "mac": "A MAC in any usual spelling.",
    "output": "One of the texts a machine gets.",
    "number": "A revision.",
}
QUERY: dict[str, dict[str, Any]] = {
    "machine": {"schema": TEXT, "description": "Only of this machine: host name or MAC."},
    "after": {"schema": WHOLE, "description": "Only later ones than this id."},
    "limit": {"schema": WHOLE, "description": "At most so many, 1,000 at most."},
}
