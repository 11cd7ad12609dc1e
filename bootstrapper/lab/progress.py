"""Shows the board: a table that changes in place on a terminal, else a line for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bootstrapper.boot.steps import find_percent
from bootstrapper.lab.board import Board

IMAGE_STEP = "installer: image"
STYLES = {"joined": "bold green", "installed": "green", "failed": "bold red", "held": "bold red", "off": "dim"}


class View(Protocol):
    def say(self, text: str) -> None: ...

    def show(self, board: Board, lines: Sequence[str], now: float) -> None: ...

    def close(self) -> None: ...


class PlainView:
    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def show(self, board: Board, lines: Sequence[str], now: float) -> None:
        for line in lines:
            self.say(line)

    def close(self) -> None:
        return


class LiveView:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def show(self, board: Board, lines: Sequence[str], now: float) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(build_table(board, now, self._console.width), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def open_view(console: Console) -> View:
    return LiveView(console) if console.is_terminal else PlainView(console)


def build_table(board: Board, now: float, width: int) -> Table:
    """Only the step gives way when a line is longer than `width`."""
    titles, rows = ("MACHINE", "FIRMWARE", "STATE", "TIME"), board.cells(now)
    widths = [max(len(cell) for cell in (title, *(row[number] for row in rows))) for number, title in enumerate(titles)]
    room = max(10, width - sum(widths) - 2 * len(titles))
    table = Table(box=None, pad_edge=False)
    for title in (*titles, "STEP"):
        table.add_column(title, no_wrap=True)
    for name, firmware, state, seconds, step in rows:
        shown = step if len(step) <= room else step[: room - 1] + "…"
        table.add_row(name, firmware, Text(state, style=STYLES.get(state, "")), seconds, _show_step(step, shown))
    return table


def _show_step(step: str, shown: str) -> RenderableType:
    """A bar while an image is being written."""
    percent = find_percent(step) if step.startswith(IMAGE_STEP) else None
    if percent is None:
        return Text(shown)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(Text("image"), ProgressBar(total=100, completed=percent, width=24), Text(f"{percent} %"))
    return bar
