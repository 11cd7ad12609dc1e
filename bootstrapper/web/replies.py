"""The few kinds of reply there are. Every one has its length and may be kept by nobody."""

from __future__ import annotations

import json

from flask import Response

NOT_FOUND = b"not found\n"


def text_reply(text: str, content_type: str = "text/plain; charset=utf-8", status: int = 200) -> Response:
    reply = Response(text.encode(), status=status, content_type=content_type)
    reply.headers["Cache-Control"] = "no-store"
    reply.headers["X-Content-Type-Options"] = "nosniff"
    return reply


def json_reply(value: object, status: int = 200) -> Response:
    return text_reply(json.dumps(value) + "\n", "application/json", status)


def missing() -> Response:
    """The one constant 404: the same bytes whatever was asked for and whyever it failed."""
    return text_reply(NOT_FOUND.decode(), status=404)


def not_ready() -> Response:
    """For a valid claim only."""
    reply = text_reply("not ready, ask again\n", status=503)
    reply.headers["Retry-After"] = "10"
    return reply
