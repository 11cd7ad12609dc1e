"""The admin plane of a real `serve`: by its Unix socket and by TCP, with curl as the client."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canaries import find_secrets, search
from wires import Machine, Rack, need, wait_for

pytestmark = pytest.mark.interop

EXAMPLE = Path(__file__).parents[2] / "cluster-desc.example.yaml"
SERVER = "10.10.14.253"
NODE1 = "00:25:90:c0:f7:80"


class AdminServing:
    """The server in its namespace, and a stranger beside it."""

    def __init__(self, rack: Rack, folder: Path, *more: str) -> None:
        self.description = folder / "cluster-desc.yaml"
        self.description.write_text(EXAMPLE.read_text())
        self.state = folder / "state"
        self.log = folder / "serve.log"
        self.server = rack.machine("srv", f"{SERVER}/24")
        self.other = rack.machine("other", "10.10.14.99/24")
        command = [sys.executable, "-m", "bootstrapper", "serve", str(self.description), "--state", str(self.state)]
        self.child = self.server.start(*command, *more, log=self.log)
        wait_for(lambda: self.child.poll() is not None or self.answers(), timeout=30, why=self.log.read_text)

    def answers(self) -> bool:
        return (self.state / "admin.sock").exists() and self.unix("/status", check=False).startswith("{")

    def unix(self, path: str, *more: str, check: bool = True) -> str:
        return self.server.run(
            "curl", "-s", "--max-time", "20", "--unix-socket", str(self.state / "admin.sock"), *more,
            f"http://localhost/api/v1{path}", check=check,
        )  # fmt: skip

    def tcp(self, path: str, *more: str, who: Machine | None = None, url: str = "http://127.0.0.1:8480") -> str:
        return (who or self.server).run(
            "curl", "-sk", "--max-time", "20", *more, f"{url}/api/v1{path}", check=False
        )  # fmt: skip

    @property
    def token(self) -> str:
        return (self.state / "admin.token").read_text().strip()

    @property
    def bearer(self) -> tuple[str, str]:
        return ("-H", f"Authorization: Bearer {self.token}")


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[AdminServing]:
    need("curl", "ip", "chronyd", "setpriv", "ss")
    with Rack("lb") as rack:
        made = AdminServing(rack, tmp_path)
        assert made.child.poll() is None, made.log.read_text()
        yield made


def put(body: Any) -> tuple[str, ...]:
    return ("-X", "PUT", "-H", "Content-Type: application/json", "-d", json.dumps(body))


def post(body: Any) -> tuple[str, ...]:
    return ("-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(body))


def test_the_socket_is_the_admins_and_tcp_wants_the_token(serving: AdminServing) -> None:
    for name in ("admin.sock", "admin.token"):
        assert stat.S_IMODE((serving.state / name).stat().st_mode) == 0o600
    assert json.loads(serving.unix("/machines"))[0]["mac"] == NODE1
    assert json.loads(serving.tcp("/machines"))["error"] == "log in first"
    assert json.loads(serving.tcp("/machines", *serving.bearer))[0]["mac"] == NODE1
    assert json.loads(serving.tcp("/machines", "-H", f"Authorization: Bearer {'A' * 43}"))["error"] == "log in first"
    rebound = serving.tcp("/machines", *serving.bearer, "-H", "Host: evil.example.com")
    assert "not this server's" in json.loads(rebound)["error"]


def test_nobody_else_reaches_it(serving: AdminServing) -> None:
    listening = serving.server.run("ss", "-lntH")
    assert "127.0.0.1:8480" in listening
    assert serving.tcp("/machines", *serving.bearer, who=serving.other, url=f"http://{SERVER}:8480") == ""
    for path in ("/api/v1/machines", "/login", "/static/admin.css"):
        reply = serving.other.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{SERVER}{path}")
        assert reply == "404", "the machine plane knows nothing of it"


def test_an_order_by_the_socket_names_its_user_in_the_audit_log(serving: AdminServing) -> None:
    told = json.loads(serving.unix("/machines/node1/orders", *post({"order": "hold", "reason": "new memory"})))
    assert told["machine"]["state"] == "held"
    entry = json.loads(serving.unix("/audit"))[-1]
    assert (entry["who"], entry["what"], entry["target"], entry["outcome"]) == (
        "root by the socket", "order hold", "node1", "done",
    )  # fmt: skip
    script = serving.server.run("curl", "-s", f"http://{SERVER}/boot.ipxe?mac={NODE1}&arch=7")
    assert "kernel" not in script, "the boot plane obeys at once"


HANG_UP = """
import socket, sys
for _ in range(50):
    with socket.create_connection(("127.0.0.1", 8480)) as sock:
        sock.sendall(sys.argv[1].encode())
"""
"Orders without waiting for an answer: an end that is closed belongs to nobody, uid 0 by the kernel's table."


def test_a_cookie_that_another_user_of_the_host_read_is_of_no_use(serving: AdminServing, tmp_path: Path) -> None:
    """Browsers send it to every port of the host: a server of that user's there need only wait for the admin."""
    need("/usr/bin/python3")  # one that any user may run
    jar = tmp_path / "cookie"
    reply = serving.tcp("/session", *post({"token": serving.token}), "-c", str(jar))
    session = jar.read_text().split()[-1]
    cookie = ("-H", f"Cookie: bootstrapper_session={session}")
    csrf = ("-H", f"X-CSRF-Token: {json.loads(reply)['csrf']}")
    assert json.loads(serving.tcp("/machines", *cookie))[0]["mac"] == NODE1
    thief = ("setpriv", "--reuid", "4000", "--regid", "4000", "--clear-groups")
    order = json.dumps({"order": "hold", "reason": "x"})
    lines = ("POST /api/v1/machines/node1/orders HTTP/1.1", "Host: 127.0.0.1", cookie[1], csrf[1],
             "Content-Type: application/json", f"Content-Length: {len(order)}", "", order)  # fmt: skip
    serving.server.run(*thief, "/usr/bin/python3", "-c", HANG_UP, "\r\n".join(lines))
    said = serving.server.run(
        *thief, "curl", "-s", "--max-time", "20", *cookie, *csrf, *post({"order": "hold", "reason": "x"}),
        "http://127.0.0.1:8480/api/v1/machines/node1/orders",
    )  # fmt: skip
    assert json.loads(said)["error"] == "log in first"
    assert json.loads(serving.tcp("/machines/node1", *serving.bearer))["held"] == ""
    assert json.loads(serving.tcp("/machines", *cookie))["error"] == "log in first", "it has ended for everybody"
    entry = json.loads(serving.unix("/audit"))[-1]
    assert (entry["who"], entry["detail"]) == (
        "somebody from 127.0.0.1, uid 4000", "the session is that of 127.0.0.1, root: it ends",
    )  # fmt: skip


def find_links(answer: str) -> set[str]:
    """Addresses of this site in a page, and of the API in its document."""
    if answer.startswith('{"openapi"'):
        paths = json.loads(answer)["paths"]
        return {
            re.sub("{(.+?)}", lambda found: VALUES[found[1]], f"{path}")
            for path, methods in paths.items()
            if "get" in methods and "stream" not in path
        }
    return {html.unescape(link) for link in re.findall(r'(?:href|data-url)="(/[^"]*)"', answer)}


VALUES = {"name": "node1", "output": "cloud-config", "number": "1", "mac": NODE1}


def test_no_answer_has_a_secret_of_the_state(serving: AdminServing) -> None:
    """Every page and every GET of the API, as the admin; with an install open, the cluster's keys made, a session."""
    serving.tcp("/session", *post({"token": serving.token}))
    serving.unix("/machines/node1/orders", *post({"order": "hold", "reason": "x"}))
    serving.server.run("curl", "-s", f"http://{SERVER}/boot.ipxe?mac={NODE1}&arch=7")
    secrets = find_secrets(serving.state)
    secrets["what the registry is known by"] = (serving.state / "registry/notify.token").read_bytes()
    assert len(secrets) > 12, sorted(secrets)
    answers: dict[str, bytes] = {}
    todo = {"/", "/api/v1/openapi.json"}
    while todo:
        path = todo.pop()
        reply = serving.server.run(
            "curl", "-s", "--globoff", "--max-time", "20", "-w", "\n%{http_code}", *serving.bearer,
            "-H", "Accept: text/html", f"http://127.0.0.1:8480{path}",
        )  # fmt: skip
        text, _, status = reply.rpartition("\n")
        assert status in ("200", "303", "404"), f"{path}: {status}"
        answers[path] = text.encode()
        todo |= find_links(text) - set(answers)
        assert len(answers) < 400
    for path in (
        "/api/v1/machines/node1",
        "/api/v1/certificates",
        "/audit",
        "/api/v1/machines/node1/config/cloud-config",
    ):
        assert len(answers[path]) > 100, sorted(answers)
    assert len([path for path in answers if re.match("/machines/.+output=", path)]) > 10, sorted(answers)
    assert search(secrets, answers) == []
    assert search({"planted": secrets["admin.token"]}, {"x": b'{"x": "' + secrets["admin.token"]}) == ["planted in x"]


def test_a_description_saved_here_is_in_force_everywhere(serving: AdminServing) -> None:
    shown = json.loads(serving.unix("/description"))
    assert shown["in_force"]
    assert shown["writable"]
    text = shown["text"].replace("host: node2", "host: renamed")
    saved = json.loads(serving.unix("/description", *put({"text": text, "base_revision": 1})))
    assert (saved["revision"], saved["in_force"]) == (2, True)
    wait_for(lambda: "renamed" in serving.unix("/machines"), timeout=20)
    assert serving.description.read_text() == text
    assert [each["revision"] for each in json.loads(serving.unix("/description/revisions"))] == [2, 1]
    # The socket is the same one, over any number of reloads, and nobody removed its file.
    assert (serving.state / "admin.sock").exists()
    refused = json.loads(serving.unix("/description", *put({"text": text + "# x\n", "base_revision": 1})))
    assert "somebody else" in refused["error"]


def test_a_saved_replacement_of_a_card_keeps_the_machines_life(serving: AdminServing) -> None:
    """The reload compares with the description before: had the save kept the new one already, node4 would be unknown
    by its new first MAC, and installed."""
    line = '{mac: "00:25:90:c0:f6:ee", host: node4, roles: [worker]}'
    both = '{macs: ["00:25:90:c0:f6:ee", "52:54:00:00:00:02"], host: node4, roles: [worker]}'
    after = '{macs: ["52:54:00:00:00:02", "52:54:00:00:00:03"], host: node4, roles: [worker]}'
    for old, new in ((line, both), (both, after)):
        if new == after:
            serving.unix("/machines/node4/orders", *post({"order": "hold", "reason": "it works"}))
        shown = json.loads(serving.unix("/description"))
        assert old in shown["text"]
        body = {
            "text": shown["text"].replace(old, new),
            "base_revision": shown["revision"],
            "base_digest": shown["digest"],
        }
        assert json.loads(serving.unix("/description", *put(body)))["in_force"] is True
    wait_for(lambda: '"52:54:00:00:00:03"' in serving.unix("/machines"), timeout=20)
    found = json.loads(serving.unix("/machines/node4"))
    assert (found["mac"], found["state"], found["held"]) == ("52:54:00:00:00:02", "held", "it works")
    assert json.loads(serving.unix("/description/revisions"))[0]["note"] == "saved by root by the socket"


def test_followers_see_events_at_once_and_do_not_stop_the_server(serving: AdminServing, tmp_path: Path) -> None:
    seen = tmp_path / "stream"
    with seen.open("w"):
        serving.server.start(
            "curl", "-sN", "--unix-socket", str(serving.state / "admin.sock"), "-o", str(seen),
            "http://localhost/api/v1/events/stream?machine=node1",
        )  # fmt: skip
    wait_for(lambda: "retry:" in seen.read_text())
    serving.server.run("curl", "-s", f"http://{SERVER}/boot.ipxe?mac={NODE1}&arch=7")
    wait_for(lambda: '"mac": "00:25:90:c0:f7:80"' in seen.read_text(), timeout=10)
    assert serving.server.stop(serving.child) == 0
    assert "killed" not in serving.log.read_text()


def test_a_new_token_by_a_reload_ends_the_old_one(serving: AdminServing) -> None:
    old = serving.bearer
    (serving.state / "admin.token").unlink()
    os.kill(serving.child.pid, signal.SIGHUP)
    wait_for(lambda: (serving.state / "admin.token").exists(), timeout=20)
    wait_for(lambda: "prod" in serving.tcp("/status", *serving.bearer), timeout=20)
    assert serving.bearer != old
    wait_for(lambda: json.loads(serving.tcp("/status", *old)).get("error") == "log in first", timeout=20)


def test_a_second_server_and_a_dead_ones_socket(serving: AdminServing, tmp_path: Path) -> None:
    serving.child.kill()
    serving.child.wait()
    wait_for(lambda: serving.server.pids() == [], timeout=30)
    assert (serving.state / "admin.sock").exists(), "left behind"
    command = [sys.executable, "-m", "bootstrapper", "serve", str(serving.description), "--state", str(serving.state)]
    again = serving.server.start(*command, log=serving.log)
    wait_for(lambda: serving.unix("/status", check=False).startswith("{"), timeout=30)
    assert again.poll() is None


def test_beyond_loopback_it_speaks_tls_by_our_identity(tmp_path: Path) -> None:
    need("curl", "ip", "chronyd")
    with Rack("lbt") as rack:
        serving = AdminServing(rack, tmp_path, "--admin", f"{SERVER}:8480")
        assert serving.child.poll() is None, serving.log.read_text()
        trusted = ("--cacert", str(serving.state / "pki" / "authority.pem"))
        reply = serving.other.run(
            "curl", "-s", "--max-time", "20", *trusted, *serving.bearer, f"https://{SERVER}:8480/api/v1/status"
        )
        assert json.loads(reply)["cluster"] == "prod", reply
        assert serving.tcp("/status", *serving.bearer, url=f"http://{SERVER}:8480", who=serving.other) == ""
        assert json.loads(serving.unix("/status"))["cluster"] == "prod", "the socket needs no TLS"
        cookie = serving.other.run(
            "curl", "-sk", "-D", "-", "-o", "/dev/null", *post({"token": serving.token}),
            f"https://{SERVER}:8480/api/v1/session",
        )  # fmt: skip
        assert "Secure; HttpOnly" in cookie
        assert "SameSite=Strict" in cookie


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("0.0.0.0:8480", "no certificate can be for 0.0.0.0"),
        ("everywhere", "expected an IPv4 address and a port"),
        ("127.0.0.1:99999", "expected a port from 1 to 65535"),
        ("10.9.9.9:8480", "this host no longer has the address"),
    ],
)
def test_a_place_that_cannot_be(tmp_path: Path, place: str, message: str) -> None:
    need("ip")
    with Rack("lbp") as rack:
        server = rack.machine("srv", f"{SERVER}/24")
        said = server.run(
            sys.executable, "-m", "bootstrapper", "serve", str(EXAMPLE), "--state", str(tmp_path / "s"),
            "--admin", place, check=False,
        )  # fmt: skip
        assert message in said, said
        assert "Traceback" not in said


def test_off_leaves_the_socket_alone(tmp_path: Path) -> None:
    need("curl", "ip", "chronyd", "ss")
    with Rack("lbo") as rack:
        serving = AdminServing(rack, tmp_path, "--admin", "off")
        assert json.loads(serving.unix("/status"))["listens"] is None
        assert ":8480" not in serving.server.run("ss", "-lntH")
