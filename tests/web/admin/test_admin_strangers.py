"""Unknown machines: what they chose themselves is shown harmlessly, and they become lines of the description."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from adminplane import NODE1, AdminPlane
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrapper.cluster.load import load
from bootstrapper.state.store import Sighting
from bootstrapper.web.admin.faults import Unfit
from bootstrapper.web.admin.lines import add_machine, quote, write_machine

MAC = "52:54:00:12:34:56"
HOSTILE = [
    "a\nb", "${x}", ";reboot", "{{ 7*7 }}", "\"'`", "<script>alert(1)</script>", "\x1b[31m", "\u202e", "\x00",
    "%0d%0a",
]  # fmt: skip


IGNORED = {
    "cause": "unknown-ignored",
    "title": "not in the description, and ignored",
    "what_to_do": "add it to the description, or set `unknown_machines: discover`",
    "since": 2.0,
    "evidence": [f"{MAC} asked"],
    "page": "docs/diagnosis.md#unknown-ignored",
}


def see(admin: AdminPlane, vendor: str = "Dell", mac: str = MAC, **more: Any) -> None:
    admin.store.save_sightings([Sighting(mac, 1.0, 2.0, 3, vendor, **more)])


def test_one_is_listed_with_its_lines(admin: AdminPlane) -> None:
    said = {"vendor_class": "MSFT 5.0" + "!" * 90, "host_name": "desk\n\u202e<b>"}
    see(admin, uuid="4c4c4544-0042-3510-8052-b4c04f4e3232", arch="UEFI x64", address="10.10.14.101", **said)
    assert admin.get("/unknown") == [
        {
            "mac": MAC, "vendor": "Dell", "uuid": "4c4c4544-0042-3510-8052-b4c04f4e3232", "arch": "amd64",
            "firmware": "UEFI x64", "address": "10.10.14.101",
            "vendor_class": "MSFT 5.0" + "!" * 56, "host_name": "desk  <b>",
            "first_at": 1.0, "last_at": 2.0, "count": 3,
            "lines": '- mac: "52:54:00:12:34:56"\n  host: node6\n  roles: [worker]\n',
            "diagnosis": IGNORED,
        }
    ]  # fmt: skip


def test_one_that_looks_like_a_card_of_a_machine_says_whose(admin: AdminPlane) -> None:
    see(admin, mac=NODE1[:-1] + "1")
    (found,) = admin.get("/unknown")
    assert found["diagnosis"]["cause"] == "other-card"
    assert found["diagnosis"]["evidence"] == [f"{NODE1[:-1]}1 asked, and its MAC is next to that of node1"]


def test_one_that_came_into_the_description_is_listed_no_more(admin: AdminPlane) -> None:
    see(admin, mac=NODE1)
    assert admin.get("/unknown") == []


def test_it_can_be_forgotten(admin: AdminPlane) -> None:
    see(admin)
    assert admin.ask("DELETE", "/api/v1/unknown/52-54-00-12-34-56").status_code == 200
    assert admin.get("/unknown") == []
    assert admin.ask("DELETE", f"/api/v1/unknown/{MAC}").status_code == 404
    assert admin.ask("DELETE", "/api/v1/unknown/nothing").status_code == 400


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_machine_chose_is_one_harmless_line(admin: AdminPlane, text: str) -> None:
    see(admin, vendor=f"x{text}y", uuid=text, arch=text, address=text)
    admin.event(f"step{text}", detail=f"told{text}")
    admin.event("seen", mac=MAC, service=f"s{text}", detail=text)
    reply = admin.ask("GET", "/api/v1/unknown")
    assert reply.content_type == "application/json"
    (found,) = reply.json
    for value in (*found.values(), *(each for event in admin.get("/events") for each in event.values())):
        if isinstance(value, str) and value != found["lines"]:
            assert all(char.isprintable() and char not in "\u202e\x1b" for char in value), value
    assert yaml.safe_load(found["lines"]) == [{"mac": MAC, "host": "node6", "roles": ["worker"]}]


WORDS = ["", "- x", "yes", "null", "007", "1.5", "a: b", "a #b", "&a", "*a", "!!x", "0x1f", "1e5", "10.10.14.14"]


@pytest.mark.parametrize("text", [*HOSTILE, *WORDS])
def test_a_word_is_read_back_as_it_was(text: str) -> None:
    assert yaml.safe_load(f"- {quote(text)}\n") == [text]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_becomes_a_problem_and_no_key(admin: AdminPlane, text: str) -> None:
    body = {"host": f"x{text}", "roles": ["worker", f"y{text}"], "save": True}
    reply = admin.ask("POST", f"/api/v1/unknown/{MAC}/adopt", json=body)
    assert reply.status_code == 422
    assert {each["path"].partition(".")[2].partition("[")[0] for each in reply.json["problems"]} == {"host", "roles"}
    assert admin.file.read_text() == load_text(admin)


def load_text(admin: AdminPlane) -> str:
    kept = admin.store.load_description()
    assert kept is not None
    return kept[1]


def test_adopting_shows_first_and_saves_when_told(admin: AdminPlane) -> None:
    see(admin)
    url = f"/api/v1/unknown/{MAC}/adopt"
    before = admin.file.read_text()
    shown = admin.ask("POST", url, json={"host": "new1"}).json
    assert (shown["ok"], shown["saved"]) == (True, False)
    assert admin.file.read_text() == before
    added = load(shown["text"]).by_mac[MAC]
    assert (added.host, sorted(added.roles)) == ("new1", ["flannel", "worker"])
    assert shown["text"].replace(indent(shown["lines"]), "") == before, "no other line is touched"
    saved = admin.ask("POST", url, json={"host": "new1", "save": True}).json
    assert (saved["saved"], saved["revision"]) == (True, 2)
    assert MAC in load(admin.file.read_text()).by_mac
    assert admin.get("/audit")[-1]["what"] == "adopt"


def indent(lines: str) -> str:
    return "".join(f"  {line}" for line in lines.splitlines(keepends=True))


def test_roles_that_need_a_fixed_address_get_a_free_one(admin: AdminPlane) -> None:
    found = admin.ask("POST", f"/api/v1/unknown/{MAC}/adopt", json={"roles": ["etcd"]}).json
    assert "ip: 10.10.14.14" in found["lines"]
    found = admin.ask("POST", f"/api/v1/unknown/{MAC}/adopt", json={"ip": "10.10.14.77"}).json
    assert str(load(found["text"]).by_mac[MAC].ip) == "10.10.14.77"


@pytest.mark.parametrize(
    ("mac", "body", "status"),
    [
        ("nothing", {}, 400),
        (NODE1, {}, 409),
        (MAC, {"ip": "10.10.14.999"}, 400),
        (MAC, {"ip": "::1"}, 400),
        (MAC, {"roles": ["x" * 100]}, 400),
        (MAC, {"roles": "worker"}, 400),
        (MAC, {"roles": [7]}, 400),
        (MAC, {"ip": "10.10.14.11", "save": True}, 422),
    ],
)
def test_what_cannot_be_adopted(admin: AdminPlane, mac: str, body: dict[str, Any], status: int) -> None:
    assert admin.ask("POST", f"/api/v1/unknown/{mac}/adopt", json=body).status_code == status


# -- where the lines go --------------------------------------------------------
LINES = write_machine(MAC, "new", ("worker",), "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("machines:\n- mac: a\n  host: b\n", "machines:\n- mac: a\n  host: b\n{lines}"),
        ("machines:\n    - mac: a\n# the end\n", "machines:\n    - mac: a\n    {lines}# the end\n"),
        ("machines:\n  - {mac: a}\nother: 1\n", "machines:\n  - {mac: a}\n  {lines}other: 1\n"),
        ("machines:\n  - mac: a", "machines:\n  - mac: a\n  {lines}"),
        ("machines:\n  - mac: a\n    labels:\n      b: c\n\n\nx: 1\n",
         "machines:\n  - mac: a\n    labels:\n      b: c\n  {lines}\n\nx: 1\n"),
        ("machines:\n  - {mac: a,\n     host: b}\n", "machines:\n  - {mac: a,\n     host: b}\n  {lines}"),
        ("machines:\r\n  - mac: a\r\n", "machines:\r\n  - mac: a\r\n  {lines}"),
    ],
)  # fmt: skip
def test_lines_go_after_the_last_machine(before: str, after: str) -> None:
    head, _, tail = after.partition("{lines}")
    spaces = head[len(head.rstrip(" ")) :]
    wanted = head.rstrip(" ") + "".join(spaces + line for line in LINES.splitlines(keepends=True)) + tail
    found = add_machine(before, LINES)
    assert found == wanted
    assert yaml.safe_load(found)["machines"][-1]["mac"] == MAC


@pytest.mark.parametrize("text", ["machines: [{mac: a}]\n", "machines: []\n", "machines:\n", "x: 1\n", "a: [\n", ""])
def test_a_form_that_takes_no_lines_is_said(text: str) -> None:
    with pytest.raises(Unfit):
        add_machine(text, LINES)


KEYS = st.sampled_from(["a", "b", "labels", "host"])
VALUES = st.one_of(
    st.sampled_from(["x", "'y # z'", '"q"', "[1, 2]", "{c: d}", "|\n            text\n            more"])
)


@settings(deadline=None)
@given(
    machines=st.lists(st.dictionaries(KEYS, VALUES, min_size=1), min_size=1, max_size=4),
    indent_by=st.integers(0, 4),
    after=st.sampled_from(["", "\n", "# the end\n", "other: 1\n", "\n\n# c\nother:\n  - 1\n"]),
)
def test_any_block_of_machines_keeps_every_line(machines: list[dict[str, str]], indent_by: int, after: str) -> None:
    spaces = " " * indent_by
    rows = [
        f"{spaces}{'- ' if number == 0 else '  '}{key}: {value}\n"
        for machine in machines
        for number, (key, value) in enumerate(machine.items())
    ]
    text = "x: 1\nmachines:\n" + "".join(rows) + after
    found = add_machine(text, LINES)
    assert found.replace("".join(spaces + line for line in LINES.splitlines(keepends=True)), "", 1) == text
    before, now = yaml.safe_load(text), yaml.safe_load(found)
    assert now["machines"] == [*before["machines"], *yaml.safe_load(LINES)]
    assert {key: value for key, value in now.items() if key != "machines"} == {
        key: value for key, value in before.items() if key != "machines"
    }
