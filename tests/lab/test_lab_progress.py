"""The lab's table."""

from __future__ import annotations

import io

from rich.console import Console

from bootstrapper.boot.events import Event
from bootstrapper.lab.board import Board, Row
from bootstrapper.lab.progress import build_table

MAC = "52:54:00:00:00:01"


def show(step: str, detail: str, width: int = 80) -> str:
    board = Board({MAC: Row("node1", MAC, "bios")})
    board.power_on(MAC, 10.0)
    board.take_events([Event(20.0, MAC, "installer", step, detail)])
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(build_table(board, 30.0, width))
    return out.getvalue().splitlines()[1]


def test_a_step_gives_way_where_the_terminal_is_narrow() -> None:
    assert show("disk", "/dev/vda 12 GB", 60) == "node1    bios      powered on  20.0s  installer: disk: /dev…"


def test_an_image_that_is_being_written_has_a_bar() -> None:
    line = show("image", "42 % of the image")
    assert line.startswith("node1    bios      powered on  20.0s  image ━━━━━━━━━━")
    assert line.endswith(" 42 %")
    assert "━" not in show("image", "writing 4593.2.5")
    assert "━" not in show("disk", "42 % full")
