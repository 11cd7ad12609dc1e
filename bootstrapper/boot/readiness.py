"""Whether everything a machine will ask for is here: a fact for `boot.decide`, since no install is opened in vain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SHOWN = 2
"Names on a console of 80 columns; the others are a number."


@dataclass(frozen=True, slots=True)
class Readiness:
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    "First MAC -> the files and images it waits for; () where all are here. A MAC not in it has not been looked at yet."

    def explain(self, mac: str) -> str:
        """Why no install is opened, for the console, the log and the admin; empty: everything is here."""
        names = self.missing.get(mac)
        if names is None:
            return "waiting for files: they are being checked"
        if not names:
            return ""
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"waiting for files: {', '.join(name.rpartition('/')[2] for name in names[:SHOWN])}{more}"
