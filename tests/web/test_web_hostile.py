"""Hostile text in requests, paths, headers and reports: what comes back, and what is kept."""

from __future__ import annotations

import json
import logging
import re

import pytest
from hostile import HOSTILE, MARK, every, is_harmless
from rack import NODE1_MAC

from bootstrapper.boot.events import Event
from bootstrapper.servers.logs import JsonFormatter, TextFormatter
from bootstrapper.state.sqlite import SqliteStore


def log_of(event: Event, host: str = "") -> tuple[str, str]:
    record = logging.LogRecord("bootstrapper", logging.INFO, "", 0, "", None, None)
    record.event, record.host = event, host
    return TextFormatter().format(record), JsonFormatter().format(record)


@every
@pytest.mark.parametrize("output", ["boot.ipxe", "grub.cfg", "pxelinux.cfg"])
def test_a_boot_script_repeats_nothing_of_its_request(plane, output, kind):
    text = HOSTILE[kind].encode("utf-8", "replace").decode()
    for mac in (NODE1_MAC, "02:00:00:00:00:77"):
        good = {"mac": mac, "uuid": "", "arch": "7"}
        for field in ("mac", "uuid", "arch", "platform", "cpu", "host", "serial", "asset"):
            for source in ("10.10.14.11", "10.10.14.66"):
                query = good | {field: text if field != "mac" else mac + text}
                if field in ("platform", "cpu"):
                    del query["arch"]
                reply = plane.get(f"/{output}", source, query_string=query)
                assert MARK not in reply.text
                assert MARK not in str(reply.headers)
    assert MARK not in repr(plane.events)
    assert MARK not in repr(plane.store.load_sightings())
    assert MARK not in plane.get("/metrics").text


@every
def test_a_path_or_a_header_is_repeated_nowhere(plane, kind):
    text = HOSTILE[kind].encode("utf-8", "replace").decode()
    headers = {
        "User-Agent": re.sub(r"[\r\n\0]", "?", text).encode().decode("latin-1"),
        "X-Forwarded-For": MARK,
        "Host": MARK,
    }
    paths = ("/", "/assets/", "/m/", "/cloud-config/", f"/ignition/{NODE1_MAC}")
    for path in (f"{each}{text}" for each in paths):
        reply = plane.get("/x", headers=headers, environ_base={"PATH_INFO": path.encode().decode("latin-1")})
        assert MARK not in reply.text
        assert MARK not in str(reply.headers)
    assert MARK not in repr(plane.events)
    assert MARK not in plane.get("/metrics").text


@every
def test_a_report_is_one_harmless_line_and_a_harmless_log(plane, kind):
    plane.boot()
    body = {"step": "failed", "detail": HOSTILE[kind], "generation": 1, "tail": f"one\n{HOSTILE[kind]}\ntwo"}
    status = plane.get(f"https:/m/{plane.tokens[0]}/report", method="POST", json=body).status_code
    if kind == "long":  # more than 16 KiB in all
        assert status == 413
        return
    assert status == 200
    event = plane.events[-1]
    assert is_harmless(event.detail)
    assert len(event.detail) <= 500
    assert all(is_harmless(line) for line in event.more.split("\n"))
    history = plane.store.find_history(NODE1_MAC)
    assert is_harmless(history.reason)
    plane.store.add_events([event])
    text, document = log_of(event, "node1")
    assert "\n" not in text
    assert is_harmless(text)
    assert json.loads(document)["detail"] == event.detail
    assert MARK not in plane.get("/metrics").text


@every
@pytest.mark.parametrize("field", ["step", "generation", "x"])
def test_what_is_no_report_is_kept_nowhere(plane, field, kind):
    plane.boot()
    plane.events.clear()
    body = {"step": "disk", "detail": "", "generation": 1} | {field: HOSTILE[kind]}
    status = plane.get(f"https:/m/{plane.tokens[0]}/report", method="POST", json=body).status_code
    assert status == (200 if field == "x" else 400 if len(json.dumps(body)) < 16_000 else 413)
    assert MARK not in repr(plane.events)
    assert MARK not in plane.get("/metrics").text


@every
def test_whatever_reaches_an_event_is_harmless_in_the_log_and_the_state(tmp_path, kind):
    """The last gate, for a service that forgot to clean a name (a TFTP file's, say)."""
    event = Event(1.0, "m", "tftp", "refused", f"{HOSTILE[kind]}: no such file")
    text, document = log_of(event)
    assert is_harmless(text)
    assert "\n" not in document
    store = SqliteStore(tmp_path / "state.db")
    store.add_events([event])
    assert is_harmless(store.events()[0][1].detail)
    store.close()


def test_whoever_has_many_addresses_pushes_out_no_history(plane):
    """A thousand events of a machine are kept: 98 addresses that ask in its name for a day leave some."""
    for _ in range(90):
        plane.clock += 11
        for last in range(100, 200):
            plane.get(f"/boot.ipxe?mac={NODE1_MAC}&arch=7", f"10.10.14.{last}")
    assert {event.step for event in plane.events} == {"script refused"}
    assert len(plane.events) < 50 + 90 * 11 * 0.02 + 1
    plane.events.clear()
    plane.boot()
    assert [event.step for event in plane.events] == ["script"]


def test_whoever_invents_machines_hides_no_refusal(plane):
    """Events of strangers are rationed, a thousand names at a time: made-up MACs use up their own ration only."""
    for number in range(1100):
        plane.get(f"/boot.ipxe?mac=02:00:00:00:{number >> 8:02x}:{number & 255:02x}&arch=7", "10.10.14.66")
    assert len(plane.store.load_sightings()) == 1024
    assert sum(event.step == "unknown machine" for event in plane.events) == 50, "of 100,000 that are kept in all"
    plane.events.clear()
    assert plane.get(f"https:/m/{'A' * 43}/config", "10.10.14.66").status_code == 404
    assert plane.get(f"https:/m/{'A' * 43}/report", "10.10.14.66", "POST", json={}).status_code == 404
    assert [event.step for event in plane.events] == ["claim refused", "report refused"]
