"""What the image registry shows with its notifications (`web.pulls`), so that nobody else on this host can send any.

Made with the registry's configuration, for the server alone; not in a backup, where none is needed.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from bootstrapper.errors import UserError
from bootstrapper.pki.files import read_private, write_private
from bootstrapper.pki.tokens import is_token, mint_token

NAME = "notify.token"


def make_pull_token(folder: Path) -> str:
    """The one that is in `folder`, or a new one in its place: a reload need not start the registry again.

    Raises UserError when it cannot be written.
    """
    found = read_pull_token(folder)
    if found is None:
        found = mint_token(secrets.token_bytes)
        write_private(folder / NAME, found.encode())
    return found


def read_pull_token(folder: Path) -> str | None:
    """None: there is none, or one that others could have read or damaged."""
    try:
        text = read_private(folder / NAME, "").decode("ascii", "replace")
    except UserError:
        return None
    return text if is_token(text) else None
