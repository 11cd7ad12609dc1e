"""The two kinds of answer a browser gets from a page: a page, or the way to another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said on top of a page."""

    text: str
    tone: str = "good"
    hint: str = ""


def page(template: str, status: int = 200, **values: Any) -> Response:
    return Response(render_template(template, **values), status, content_type="text/html; charset=utf-8")


def go(endpoint: str, said: str = "", **values: Any) -> BaseResponse:
    """After a change: the page that shows it, so that loading it again repeats nothing. `said` is a key of `SAID`."""
    return redirect(url_for(endpoint, said=said or None, **values), 303)


def find_said() -> Notice | None:
    """The notice that a redirect asked for: one of ours, never the address' own text."""
    said = request.args.get("said", "")
    return Notice(SAID[said], hint=NEXT.get(said, "")) if said in SAID else None


SAID: Mapping[str, str] = {
    "install": "It is installed when it boots over the network next.",
    "reinstall": "It is installed again when it boots over the network next.",
    "wipe": "It is installed again when it boots over the network next, over whatever is on its disk.",
    "cancel": "The order is taken back: it keeps its system.",
    "hold": "It is on hold.",
    "release": "It is released.",
    "forget": "It is forgotten.",
    "approve": "It is approved as a worker.",
    "move": "Its life goes on under this MAC.",
    "dismiss": "Dismissed; it appears again when it asks again.",
    "saved": "Saved, and in force.",
    "restored": "Restored, as a new revision.",
}
RESTART = "Restart it now, or wait until somebody does; one that boots its disk first needs the network once."
KEPT = "What needs a reinstall goes on as it is until you order that, on the machine's own page."
NEXT: Mapping[str, str] = {
    "install": RESTART,
    "reinstall": RESTART,
    "wipe": RESTART,
    "approve": "Restart it: it is installed when it boots over the network next.",
    "hold": "Nothing is installed on it until you release it.",
    "forget": "Its node, etcd member and keys go as soon as the cluster answers; its events tell each.",
    "saved": KEPT,
    "restored": KEPT,
}
"What there is to do, or to know, after it."
