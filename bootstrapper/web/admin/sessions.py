"""Sessions of browsers: a random id in a cookie; the server keeps its digest, whose it is and when it ends, over
restarts too."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from bootstrapper.errors import UserError
from bootstrapper.pki.tokens import digest_token, is_token, mint_token
from bootstrapper.state.store import Store
from bootstrapper.web.admin.caller import Caller, How

LIFE_S = 12 * 3600.0
IDLE_S = 3600.0
"Without a request; a page that somebody looks at asks by itself."
USED_EVERY_S = 60.0
"That a session was used is written down so often."
SLACK_S = 300.0
"The clock may be set back by so much."
MOST = 50
"Beyond that the oldest ends."
NOTE = "admin-sessions"


class Stolen(UserError):
    """A session's cookie came from another address or user than the one that logged in."""


class Sessions:
    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        token_digest: bytes,
        make_csrf: Callable[[str], str],
    ) -> None:
        """`token_digest`: of the admin's token; a session opened by an earlier token ends with it. `make_csrf`: a
        session's digest -> its CSRF token, by a key that is not in the store."""
        self._store = store
        self._now = now
        self._random_bytes = random_bytes
        self._by = token_digest.hex()[:16]
        self._make_csrf = make_csrf
        self._lock = threading.Lock()
        self._unkept_at = 0.0

    def open(self, name: str, place: str) -> tuple[str, str]:
        """(id, CSRF token): always a new id, whatever the browser had before. `place`: as in `peer.find_place`."""
        session, now = mint_token(self._random_bytes), self._now()
        digest = digest_token(session)
        with self._lock:
            kept = self._load()
            kept[digest] = {"until": now + LIFE_S, "used": now, "name": name, "place": place, "by": self._by}
            self._save(dict(list(kept.items())[-MOST:]))
        return session, self._make_csrf(digest)

    def find(self, session: str, place: str) -> Caller | None:
        """Who has it. Raises Stolen, and ends it, when it comes from elsewhere than its login.

        Of a connection whose other end is closed already nobody knows the user (a browser breaks off what it no longer
        needs, and a thief what it needs no answer to): it is refused, and ends nothing.
        """
        if not is_token(session):
            return None
        digest = digest_token(session)
        found = self._load().get(digest)
        if found is None:
            return None
        if found["place"].startswith(f"{place}, "):
            return None
        if found["place"] != place:
            self.close(digest)
            raise Stolen(f"the session is that of {found['place']}")
        if self._now() - max(found["used"], self._unkept_at) >= USED_EVERY_S:
            self._use(digest)
        return Caller(found["name"], How.SESSION, self._make_csrf(digest), digest)

    def close(self, digest: str) -> None:
        with self._lock:
            kept = self._load()
            if kept.pop(digest, None) is not None:
                self._save(kept)

    def _use(self, digest: str) -> None:
        with self._lock:
            kept = self._load()
            if digest in kept:
                kept[digest]["used"] = self._now()
                try:
                    self._save(kept)
                except UserError:  # a full disk: the admin is to see just that, on these pages
                    self._unkept_at = self._now()

    def _load(self) -> dict[str, dict[str, Any]]:
        """Those that have not ended."""
        text = self._store.load_note(NOTE)
        kept: dict[str, dict[str, Any]] = json.loads(text) if text else {}
        return {digest: each for digest, each in kept.items() if self._lasts(each)}

    def _lasts(self, each: dict[str, Any]) -> bool:
        """By the server's clock, one that was set back too."""
        now = self._now()
        return (
            each["by"] == self._by
            and "place" in each  # an earlier version bound them to nobody
            and now < each["until"] <= now + LIFE_S + SLACK_S
            and now - IDLE_S < each["used"] <= now + SLACK_S
        )

    def _save(self, kept: dict[str, dict[str, Any]]) -> None:
        self._store.save_note(NOTE, json.dumps(kept))
