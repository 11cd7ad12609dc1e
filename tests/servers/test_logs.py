import io
import json
import logging

import pytest

from bootstrapper.boot.events import Event
from bootstrapper.servers.logs import log_event, start_logging

EVENT = Event(at=1763640500.25, mac="00:25:90:c0:f7:80", service="dhcp", step="offer", detail="10.10.14.11")


@pytest.fixture(autouse=True)
def _restore() -> object:
    logger = logging.getLogger("bootstrapper")
    kept = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = kept


def test_a_step_is_one_line_that_names_the_machine() -> None:
    stream = io.StringIO()
    log_event(start_logging("text", stream), EVENT, "node1")
    assert stream.getvalue()[9:] == "node1             dhcp      offer: 10.10.14.11\n"


def test_a_machine_without_a_name_is_its_mac() -> None:
    stream = io.StringIO()
    log_event(start_logging("text", stream), EVENT, "")
    assert stream.getvalue()[9:] == "00:25:90:c0:f7:80 dhcp      offer: 10.10.14.11\n"


def test_a_step_as_json() -> None:
    stream = io.StringIO()
    log_event(start_logging("json", stream), EVENT, "node1")
    assert json.loads(stream.getvalue()) == {
        "at": "2025-11-20T12:08:20.250+00:00",
        "level": "info",
        "service": "dhcp",
        "step": "offer",
        "mac": "00:25:90:c0:f7:80",
        "host": "node1",
        "detail": "10.10.14.11",
    }


def test_warnings_say_so() -> None:
    stream = io.StringIO()
    start_logging("text", stream).warning("port %d", 67)
    assert stream.getvalue()[9:] == "-                 serve     WARNING: port 67\n"
