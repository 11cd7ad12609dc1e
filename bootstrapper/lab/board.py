"""What the lab shows of each machine: its state, its last step, and how long it has been at it. Pure: fed with the
server's events and histories, asked for lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState

OFF = "off"
ON = "powered on"


def _is_installed(history: History) -> bool:
    return history.state in (MachineState.INSTALLED, MachineState.JOINED)


def _is_up(history: History) -> bool:
    # A machine that becomes a node has joined when its node is Ready; here the system on its disk may have no kubelet.
    return history.state is MachineState.JOINED or (_is_installed(history) and history.booted_at > 0)


GOALS: dict[str, Callable[[History], bool]] = {"installed": _is_installed, "joined": _is_up}
"What a machine has to reach: `installed` on its disk, or `joined`: the system on its disk has said that it is up."


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    mac: str
    firmware: str
    state: str = OFF
    step: str = ""
    powered_at: float | None = None
    step_at: float = 0.0
    done_at: float | None = None


@dataclass
class Board:
    """One row for each machine; `goal` is a key of GOALS."""

    rows: dict[str, Row] = field(default_factory=dict)
    "By first MAC."
    goal: str = "joined"

    def power_on(self, mac: str, now: float) -> None:
        self._change(mac, state=ON, step="firmware starts", powered_at=now, step_at=now)

    def power_off(self, mac: str, why: str, now: float) -> None:
        self._change(mac, state=OFF, step=why, step_at=now)

    def take_events(self, events: Iterable[Event]) -> list[str]:
        """Returns a line for each event that is about a machine of the rack or an unknown one."""
        lines = []
        for event in events:
            row = self.rows.get(event.mac)
            text = f"{event.service}: {event.step}" + (f": {event.detail}" if event.detail else "")
            if row is not None:
                self._change(event.mac, step=text, step_at=event.at)
                lines.append(f"{self._seconds(row, event.at)} {row.name:<16} {text}")
            elif event.mac:
                lines.append(f"{'':>7} {event.mac:<16} {text}")
        return lines

    def take_histories(self, histories: Mapping[str, History], now: float) -> None:
        for mac, history in histories.items():
            row = self.rows.get(mac)
            if row is None or row.powered_at is None:
                continue
            state = str(MachineState.HELD if history.held else history.state)
            waiting = state == MachineState.ARMED and row.state in (ON, OFF)
            if row.state not in (state, OFF) and not waiting:
                self._change(mac, state=state)
            if GOALS[self.goal](history) and row.done_at is None:
                self._change(mac, done_at=now)

    def under_way(self) -> list[Row]:
        """Powered on, and neither there nor failed."""
        stopped = (MachineState.FAILED, MachineState.HELD, OFF)
        return [row for row in self.rows.values() if row.powered_at and not row.done_at and row.state not in stopped]

    def busy(self) -> list[Row]:
        """Those under way that need the processor. An installed one mostly waits for its firmware."""
        return [row for row in self.under_way() if row.state != MachineState.INSTALLED]

    def waiting(self) -> list[Row]:
        return [row for row in self.rows.values() if row.powered_at is None]

    def missing(self) -> list[Row]:
        return [row for row in self.rows.values() if row.done_at is None]

    def cells(self, now: float) -> list[tuple[str, str, str, str, str]]:
        """(machine, firmware, state, seconds, step) for a table."""
        return [
            (row.name, row.firmware, row.state, self._seconds(row, row.done_at or now).strip(), row.step)
            for row in self.rows.values()
        ]

    def _change(self, mac: str, **values: object) -> None:
        self.rows[mac] = replace(self.rows[mac], **values)  # type: ignore[arg-type]

    @staticmethod
    def _seconds(row: Row, at: float) -> str:
        return f"{at - row.powered_at:6.1f}s" if row.powered_at is not None else f"{'':>7}"
