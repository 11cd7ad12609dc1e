"""Which machine pulls which image: the registry tells it, by its own notifications (distribution's `notifications`).

They come from this host's own address, which no machine can take, with a token that no other user of this host can
read; for anybody else the URL does not exist. All that they cause is an event.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any

from flask import Response, request

from bootstrapper.assets.registry_storage import REGISTRY
from bootstrapper.boot.steps import Registry, Service
from bootstrapper.pki.pull_token import read_pull_token
from bootstrapper.web.desk import Desk, find_source
from bootstrapper.web.limiter import Limiter
from bootstrapper.web.replies import json_reply, missing
from bootstrapper.web.senders import Senders

AGAIN_S = 60.0
"A kubelet that pulls one image for several pods asks as often."
KEYS = 50_000
EVENTS = 100
"Of one notification."


class PullViews:
    def __init__(self, desk: Desk, senders: Senders) -> None:
        self.desk = desk
        self._senders = senders
        self._limiter = Limiter(AGAIN_S, KEYS)

    def events(self) -> Response:
        if find_source() != self.desk.parts.links.address or not self._is_the_registry():
            self.desk.counts.add('http_refused{reason="not the registry"}')
            return missing()
        for source, image in find_pulls(request.get_data()):
            machine = self._senders.find(source)
            if machine is not None and self._limiter.allows(f"{machine.mac} {image}", self.desk.parts.now()):
                self.desk.record(machine.mac, Registry.PULLED, image, service=Service.REGISTRY)
        return json_reply({"ok": True})

    def _is_the_registry(self) -> bool:
        state = self.desk.parts.state
        token = read_pull_token(state / REGISTRY) if state is not None else None
        given = request.headers.get("Authorization", "")
        return token is not None and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def find_pulls(data: bytes) -> Iterator[tuple[str, str]]:
    """(source address, image) of each manifest that was pulled; what is malformed is left out."""
    try:
        events = json.loads(data)["events"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    for event in events[:EVENTS] if isinstance(events, list) else ():
        found = _find_pull(event)
        if found is not None:
            yield found


def _find_pull(event: Any) -> tuple[str, str] | None:
    try:
        target, address = event["target"], event["request"]["addr"]
        kind, repository = target["mediaType"], target["repository"]
        tag = target["tag"]  # first by its tag, then by digests: what has none is a part of a pull that was told
        if event["action"] != "pull" or not tag or not any(word in kind for word in MANIFESTS):
            return None
        # Always with a port, save where the registry believed a client's X-Forwarded-For: that is nobody's word.
        return address.rpartition(":")[0], f"{repository}:{tag}"
    except (KeyError, TypeError, AttributeError):
        return None


MANIFESTS = ("manifest", "image.index")
"Parts of the media types of manifests and lists of them, Docker's and OCI's; layers are not told."
