"""The few exceptions that cross rooms.

Everything an admin can cause ends as a `UserError` (exit status 1, no traceback); everything a client on the
network can cause ends as a `MalformedPacket` (counted by its reason, dropped). Any other exception is our fault.
"""

from __future__ import annotations

from dataclasses import dataclass


class UserError(Exception):
    """Something the admin gave cannot be used. `cli` prints message and hint and exits with status 1."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in (or one piece of advice about) a file the admin wrote."""

    line: int
    "1-based line in `file`; 0 when the whole file is meant."
    path: str
    "The key's path, as `machines[2].mac`; empty for the whole file."
    message: str
    "What was found and what was expected, in one sentence."
    hint: str = ""
    "What to do, or the nearest thing meant; empty when the message says it."
    file: str = ""

    def text(self) -> str:
        """The one-line form: `file:line: path: message (hint)`."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        parts = [part for part in (where, self.path, self.message) if part]
        return ": ".join(parts) + (f" ({self.hint})" if self.hint else "")


class ClusterProblems(UserError):
    """A description that is refused whole: every problem at once (design.md rule 6)."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the description")
        self.problems = problems


class RenderProblem(UserError):
    """A template that cannot be rendered, or whose result its reader would not accept."""


class MalformedPacket(ValueError):
    """Bytes from the network that are not the protocol they claim to be.

    `reason` is a short constant (`dhcp-cookie`, `tftp-mode`): it becomes a metric label, so it never holds client data.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
