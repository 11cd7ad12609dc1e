"""Two texts side by side, as lines to show: what went, what came, and a little around it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

AROUND = 3


@dataclass(frozen=True, slots=True)
class DiffLine:
    kind: str
    "`same`, `added`, `removed`, or `gap`: lines left out."
    text: str
    old: int | None = None
    "Line number in the old text, from 1."
    new: int | None = None


def compare(before: str, after: str) -> list[DiffLine]:
    """Empty when the texts are the same, line for line."""
    old, new = before.splitlines(), after.splitlines()
    if old == new:
        return []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False) if len(old) + len(new) < 4000 else None
    # Without its heuristics a file of ten thousand lines takes a minute.
    matcher = matcher or difflib.SequenceMatcher(None, old, new)
    lines: list[DiffLine] = []
    at = 0
    for group in matcher.get_grouped_opcodes(AROUND):
        skipped = group[0][1] - at
        if skipped > 0:
            lines.append(_gap(skipped))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                lines += [
                    DiffLine("same", old[old_from + number], old_from + number + 1, new_from + number + 1)
                    for number in range(old_to - old_from)
                ]
                continue
            lines += [DiffLine("removed", old[number], old=number + 1) for number in range(old_from, old_to)]
            lines += [DiffLine("added", new[number], new=number + 1) for number in range(new_from, new_to)]
        at = group[-1][2]
    if len(old) > at:
        lines.append(_gap(len(old) - at))
    return lines


def _gap(count: int) -> DiffLine:
    return DiffLine("gap", f"{count} line{'' if count == 1 else 's'} alike")
