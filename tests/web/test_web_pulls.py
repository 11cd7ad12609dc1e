"""The registry tells who pulls what: only it, only from this host, only as an event, and whatever else is sent."""

from __future__ import annotations

import json

import pytest
from hostile import HOSTILE, every, is_harmless
from hypothesis import given
from hypothesis import strategies as st

from bootstrapper.pki.pull_token import make_pull_token
from bootstrapper.web.pulls import find_pulls

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def event(repository="registry.k8s.io/pause", kind=INDEX, tag="3.10", addr="10.10.14.11:40000", action="pull"):
    target = {"mediaType": kind, "digest": "sha256:abc", "repository": repository} | ({"tag": tag} if tag else {})
    return {"action": action, "target": target, "request": {"addr": addr, "method": "GET"}}


@pytest.fixture
def plane(plane, tmp_path):
    plane.state = tmp_path
    (tmp_path / "registry").mkdir()
    plane.pull_token = make_pull_token(tmp_path / "registry")
    return plane


def show(plane):
    return {"Authorization": f"Bearer {plane.pull_token}"}


def post(plane, *events, source="10.10.14.253", headers=None):
    headers = show(plane) if headers is None else headers
    return plane.get("/registry-events", source, "POST", json={"events": list(events)}, headers=headers)


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
    assert plane.get("/registry-events", "10.10.14.253", headers=show(plane)).status_code == 404
    assert told(plane) == []


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Bearer {}x", "Bearer x{}", "bearer {}", "Basic {}", "{}", "Bearer  {}", "Bearer {} {}",
     "Bearer None", "Bearer é", f"Bearer {'0' * 43}"],
)  # fmt: skip
def test_another_user_of_this_host_tells_nothing(plane, given):
    """The address is this host's, and so is every user's on it."""
    token = plane.pull_token
    headers = {"Authorization": given.format(token, token)} if given else {}
    reply = post(plane, event(), headers=headers)
    assert (reply.status_code, reply.data) == (404, plane.get("/no/such").data)
    assert told(plane) == []
    assert post(plane, event()).status_code == 200
    assert len(told(plane)) == 1


def test_without_a_registry_nobody_does(plane):
    (plane.state / "registry" / "notify.token").unlink()
    assert post(plane, event()).status_code == 404
    assert post(plane, event(), headers={"Authorization": "Bearer "}).status_code == 404
    assert post(plane, event(), headers={}).status_code == 404
    assert told(plane) == []


def test_layers_pushes_and_strangers_are_not_told(plane):
    post(plane, event(kind="application/octet-stream"), event(action="push"), event(addr="10.10.14.77:1"))
    assert told(plane) == []


@pytest.mark.parametrize("said", ["10.10.14.11", "::ffff:10.10.14.11", "10.10.14.11 :1", ":10.10.14.11"])
def test_no_machine_pulls_in_anothers_name(plane, said):
    """The registry takes `X-Forwarded-For: 10.10.14.11` of anybody for the address: without a port, since with one
    it is no address (seen with 2.8.2)."""
    post(plane, event(addr=said))
    assert told(plane) == []


def test_a_name_is_cleaned(plane):
    post(plane, event("a\nb\x1b[31m" + "x" * 900))
    (pulled,) = plane.events
    assert "\n" not in pulled.detail and "\x1b" not in pulled.detail and len(pulled.detail) <= 500


@every
@pytest.mark.parametrize("field", ["repository", "tag", "mediaType", "addr", "action", "useragent"])
def test_hostile_text_of_an_image_is_one_harmless_line(plane, kind, field):
    """What a machine may ask the registry for, and what the registry tells of it."""
    text = HOSTILE[kind][:300]
    told_of = event()
    (told_of["request"] if field in ("addr", "useragent") else told_of["target"])[field] = text
    told_of |= {"action": text} if field == "action" else {}
    assert post(plane, told_of).status_code == 200
    for each in plane.events:
        assert is_harmless(each.detail) and is_harmless(each.step)
    assert len(plane.events) == (field in ("repository", "tag", "useragent"))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"[" * 5000, b'{"events": 3}', b'{"events": [3, {}, null]}'])
def test_what_is_malformed_is_left_out(plane, data):
    assert plane.get("/registry-events", "10.10.14.253", "POST", data=data, headers=show(plane)).status_code == 200
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
