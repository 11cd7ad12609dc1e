"""The registry tells who pulls what: only from this host, only as an event, and whatever else is sent there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.web.pulls import find_pulls

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def event(repository="registry.k8s.io/pause", kind=INDEX, tag="3.10", addr="10.10.14.11:40000", action="pull"):
    target = {"mediaType": kind, "digest": "sha256:abc", "repository": repository} | ({"tag": tag} if tag else {})
    return {"action": action, "target": target, "request": {"addr": addr, "method": "GET"}}


def post(plane, *events, source="10.10.14.253"):
    return plane.get("/registry-events", source, "POST", json={"events": list(events)})


def told(plane):
    return [(event.mac, event.service, event.step, event.detail) for event in plane.events]


def test_a_pull_is_one_event_of_its_machine(plane):
    mac = plane.cluster.machines[0].mac
    assert post(plane, event()).status_code == 200
    post(plane, event(kind=MANIFEST, tag=""))
    post(plane, event("registry.k8s.io/etcd", tag="3.6"))
    assert told(plane) == [
        (mac, "registry", "pulled", "registry.k8s.io/pause:3.10"),
        (mac, "registry", "pulled", "registry.k8s.io/etcd:3.6"),
    ]
    plane.clock += 61
    post(plane, event())
    assert len(plane.events) == 3


def test_from_elsewhere_the_url_does_not_exist(plane):
    reply = post(plane, event(), source="10.10.14.11")
    assert (reply.status_code, reply.data) == (404, plane.get("/no/such").data)
    assert plane.get("/registry-events", "10.10.14.253").status_code == 404
    assert told(plane) == []


def test_layers_pushes_and_strangers_are_not_told(plane):
    post(plane, event(kind="application/octet-stream"), event(action="push"), event(addr="10.10.14.77:1"))
    assert told(plane) == []


def test_a_name_is_cleaned(plane):
    post(plane, event("a\nb\x1b[31m" + "x" * 900))
    (pulled,) = plane.events
    assert "\n" not in pulled.detail and "\x1b" not in pulled.detail and len(pulled.detail) <= 500


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"[" * 5000, b'{"events": 3}', b'{"events": [3, {}, null]}'])
def test_what_is_malformed_is_left_out(plane, data):
    assert plane.get("/registry-events", "10.10.14.253", "POST", data=data).status_code == 200
    assert told(plane) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["events", "action", "target", "mediaType", "repository", "request", "addr", "tag"]), inner
    ),
)  # fmt: skip


@given(JSON)
def test_any_json_raises_nothing(value):
    for pull in find_pulls(json.dumps({"events": [value]}).encode()):
        assert all(isinstance(each, str) for each in pull)
