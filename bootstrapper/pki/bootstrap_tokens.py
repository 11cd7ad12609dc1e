"""The tokens that kubelets join with: one per machine, `id.secret` in the form Kubernetes wants.

A token's life starts when its Secret exists in the cluster (`kube` creates it, and tells us), since the API of a new
cluster may come up long after the first machine claimed its configuration:

    waiting   claimed by the machine, no Secret yet; it does not age
    created   its Secret exists, until `expires_at`
    used      the machine has joined: the secret is forgotten
    expired   the machine did not join in time; it may ask for a new one, and so does one that is installed again

The rules are pure; `TokenShelf` keeps the tokens in `tokens/<MAC>.json` in `pki/cluster` of the state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from bootstrapper.errors import UserError
from bootstrapper.pki.files import locked, make_directory, read_private, write_private

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_CHARACTERS = 6
SECRET_CHARACTERS = 16
TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
LIFE_S = 24 * 3600.0
"From the Secret's creation."
ENOUGH_S = 3600.0
"A token with less than this left is not handed out: the machine still has to install its system."


class TokenState(StrEnum):
    WAITING = "waiting"
    CREATED = "created"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    mac: str
    "The machine's first MAC."
    id: str
    secret: str = field(repr=False)
    "Empty once used."
    minted_at: float
    expires_at: float | None = None
    "Of its Secret; None: it has none yet."
    used_at: float | None = None

    @property
    def text(self) -> str:
        return f"{self.id}.{self.secret}"


def find_state(token: BootstrapToken, now: float) -> TokenState:
    if token.used_at is not None:
        return TokenState.USED
    if token.expires_at is None:
        return TokenState.WAITING
    return TokenState.CREATED if now < token.expires_at else TokenState.EXPIRED


def may_hand_out(token: BootstrapToken | None, now: float) -> bool:
    """Whether a machine that claims its configuration gets this one; otherwise a new one is minted."""
    if token is None or token.used_at is not None:
        return False
    return token.expires_at is None or now + ENOUGH_S < token.expires_at


def may_ask_again(token: BootstrapToken | None, now: float) -> bool:
    """Whether a machine that shows who it is may have a new one: its own ran out, or was lost with its Secret."""
    return token is None or find_state(token, now) is TokenState.EXPIRED


def mint_token(mac: str, now: float, pick: Callable[[str], str]) -> BootstrapToken:
    """`pick` chooses one character of a text (`secrets.choice`)."""

    def text(count: int) -> str:
        return "".join(pick(ALPHABET) for _ in range(count))

    return BootstrapToken(mac, text(ID_CHARACTERS), text(SECRET_CHARACTERS), now)


class TokenShelf:
    """The tokens on disk. Several processes use it: `https` mints, `kube` creates Secrets and looks owners up."""

    def __init__(self, directory: Path, now: Callable[[], float], pick: Callable[[str], str]) -> None:
        """`directory`: `pki/cluster` of the state."""
        self._directory = directory / "tokens"
        self._now = now
        self._pick = pick
        self._seen: dict[str, tuple[tuple[int, int], BootstrapToken]] = {}

    def hand_out(self, mac: str) -> BootstrapToken:
        """For a machine that claims: the token it has, while that is of use to it, or a new one."""
        return self._renew(mac, lambda token: not may_hand_out(token, self._now()))

    def ask_again(self, mac: str) -> BootstrapToken | None:
        """For a machine that waited too long. None: the one it has is still good, or it has joined."""
        if not may_ask_again(self.find(mac), self._now()):
            return None
        return self._renew(mac, lambda token: may_ask_again(token, self._now()))

    def find(self, mac: str) -> BootstrapToken | None:
        path = self._path(mac)
        return self._load(path) if path.exists() else None

    def pending_tokens(self) -> list[BootstrapToken]:
        """Tokens that need a Secret. Cheap: a file is read again only when it changed."""
        return [token for token in self.load_all() if find_state(token, self._now()) is TokenState.WAITING]

    def mark_created(self, mac: str, token_id: str, expires_at: float) -> None:
        """Its Secret exists. Nothing happens for a token that was replaced meanwhile."""
        self._change(mac, token_id, lambda token: replace(token, expires_at=expires_at))

    def mark_lost(self, mac: str, token_id: str) -> None:
        """Its Secret is gone though the token was not used (somebody removed it, the cluster began anew): create it."""
        self._change(mac, token_id, lambda token: replace(token, expires_at=None) if token.secret else token)

    def mark_used(self, mac: str, token_id: str) -> None:
        """The machine has joined: the secret is forgotten, and the Secret may be removed."""
        self._change(mac, token_id, lambda token: replace(token, secret="", used_at=self._now()))

    def find_owner(self, token_id: str) -> str | None:
        """The first MAC of the machine whose CSR may be approved: the token is its latest, has a Secret, and is live.

        A used token owns nothing any more: the machine's own certificate speaks for it. Two of one id (36^6 there are)
        own nothing either; whoever waits in vain gets another.
        """
        found = [token for token in self.load_all() if token.id == token_id]
        if len(found) != 1 or find_state(found[0], self._now()) is not TokenState.CREATED:
            return None
        return found[0].mac

    def load_all(self) -> list[BootstrapToken]:
        """Every machine's token, by MAC. Raises UserError for a damaged file."""
        return [self._load(path) for path in sorted(self._directory.glob("*.json"))]

    def forget(self, mac: str, at: float) -> None:
        """One that was minted by `at`."""
        make_directory(self._directory)
        with locked(self._directory):
            kept = self.find(mac)
            if kept is not None and kept.minted_at <= at:
                self._path(mac).unlink(missing_ok=True)

    def _renew(self, mac: str, is_needed: Callable[[BootstrapToken | None], bool]) -> BootstrapToken:
        make_directory(self._directory)
        with locked(self._directory):
            kept = self.find(mac)
            if kept is not None and not is_needed(kept):
                return kept
            token = mint_token(mac, self._now(), self._pick)
            self._save(token)
            return token

    def _change(self, mac: str, token_id: str, change: Callable[[BootstrapToken], BootstrapToken]) -> None:
        make_directory(self._directory)
        with locked(self._directory):
            token = self.find(mac)
            if token is not None and token.id == token_id and (changed := change(token)) != token:
                self._save(changed)

    def _load(self, path: Path) -> BootstrapToken:
        hint = f"move {path} away: the machine gets a new token when it is installed again"
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}", hint) from error
        stamp = (status.st_mtime_ns, status.st_ino)
        seen = self._seen.get(path.name)
        if seen is None or seen[0] != stamp:
            seen = (stamp, _parse(read_private(path, hint), path, hint))
            self._seen[path.name] = seen
        return seen[1]

    def _save(self, token: BootstrapToken) -> None:
        write_private(self._path(token.mac), (json.dumps(asdict(token)) + "\n").encode())

    def _path(self, mac: str) -> Path:
        return self._directory / f"{mac.replace(':', '-')}.json"


def _parse(data: bytes, path: Path, hint: str) -> BootstrapToken:
    try:
        token = BootstrapToken(**json.loads(data))
        whole = TOKEN.fullmatch(token.text) or (token.used_at is not None and token.secret == "")
        times = (token.minted_at, token.expires_at or 0.0, token.used_at or 0.0)
        if (
            not whole
            or token.mac.replace(":", "-") != path.stem
            or not all(isinstance(at, int | float) for at in times)
        ):
            raise ValueError("not a token of this machine")
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}", hint) from error
    return token
