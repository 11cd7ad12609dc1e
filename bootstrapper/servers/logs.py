"""Log lines a person can follow, or JSON: one line per step of a machine's boot.

Everything is logged through the logger `bootstrapper`; a record that is a step carries its `Event` as `record.event`
and the machine's host name as `record.host`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

from bootstrapper.boot.events import Event
from bootstrapper.boot.tail import plain

LOGGER = "bootstrapper"
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def start_logging(style: str, stream: TextIO = sys.stderr) -> logging.Logger:
    """Send the product's log to `stream`, as `text` or `json`. Replaces what an earlier call set up."""
    logger = logging.getLogger(LOGGER)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


def log_event(logger: logging.Logger, event: Event, host: str) -> None:
    """One step as one line. A storm of machines has tens of thousands, hence no look at who called (`Logger.log`)."""
    level = LEVELS[event.level]
    if logger.isEnabledFor(level):
        record = logging.LogRecord(logger.name, level, "", 0, "", None, None)
        record.event = event
        record.host = host
        logger.handle(record)


class TextFormatter(logging.Formatter):
    """`12:48:20 node1            dhcp      offer: 10.10.14.11, install generation 1 is open`"""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        event: Event | None = getattr(record, "event", None)
        if event is None:
            text = f"{clock} {'-':<17} {'serve':<9} {mark}{record.getMessage()}"
        else:
            who = getattr(record, "host", "") or event.mac or "-"
            detail = f": {event.detail}" if event.detail else ""
            text = plain(f"{clock} {who:<17} {event.service:<9} {mark}{event.step}{detail}")
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: Event | None = getattr(record, "event", None)
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(event.at if event else record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if event is None:
            line |= {"service": "serve", "message": record.getMessage()}
        else:
            line |= {"service": event.service, "step": event.step, "mac": event.mac}
            line |= {"host": getattr(record, "host", ""), "detail": event.detail}
            line |= {"more": event.more} if event.more else {}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
