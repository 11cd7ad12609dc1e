"""What can be wrong with what an admin asked: each kind has its HTTP status, and its words are for people."""

from __future__ import annotations

from bootstrapper.errors import Problem, UserError


class Malformed(UserError):
    """400: the request itself cannot be understood."""


class NotFound(UserError):
    """404: there is no such machine, output, revision."""


class Conflict(UserError):
    """409: what the order builds on is no longer so."""


class Unfit(UserError):
    """422: understood, and cannot be done; `problems` for a description."""

    def __init__(self, message: str, hint: str = "", problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message, hint)
        self.problems = problems


STATUS: dict[type[UserError], int] = {Malformed: 400, NotFound: 404, Conflict: 409, Unfit: 422}
"Any other UserError is trouble of the server's own (a full disk): 503."
