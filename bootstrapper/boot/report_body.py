"""What a machine sends as a report: `{"step", "generation", "detail"?, "tail"?}`, read with distrust."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bootstrapper.boot.report import Step
from bootstrapper.boot.tail import clean_line, clean_tail

DETAIL_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class ReportBody:
    step: Step
    generation: int
    detail: str
    "One line for people, secrets masked. Of an image: it begins with `42 %`."
    tail: str
    "The end of the log, with what went wrong; empty with what did not. See `clean_tail`."

    @property
    def level(self) -> str:
        if self.step is Step.FAILED:
            return "error"
        return "warning" if self.tail else "info"


def parse_report(data: bytes) -> ReportBody | None:
    """None: malformed."""
    try:
        body = json.loads(data)
        step, generation = Step(body["step"]), body["generation"]
        detail, tail = body.get("detail", ""), body.get("tail", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(detail, str) or not isinstance(tail, str) or type(generation) is not int:
        return None
    return ReportBody(step, generation, clean_line(detail, DETAIL_CHARACTERS), clean_tail(tail))
