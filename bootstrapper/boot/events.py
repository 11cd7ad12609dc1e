"""One step in a machine's boot, as logged, stored and shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    at: float
    "Wall clock, seconds."
    mac: str
    "The machine's first MAC, or the MAC of an unknown machine; empty for the server itself."
    service: str
    "`boot.steps.Service`, or another part of the server: `dns`, `state`, `files`, `serve`."
    step: str
    "A constant of a few words: `offer`, `ack`, `script`, `config claimed`, `disk chosen`."
    detail: str = ""
    "Plain words, control characters already removed, at most 500 characters."
    level: str = "info"
    "`info`, `warning` or `error`."
    more: str = ""
    """Lines beneath it: the end of the machine's journal with a failure (`boot.tail.clean_tail`: at most 8 KiB, control
    characters removed, secrets masked)."""
