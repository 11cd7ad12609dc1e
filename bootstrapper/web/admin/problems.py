"""How a refusal looks: `{"error": ..., "hint": ...}`, with `problems` for a description."""

from __future__ import annotations

import json

from flask import Response

from bootstrapper.errors import UserError
from bootstrapper.web.admin.faults import STATUS, Unfit
from bootstrapper.web.admin.limits import TooMany


def problem_reply(status: int, error: str, hint: str = "", **more: object) -> Response:
    return json_reply({"error": error, "hint": hint, **more}, status)


def fault_reply(error: UserError) -> Response:
    more: dict[str, object] = {}
    if isinstance(error, Unfit) and error.problems:
        more["problems"] = [
            {"line": each.line, "path": each.path, "message": each.message, "hint": each.hint}
            for each in error.problems
        ]
    return problem_reply(find_status(error), error.message, error.hint, **more)


def find_status(error: UserError) -> int:
    if isinstance(error, TooMany):
        return 429
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 503)


def json_reply(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value) + "\n", status, content_type="application/json")
