"""Events as they come: in order, resumed, bounded, and never in the way of other answers."""

from __future__ import annotations

import json
import threading
from itertools import islice
from typing import Any

from adminplane import NODE1, AdminPlane

from bootstrapper.web.admin.feed import FOLLOWERS, STREAM_S

STREAM = "/api/v1/events/stream"
NODE2 = "0c:c4:7a:82:c5:bc"


def parse(chunk: str) -> dict[str, Any]:
    """One server-sent event's fields; its data as JSON."""
    fields = dict(line.split(": ", 1) for line in chunk.strip().splitlines() if not line.startswith(":"))
    return {**fields, **({"data": json.loads(fields["data"])} if "data" in fields else {})}


def follow(admin: AdminPlane, path: str = STREAM, **headers: str) -> Any:
    """The stream's chunks; closing it is what a client does that goes away."""
    reply = admin.ask("GET", path, headers=headers, buffered=False)
    assert reply.status_code == 200
    assert reply.content_type == "text/event-stream"
    return reply


def chunks(reply: Any) -> Any:
    return (chunk.decode() if isinstance(chunk, bytes) else chunk for chunk in reply.response)


def test_a_list_is_the_latest_and_goes_on_after_an_id(admin: AdminPlane) -> None:
    for number in range(5):
        admin.event(f"step {number}")
    found = admin.get("/events?limit=2")
    assert [each["step"] for each in found] == ["step 3", "step 4"]
    assert found[0]["host"] == "node1"
    first = admin.get("/events?limit=5")[0]["id"]
    assert [each["step"] for each in admin.get(f"/events?after={first}&limit=2")] == ["step 1", "step 2"]


def test_a_list_of_one_machine_by_any_of_its_names(admin: AdminPlane) -> None:
    admin.event("mine")
    admin.event("another's", mac=NODE2)
    admin.event("a stranger's", mac="52:54:00:12:34:56")
    for name in ("node1", NODE1, NODE1.replace(":", "-").upper()):
        assert [each["step"] for each in admin.get(f"/events?machine={name}")] == ["mine"]
    assert [each["step"] for each in admin.get("/events?machine=525400123456")] == ["a stranger's"]
    assert admin.ask("GET", "/api/v1/events?machine=nobody").status_code == 404


def test_a_stream_begins_now_and_tells_what_comes(admin: AdminPlane) -> None:
    admin.event("before")
    with follow(admin) as reply:
        stream = chunks(reply)
        hello = parse(next(stream))
        assert hello["retry"] == "2000"
        admin.event("during", detail="{{ x }}\n\ndata: forged")
        told = parse(next(stream))
    assert told["data"]["step"] == "during"
    assert told["data"]["detail"] == "{{ x }}  data: forged", "one event, whatever a client put into it"
    assert int(told["id"]) == told["data"]["id"] == int(hello["id"]) + 1


def test_a_browser_that_comes_back_misses_nothing(admin: AdminPlane) -> None:
    for number in range(4):
        admin.event(f"step {number}")
    second = admin.get("/events")[1]["id"]
    for reply in (follow(admin, **{"Last-Event-ID": str(second)}), follow(admin, f"{STREAM}?after={second}")):
        with reply:
            told = [parse(chunk) for chunk in islice(chunks(reply), 3)][1:]
        assert [each["data"]["step"] for each in told] == ["step 2", "step 3"]
    assert admin.ask("GET", STREAM, headers={"Last-Event-ID": "x"}).status_code == 400


def test_an_id_from_before_a_restore_begins_now(admin: AdminPlane) -> None:
    ahead = "999999999999"
    asked: list[tuple[str, dict[str, str]]] = [(STREAM, {"Last-Event-ID": ahead})]
    for path, headers in (*asked, (f"{STREAM}?machine=node2&after={ahead}", {})):
        admin.event("before", mac=NODE2)
        latest = admin.get("/events")[-1]["id"]
        with follow(admin, path, **headers) as reply:
            stream = chunks(reply)
            assert int(parse(next(stream))["id"]) == latest
            admin.event("after", mac=NODE2)
            assert parse(next(stream))["data"]["step"] == "after"


def test_a_stream_of_one_machine(admin: AdminPlane) -> None:
    with follow(admin, f"{STREAM}?machine=node2&after=0") as reply:
        admin.event("another's")
        admin.event("mine", mac=NODE2)
        assert [parse(chunk).get("data", {}).get("step") for chunk in islice(chunks(reply), 2)] == [None, "mine"]


def test_a_quiet_stream_says_so_and_ends_in_time(admin: AdminPlane) -> None:
    began = admin.clock
    with follow(admin) as reply:
        said = list(chunks(reply))
    assert said[1:] == [": still here\n\n"] * (len(said) - 1)
    assert 35 < len(said) < 45
    assert STREAM_S <= admin.clock - began < STREAM_S + 1


def test_followers_are_bounded_and_give_their_place_back(admin: AdminPlane) -> None:
    held = [follow(admin) for _ in range(FOLLOWERS)]
    next(chunks(held[0]))
    refused = admin.ask("GET", STREAM)
    assert refused.status_code == 429
    assert refused.json["error"] == f"{FOLLOWERS} are following already"
    assert admin.ask("GET", "/api/v1/machines").status_code == 200
    for reply in held:  # some were read from, most never: a client that went away before the first byte
        reply.close()
        reply.close()
    for reply in [follow(admin) for _ in range(FOLLOWERS)]:
        reply.close()


def test_a_head_request_holds_no_place(admin: AdminPlane) -> None:
    for _ in range(2 * FOLLOWERS):
        admin.ask("HEAD", STREAM).close()
    follow(admin).close()


def test_the_stream_ends_when_the_server_does(admin: AdminPlane) -> None:
    going_on = threading.Event()
    going_on.set()
    admin.app.extensions["bind_worker"](going_on.is_set)
    with follow(admin) as reply:
        stream = chunks(reply)
        next(stream)
        going_on.clear()
        assert list(stream) == []
