"""The pages as a browser without scripts sees them: what they show, what their forms do, and that nothing escapes."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from adminplane import TOKEN, AdminPlane
from pages_site import HOSTILE, NODE1, NODE3, NODE4, NODE5, STRANGER, Visitor, fill

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.load import load
from bootstrapper.errors import UserError
from bootstrapper.state.store import Sighting
from bootstrapper.web.admin import pages
from bootstrapper.web.admin.pages_reply import NEXT, SAID

PAGES = ("/", "/machines/node1", "/machines/node2?output=cloud-config", "/unknown", "/description", "/events", "/audit",
         "/certificates", "/status", "/description/versions?show=1", f"/description?adopt={STRANGER}")  # fmt: skip
VOID = {"meta", "link", "input", "img", "rect", "circle", "br"}


@pytest.fixture
def visitor(admin: AdminPlane) -> Visitor:
    fill(admin, admin.clock)
    made = Visitor(admin.browser())
    assert made.log_in(TOKEN).headers["Location"] == "/"
    return made


class Tags(HTMLParser):
    """Start tags of a page; unclosed elements are a fault."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, self.getpos()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_needs_nobody_else(visitor: Visitor, path: str) -> None:
    tags = Tags(visitor.get(path))
    for tag, attrs in tags.found:
        assert "style" not in attrs, (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        for name in ("href", "src", "action"):
            address = attrs.get(name)
            assert address is None or re.match("[/#](?!/)", address), (tag, attrs)
    assert [attrs for attrs in tags.all("script") if not attrs.get("src")] == []
    assert tags.all("style") == []
    assert len(tags.all("h1")) == 1
    assert next(attrs["href"] for attrs in tags.all("a")) == "#main"
    posting = [attrs for attrs in tags.all("form") if attrs.get("method") == "post"]
    assert len(posting) == sum(attrs.get("name") == "csrf" for attrs in tags.all("input"))


@pytest.mark.parametrize("path", PAGES)
def test_every_field_has_a_name_for_a_reader(visitor: Visitor, path: str) -> None:
    tags = Tags(visitor.get(path))
    labelled = {attrs.get("for") for attrs in tags.all("label")}
    for tag in ("input", "select", "textarea"):
        for attrs in tags.all(tag):
            assert attrs.get("type") == "hidden" or "aria-label" in attrs or attrs.get("id") in labelled, attrs
    for attrs in tags.all("th"):
        assert attrs.get("scope") == "col"
    ids = [attrs["id"] for _tag, attrs in tags.found if "id" in attrs]
    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("path", [*PAGES, "/live/rack", "/live/events", "/nothing"])
def test_without_a_login_there_is_only_the_door(admin: AdminPlane, path: str) -> None:
    reply = admin.browser().get(path, headers={"Accept": "text/html"})
    assert (reply.status_code, reply.headers["Location"].split("?")[0]) == (303, "/login")


@pytest.mark.parametrize(
    ("asked", "then"),
    [
        ("/machines/node2?output=cloud-config", "/machines/node2?output=cloud-config"),
        ("/?state=failed&q=10.10", "/?state=failed&q=10.10"),
        (f"/description?adopt={STRANGER}", f"/description?adopt={STRANGER}"),
        ("/", "/"),
        ("/live/rack", "/"),
        ("/nothing", "/"),
    ],
)
def test_who_logs_in_comes_to_the_page_that_was_asked_for(admin: AdminPlane, asked: str, then: str) -> None:
    client = admin.browser()
    door = client.get(asked).headers["Location"]
    form = re.search(r'action="(/login[^"]*)"', client.get(door).text)
    assert form is not None
    action = html.unescape(form[1])
    assert client.post(action, data={"token": "nonsense"}).status_code == 401
    assert client.post(action, data={"token": TOKEN}).headers["Location"] == then
    assert client.get(door).headers["Location"] == then


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/logout", "/machines/../../x", "/events\r\nX: y",
     "/events#x", "/machines/a/orders", "javascript:alert(1)", "/status/" + "a" * 300, "/?q=%0d%0aX", ""],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_by_a_link_to_the_door(admin: AdminPlane, wanted: str) -> None:
    reply = admin.browser().post("/login", query_string={"next": wanted}, data={"token": TOKEN})
    place = reply.headers["Location"]
    assert place == ("/" if not wanted.startswith("/?") else "/?q=%0d%0aX")
    assert "X" not in reply.headers


def test_the_door_tells_nothing_of_the_cluster(admin: AdminPlane) -> None:
    text = admin.browser().get("/login").text
    assert "prod" not in text
    assert 'type="password"' in text


def test_logging_in_and_out(admin: AdminPlane) -> None:
    visitor = Visitor(admin.browser())
    wrong = visitor.log_in("nonsense")
    assert (wrong.status_code, "This is not the token." in wrong.text) == (401, True)
    assert "Set-Cookie" not in wrong.headers
    assert visitor.log_in(f" {TOKEN}\n").status_code == 303
    assert visitor.client.get("/login").headers["Location"] == "/"
    assert visitor.post("/logout").headers["Location"] == "/login"
    assert visitor.client.get("/").headers["Location"] == "/login"


def test_too_many_wrong_tokens(admin: AdminPlane) -> None:
    visitor = Visitor(admin.browser())
    for _ in range(5):
        assert visitor.log_in("nonsense").status_code == 401
    reply = visitor.log_in("nonsense")
    assert (reply.status_code, "wait 60 seconds" in reply.text) == (429, True)


def test_headers_of_every_page(visitor: Visitor) -> None:
    reply = visitor.client.get("/")
    policy = reply.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert reply.headers["Cache-Control"] == "no-store"


def test_static_files_are_kept_by_their_digest(visitor: Visitor) -> None:
    (sheet,) = [attrs for attrs in Tags(visitor.get("/")).all("link") if attrs["rel"] == "stylesheet"]
    reply = visitor.client.get(str(sheet["href"]))
    assert "max-age=31536000" in reply.headers["Cache-Control"]
    digest = pages.digest_file(Path(pages.__file__).parent / "static" / "admin.css")
    assert str(sheet["href"]).endswith(f"v={digest}")
    assert visitor.client.get("/static/live.js").headers["Cache-Control"] == "no-cache"


# -- the rack ---------------------------------------------------------------------------------------------------------


def test_the_rack_at_a_glance(visitor: Visitor) -> None:
    text = visitor.get("/")
    tags = Tags(text)
    rows = {attrs["id"]: attrs["data-state"] for attrs in tags.all("tr") if attrs.get("id", "").startswith("m-")}
    assert list(rows.values()) == ["joined", "installing", "failed", "held", "armed"]
    assert [attrs["value"] for attrs in tags.all("progress")] == ["43"]
    assert "writing the image 43 %" in text
    assert "memory is being replaced" in text
    assert "it has an address and a file name, and never asked for the file" in text
    assert 'aria-label="1 failed, 1 on hold, 1 installing, 1 joined, 1 armed"' in text


@pytest.mark.parametrize(
    ("query", "shown"),
    [("state=held", ["node4"]), ("role=master&q=node2", ["node2"]), ("q=LVM", ["node3"]), ("q=nothing", []),
     ("state=%3Cscript%3E", []), ("q=%22%3E%3Cscript%3E", [])],
)  # fmt: skip
def test_filters_without_scripts(visitor: Visitor, query: str, shown: list[str]) -> None:
    text = visitor.get(f"/?{query}")
    rows = re.findall(r"<tr id=\"m-[^>]*?( hidden)?>.*?class=\"host\"[^>]*>([^<]*)<", text)
    assert [host for hidden, host in rows if not hidden] == shown
    assert ("No machine matches" in text.split('id="none"')[1].split("</div>")[0]) and (
        ('id="none" hidden' in text) == bool(shown)
    )
    assert "<script>" not in text


def test_what_changed_is_sent_as_rows(admin: AdminPlane, visitor: Visitor) -> None:
    text = visitor.get("/")
    found = re.search(r'id="rack" data-version="(\w+)"', text)
    warned = re.search(r'data-warned="(\w+)"', text)
    assert found is not None and warned is not None
    live = f"/live/rack?warned={warned[1]}&version={found[1]}"
    assert visitor.client.get(live).json == {
        "version": found[1], "anew": False, "rows": "", "summary": "", "warned": warned[1]
    }  # fmt: skip
    admin.store.change_history(NODE5, lambda kept: History(1, 0, MachineState.BOOTING, admin.clock))
    admin.clock += 1
    answer = visitor.client.get(live).json
    assert answer is not None
    assert re.findall(r'<tr id="(\S+)" data-state="(\w+)"', answer["rows"]) == [("m-002590c0f6d6", "booting")]
    assert "booting <b>1</b>" in answer["summary"]
    assert visitor.client.get("/live/rack?version=0").json["anew"] is True  # type: ignore[index]


# -- one machine ------------------------------------------------------------------------------------------------------


def test_a_machine_with_its_boots(visitor: Visitor) -> None:
    text = visitor.get("/machines/node3")
    assert "/dev/sda holds data that is not ours" in text
    assert text.count('class="boot"') == 1
    assert re.findall(r'class="tag">(\w+)<', text)[:5] == ["dhcp", "pxe", "tftp", "http", "installer"]
    assert "+40.0 s" in text


def test_a_machine_has_a_named_cause(visitor: Visitor) -> None:
    diagnosis = visitor.get(f"/machines/{NODE5}").split('id="diagnosis"')[1].split("</section>")[0]
    assert "<h2" in diagnosis
    assert "Cause <span" in diagnosis


def test_its_configuration_without_secrets(admin: AdminPlane, visitor: Visitor) -> None:
    text = visitor.get("/machines/node1?output=cloud-config")
    assert "#cloud-config" in text
    assert "PRIVATE KEY" not in text
    assert "#cloud-config" not in visitor.get("/machines/node1?output=cloud-config&live=1")
    assert "Choose a text" in visitor.get("/machines/node1?output=../../etc/passwd")


def find_state(admin: AdminPlane, mac: str) -> History:
    return admin.store.find_history(mac)


def test_hold_and_release(admin: AdminPlane, visitor: Visitor) -> None:
    reply = visitor.post(f"/machines/{NODE1}/orders", order="hold", reason="a new disk <b>")
    assert (reply.status_code, reply.headers["Location"]) == (303, f"/machines/{NODE1}?said=hold")
    assert find_state(admin, NODE1).held == "a new disk <b>"
    text = visitor.get(reply.headers["Location"])
    assert "It is on hold." in text
    assert "a new disk &lt;b&gt;" in text
    assert visitor.post("/machines/node1/orders", order="release").status_code == 303
    assert find_state(admin, NODE1).held == ""


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"order": "reinstall"}, 400),
        ({"order": "reinstall", "confirm": "node2"}, 400),
        ({"order": "reinstall", "confirm": "node1", "wipe": "yes"}, 400),
        ({"order": "forget", "confirm": "NODE1"}, 400),
        ({"order": "format"}, 400),
        ({}, 400),
        ({"order": "install"}, 422),
        ({"order": "release"}, 422),
    ],
)
def test_an_order_that_is_refused_changes_nothing(
    admin: AdminPlane, visitor: Visitor, fields: dict[str, str], status: int
) -> None:
    before = find_state(admin, NODE1)
    reply = visitor.post("/machines/node1/orders", **fields)
    assert reply.status_code == status
    assert 'class="notice bad" role="alert"' in reply.text
    assert "<h1>node1</h1>" in reply.text
    assert find_state(admin, NODE1) == before


@pytest.mark.parametrize(
    ("fields", "wipe"), [({"confirm": "node1"}, False), ({"confirm": "erase node1", "wipe": "yes"}, True)]
)
def test_a_confirmed_reinstall(admin: AdminPlane, visitor: Visitor, fields: dict[str, str], wipe: bool) -> None:
    reply = visitor.post("/machines/node1/orders", order="reinstall", **fields)
    assert reply.status_code in (200, 303)
    history = find_state(admin, NODE1)
    assert (history.wanted, history.done, history.wipe) == (2, 1, wipe)


def test_a_machine_moves_to_another_card(admin: AdminPlane, visitor: Visitor) -> None:
    assert "is not a MAC" in visitor.post("/machines/node4/move", to="nonsense").text
    reply = visitor.post("/machines/node4/move", to="00:25:90:c0:f6:ef")
    assert reply.status_code == 303
    assert find_state(admin, "00:25:90:c0:f6:ef").held == "memory is being replaced"
    assert find_state(admin, NODE4).forgotten


@pytest.mark.parametrize("path", ["/machines/node1/orders", "/description", f"/unknown/{STRANGER}/dismiss", "/logout",
                                  "/machines/node1/move", "/description/versions/1/restore"])  # fmt: skip
@pytest.mark.parametrize("csrf", [{}, {"csrf": "0" * 64}])
def test_no_form_without_its_token(visitor: Visitor, path: str, csrf: dict[str, str]) -> None:
    data = {"order": "hold", "reason": "x", "do": "save", "to": STRANGER, **csrf}
    reply = visitor.client.post(path, data=data, headers={"Accept": "text/html"})
    assert reply.status_code == 403
    assert "load the page again" in reply.text
    assert reply.mimetype == "text/html"


@pytest.mark.parametrize(
    "path", ["/machines/nobody", "/nothing", "/machines/node1/config", "/description/versions?show=99"]
)
def test_a_page_that_is_not_there(visitor: Visitor, path: str) -> None:
    reply = visitor.client.get(path, headers={"Accept": "text/html"})
    assert (reply.status_code, reply.mimetype) == (404, "text/html")
    Tags(reply.text)
    assert visitor.client.get(path, headers={"Accept": "application/json"}).mimetype == "application/json"
    assert visitor.client.get(f"/api/v1{path}", headers={"Accept": "text/html"}).mimetype == "application/json"


# -- hostile machines -------------------------------------------------------------------------------------------------


def test_nothing_of_a_machine_is_markup(admin: AdminPlane, visitor: Visitor) -> None:
    admin.store.save_history(NODE3, History(1, 0, MachineState.FAILED, admin.clock, reason=HOSTILE))
    admin.store.save_history(NODE4, History(1, 1, MachineState.HELD, admin.clock, held=HOSTILE, reason=HOSTILE))
    admin.store.add_events(
        [Event(admin.clock, mac, HOSTILE, HOSTILE, HOSTILE, "error") for mac in (NODE3, "", HOSTILE)]
    )
    admin.store.save_sightings([Sighting(STRANGER, 1, 2, 3, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)])
    admin.missing = {NODE5: (HOSTILE,)}
    visitor.post("/machines/node1/orders", order="hold", reason=HOSTILE)
    visitor.post(f"/machines/{HOSTILE[:8]}/orders", order="hold")
    paths = [*PAGES, "/machines/node3", "/machines/node4", f"/machines/{NODE5}", "/live/rack?version=0", "/live/events",
             f"/?q={HOSTILE}", f"/events?machine={HOSTILE}", f"/machines/node3?output={HOSTILE}&said={HOSTILE}",
             f"/description?adopt={HOSTILE}"]  # fmt: skip
    for path in paths:
        text = visitor.client.get(path, headers={"Accept": "text/html"}).text
        assert "<script>" not in text, path
        assert "<img" not in text, path
        assert "49" not in re.findall(r"&#39;(\d+)", text), path


# -- unknown machines -------------------------------------------------------------------------------------------------


def test_unknown_machines(admin: AdminPlane, visitor: Visitor) -> None:
    text = visitor.get("/unknown")
    assert "QEMU virtual NIC" in text
    assert "Super Micro Computer, Inc." in text
    assert "Approve" not in text
    reply = visitor.post(f"/unknown/{STRANGER}/dismiss")
    assert reply.headers["Location"] == "/unknown?said=dismiss"
    assert STRANGER not in visitor.get("/unknown")
    assert visitor.post(f"/unknown/{STRANGER}/dismiss").status_code == 404


def test_one_click_puts_a_machine_into_the_editor(visitor: Visitor) -> None:
    text = visitor.get(f"/description?adopt={STRANGER}")
    editor = text.split("<textarea")[1].split("</textarea>")[0]
    assert "  - mac: &#34;52:54:00:12:34:56&#34;\n    host: node6\n" in editor
    assert "is not saved yet" in text
    refused = visitor.client.get(f"/description?adopt={NODE1}")
    assert "is in the description already" in refused.text
    assert "<textarea" in refused.text


# -- the description --------------------------------------------------------------------------------------------------


def find_field(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found is not None, name
    return found[1]


def review(visitor: Visitor, text: str) -> str:
    start = visitor.get("/description")
    bases = {name: find_field(start, name) for name in ("base_revision", "base_digest")}
    reply = visitor.post("/description", do="review", text=text.replace("\n", "\r\n"), reviewed="", **bases)
    assert reply.status_code == 200, reply.text
    return reply.text


def save(visitor: Visitor, text: str, reviewed: str) -> tuple[int, str]:
    fields = {name: find_field(reviewed, name) for name in ("base_revision", "base_digest", "reviewed")}
    reply = visitor.post("/description", do="save", text=text.replace("\n", "\r\n"), **fields)
    return reply.status_code, reply.text


def test_a_change_is_looked_at_then_saved_then_taken_back(admin: AdminPlane, visitor: Visitor) -> None:
    old = admin.file.read_text()
    new = old.replace("host: node4", "host: node44")
    looked = review(visitor, new)
    assert admin.file.read_text() == old
    assert "node44" in looked.split('id="plan"')[1]
    assert 'class="removed"' in looked
    assert save(visitor, new, looked)[0] == 303
    assert admin.file.read_text() == new
    admin.cluster = load(new, "cluster-desc.yaml")  # as `serve` does when the file is saved
    versions = visitor.get("/description/versions?show=2")
    assert "From revision 1 to 2" in versions
    assert "host: node44" in versions
    assert "Restore" not in versions  # it is the one in force
    earlier = visitor.get("/description/versions?show=1&against=2")
    assert "What restoring revision 1 changes" in earlier
    assert "host: node44 -&gt; node4" in earlier.split('id="plan"')[1]
    assert visitor.post("/description/versions/1/restore").headers["Location"] == "/description/versions?said=restored"
    assert admin.file.read_text() == old


def test_another_text_than_the_one_looked_at_is_not_saved(admin: AdminPlane, visitor: Visitor) -> None:
    old = admin.file.read_text()
    looked = review(visitor, old.replace("host: node4", "host: node44"))
    status, text = save(visitor, old.replace("host: node4", "host: node45"), looked)
    assert (status, 'id="plan"' in text) == (200, True)
    assert admin.file.read_text() == old


def test_problems_have_their_line(admin: AdminPlane, visitor: Visitor) -> None:
    text = admin.file.read_text().replace("roles: [worker]}", "roles: [worke]}", 1)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "[worke]" in each)
    reply = visitor.post("/description", do="review", text=text)
    assert reply.status_code == 422
    assert f'data-line="{line}">line {line}</button>' in reply.text
    assert "roles: [worke]}" in reply.text
    assert re.search(r'value="save"[^>]* disabled', reply.text)


def test_somebody_else_was_faster(admin: AdminPlane, visitor: Visitor) -> None:
    old = admin.file.read_text()
    mine, theirs = old.replace("host: node4", "host: mine4"), old.replace("host: node4", "host: theirs4")
    looked = review(visitor, mine)
    other = Visitor(admin.browser())
    other.log_in(TOKEN)
    assert save(other, theirs, review(other, theirs))[0] == 303
    status, text = save(visitor, mine, looked)
    assert status == 409
    assert "changed by somebody else" in text
    assert "theirs4" in text.split('id="theirs-title"')[1].split("</section>")[0]
    assert "mine4" in text.split("<textarea")[1]
    assert admin.file.read_text() == theirs
    # from here on it is based on theirs
    reply = visitor.post("/description", do="review", text=mine, base_revision=find_field(text, "base_revision"),
                         base_digest=find_field(text, "base_digest"))  # fmt: skip
    assert save(visitor, mine, reply.text)[0] == 303
    assert admin.file.read_text() == mine


def test_what_needs_a_restart_is_said(admin: AdminPlane, visitor: Visitor) -> None:
    text = (
        admin.file.read_text()
        .replace("port: 5000", "port: 5001")
        .replace("bootstrapper: 10.10.14.253", "bootstrapper: 10.10.14.252")
    )
    status, page = save(visitor, text, review(visitor, text))
    assert (status, "It is in force when the server is started again" in page) == (200, True)
    assert admin.file.read_text() == text


# -- events, audit, status --------------------------------------------------------------------------------------------


def test_events_and_what_is_new(admin: AdminPlane, visitor: Visitor) -> None:
    text = visitor.get("/events?machine=node3&level=error")
    assert text.count("<tr><td") == 1
    after = find_number(text)
    admin.store.add_events([Event(admin.clock, NODE3, "dhcp", "offer", "10.10.14.13", "info")])
    assert visitor.client.get(f"/live/events?machine=node3&after={after}").json["rows"].count("<tr>") == 1  # type: ignore[index]
    assert visitor.client.get(f"/live/events?machine=node3&level=error&after={after}").json["rows"] == ""  # type: ignore[index]
    assert "there is no machine" in visitor.get("/events?machine=nobody")


def find_number(text: str) -> int:
    found = re.search(r'data-after="(\d+)"', text)
    assert found is not None
    return int(found[1])


def test_the_audit_log_says_who_did_what(visitor: Visitor) -> None:
    visitor.post("/machines/node1/orders", order="hold", reason="why not")
    visitor.post("/machines/node1/orders", order="install")
    text = visitor.get("/audit")
    assert "order hold" in text
    assert "session from" in text
    assert "refused</span>" in text


def test_status_says_what_is_missing(visitor: Visitor) -> None:
    text = visitor.get("/status")
    assert "flatcar_production_image.bin.bz2" in text
    assert "prod.example.com" in text


def test_what_is_typed_outlives_a_disk_that_is_full(
    admin: AdminPlane, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = admin.file.read_text()
    new = old + "# mine\n"
    looked = visitor.post("/description", text=new, do="review")
    fields = {name: html.unescape(value) for name, value in
              re.findall(r'name="(base_revision|base_digest|reviewed)" value="([^"]*)"', looked.text)}  # fmt: skip

    def write(path: Path, text: str) -> None:
        raise UserError(f"{path} cannot be written: No space left on device", "make room")

    monkeypatch.setattr("bootstrapper.web.admin.editor.write_whole", write)
    reply = visitor.post("/description", text=new, do="save", **fields)
    assert reply.status_code == 503
    assert "No space left on device" in reply.text
    assert "# mine" in reply.text
    assert admin.file.read_text() == old


@pytest.mark.parametrize("broken", [b"\xff\xfe\x00", None])
def test_a_file_that_cannot_be_read_is_put_right_from_the_page(
    admin: AdminPlane, visitor: Visitor, broken: bytes | None
) -> None:
    old = admin.file.read_text()
    if broken is None:
        admin.file.unlink()
    else:
        admin.file.write_bytes(broken)
    for path in ("/description", "/description/versions"):
        reply = visitor.client.get(path, headers={"Accept": "text/html"})
        assert reply.status_code == 200, path
    text = visitor.get("/description")
    assert "the description in force: saving it puts it in the file&#39;s place" in text
    looked = visitor.post("/description", text=old, do="review").text
    fields = dict(re.findall(r'name="(base_revision|base_digest|reviewed)" value="([^"]*)"', looked))
    assert visitor.post("/description", text=old, do="save", **fields).status_code in (200, 303)
    assert admin.file.read_text() == old


def test_an_order_of_an_admin_is_no_sign_of_life(admin: AdminPlane, visitor: Visitor) -> None:
    admin.store.add_events([Event(admin.clock - 5, "52:54:00:00:00:01", "state", "state", "armed -> held")])
    admin.file.write_text(admin.file.read_text() + '  - {mac: "52:54:00:00:00:01", host: node6, roles: [worker]}\n')
    admin.cluster = load(admin.file.read_text(), "cluster-desc.yaml")
    assert '<dt>Last heard</dt><dd><span class="soft">never</span></dd>' in visitor.get("/machines/node6")


@pytest.mark.parametrize(
    ("said", "words"),
    [("install", "Restart it now"), ("wipe", "Restart it now"), ("hold", "until you release it"),
     ("saved", "What needs a reinstall goes on as it is"), ("forget", "as soon as the cluster answers")],
)  # fmt: skip
def test_what_was_done_says_what_is_next(visitor: Visitor, said: str, words: str) -> None:
    assert words in visitor.get(f"/machines/node1?said={said}")
    assert set(NEXT) <= set(SAID)
    assert 'id="notice"' not in visitor.get("/machines/node1?said=%3Cb%3E")


def test_more_events_are_a_click_away(admin: AdminPlane, visitor: Visitor) -> None:
    admin.store.add_events([Event(admin.clock, NODE1, "dhcp", "ack", f"number {number}") for number in range(1100)])
    assert visitor.get("/events").count('data-clock="') == 300
    assert "Look at 1000" in visitor.get("/events?machine=node1")
    most = visitor.get("/events?most=1000")
    assert most.count('data-clock="') == 1000
    assert "Look at" not in most
