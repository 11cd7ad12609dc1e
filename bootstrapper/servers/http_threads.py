"""Threads that answer: one queue, from which each takes the next.

The standard library's executor makes a Future with a condition for each request, which costs as much as reading it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any


class Threads:
    """`count` threads, each calling `handle(thing)` for one thing at a time. It may not raise."""

    def __init__(self, count: int, handle: Callable[[Any], None]) -> None:
        self._handle = handle
        self._things: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, name=f"answer{number}", daemon=True).start()

    def put(self, thing: Any) -> None:
        """From any thread; None is nothing to handle."""
        self._things.put(thing)

    def shutdown(self, wait: bool = True) -> None:
        """They end when there is nothing left to handle."""
        self._things.put(None)

    def _run(self) -> None:
        while (thing := self._things.get()) is not None:
            self._handle(thing)
        self._things.put(None)  # for the next
