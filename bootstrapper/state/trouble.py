"""Says of a fault that it began, and later that it is over, however often it was met in between."""

from __future__ import annotations

import logging

from bootstrapper.errors import UserError

LOGGER = "bootstrapper"


class Trouble:
    """For one writer to the state; thread-safe enough: said twice does no harm."""

    def __init__(self, what: str) -> None:
        """`what` cannot be done: "events"."""
        self._what = what
        self._said = ""

    def met(self, error: Exception) -> None:
        words = f"{error.message} ({error.hint})" if isinstance(error, UserError) else repr(error)
        if words == self._said:
            return
        self._said = words
        # A fault of the disk has no traceback worth reading; any other is ours.
        logging.getLogger(LOGGER).error(
            "%s cannot be stored: %s", self._what, words, exc_info=None if isinstance(error, UserError) else error
        )

    def over(self, more: str = "") -> None:
        if self._said:
            self._said = ""
            logging.getLogger(LOGGER).warning("%s are stored again%s", self._what, f": {more}" if more else "")
