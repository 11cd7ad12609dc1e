"""Sessions of browsers: a random id in a cookie; the server keeps its digest and when it ends, over restarts too."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

from bootstrapper.pki.tokens import digest_token, is_token, mint_token
from bootstrapper.state.store import Store
from bootstrapper.web.admin.caller import Caller, How

LIFE_S = 12 * 3600.0
MOST = 50
"Beyond that the oldest ends."
NOTE = "admin-sessions"


class Sessions:
    def __init__(
        self, store: Store, now: Callable[[], float], random_bytes: Callable[[int], bytes], token_digest: bytes
    ) -> None:
        """`token_digest`: of the admin's token; a session opened by an earlier token ends with it."""
        self._store = store
        self._now = now
        self._random_bytes = random_bytes
        self._by = token_digest.hex()[:16]
        self._lock = threading.Lock()

    def open(self, name: str) -> tuple[str, str]:
        """(id, CSRF token): always a new id, whatever the browser had before."""
        session = mint_token(self._random_bytes)
        with self._lock:
            kept = self._load()
            kept[digest_token(session)] = {"until": self._now() + LIFE_S, "name": name, "by": self._by}
            self._save(dict(list(kept.items())[-MOST:]))
        return session, _csrf(session)

    def find(self, session: str) -> Caller | None:
        if not is_token(session):
            return None
        digest = digest_token(session)
        found = self._load().get(digest)
        return Caller(found["name"], How.SESSION, _csrf(session), digest) if found else None

    def close(self, digest: str) -> None:
        with self._lock:
            kept = self._load()
            if kept.pop(digest, None) is not None:
                self._save(kept)

    def _load(self) -> dict[str, dict[str, Any]]:
        """Those that have not ended."""
        text = self._store.load_note(NOTE)
        kept: dict[str, dict[str, Any]] = json.loads(text) if text else {}
        now = self._now()
        return {
            digest: each
            for digest, each in kept.items()
            if each["by"] == self._by and now < each["until"] <= now + LIFE_S
        }

    def _save(self, kept: dict[str, dict[str, Any]]) -> None:
        self._store.save_note(NOTE, json.dumps(kept))


def _csrf(session: str) -> str:
    return hashlib.sha256(f"csrf {session}".encode()).hexdigest()
