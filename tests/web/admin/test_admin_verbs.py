"""The verbs that talk to a running server, over a real Unix socket, as an admin types them."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler

import pytest
from adminplane import NODE1, AdminPlane
from click.testing import CliRunner, Result

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cli import main
from bootstrapper.cli_views import clean, tell_age
from bootstrapper.state.store import Sighting

pytestmark = pytest.mark.loopback
STRANGER = "52:54:00:00:00:99"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    plane: AdminPlane


class Handler(WSGIRequestHandler):
    """One request of a Unix socket's; says which socket it is, as the real server does."""

    server: Any

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if self.parse_request():
            handler = SimpleHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=True)
            handler.run(self.server.plane.app)

    def get_environ(self) -> dict[str, Any]:
        environ = {"SERVER_NAME": "localhost", "SERVER_PORT": "0", "SERVER_PROTOCOL": "HTTP/1.0",
                   "REQUEST_METHOD": self.command, "REMOTE_ADDR": "", "gunicorn.socket": self.connection}  # fmt: skip
        environ["PATH_INFO"], _, environ["QUERY_STRING"] = self.path.partition("?")
        environ["CONTENT_TYPE"] = self.headers.get("Content-Type", "")
        environ["CONTENT_LENGTH"] = self.headers.get("Content-Length", "")
        for name, value in self.headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        return environ

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def run(admin: AdminPlane, tmp_path: Path) -> Iterator[Any]:
    assert admin.app is not None
    server = Server(str(tmp_path / "admin.sock"), Handler)
    server.plane = admin
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def run_verb(*arguments: str, input: str = "") -> Result:
        return CliRunner(env={"COLUMNS": "160"}).invoke(
            main, [*arguments, "--state", str(tmp_path)], input=input, catch_exceptions=False
        )

    yield run_verb
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_rack_at_a_glance(run: Any, admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED, state_at=admin.clock, reason="is up"))
    result = run("machines")
    lines = result.output.splitlines()
    assert lines[0].split() == ["MACHINE", "ADDRESS", "ROLES", "STATE", "SINCE", "WHY"]
    assert lines[1].startswith("node1  ")
    assert "joined" in lines[1] and "is up" in lines[1]
    assert lines[-1] == "5 machines: 4 armed, 1 joined"
    assert [each["host"] for each in json.loads(run("machines", "--json").output)][:2] == ["node1", "node2"]


def test_one_machine_in_full(run: Any, admin: AdminPlane) -> None:
    text = run("machines", "node1").output
    assert text.splitlines()[0] == f"node1  {NODE1}  10.10.14.11"
    assert "  installs  0 done, 1 wanted" in text
    result = run("machines", "node7")
    assert result.exit_code == 1
    assert "there is no machine 'node7' in the description" in result.stderr


def test_orders(run: Any, admin: AdminPlane) -> None:
    assert run("hold", "node1", "--reason", "new memory").output == "node1: held: new memory\n"
    assert run("hold", "node1").output == "node1: held already: new memory\n"
    assert admin.store.find_history(NODE1).held.endswith("new memory")
    assert run("release", "node1").exit_code == 0
    assert not admin.store.find_history(NODE1).held
    assert admin.store.find_history(NODE1).open, "its first install goes on"


def test_a_reinstall_wants_the_host_name(run: Any, admin: AdminPlane) -> None:
    installed = History(done=1, state=MachineState.JOINED, state_at=admin.clock)
    admin.store.save_history(NODE1, installed)
    for typed in ("", "y\n", "node2\n"):
        refused = run("reinstall", "node1", input=typed)
        assert refused.exit_code == 1, typed
        assert not admin.store.find_history(NODE1).open
    assert run("reinstall", "node1", "--wipe", input="node1\n").exit_code == 0
    history = admin.store.find_history(NODE1)
    assert (history.open, history.wipe) == (True, True)


def test_an_order_that_is_refused_says_why(run: Any, admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED, state_at=admin.clock))
    refused = run("install", "node1")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("bootstrapper: ")
    assert "hint: " in refused.stderr
    assert run("install", "node1/../../x").exit_code == 1


def test_events(run: Any, admin: AdminPlane) -> None:
    admin.event("disk", detail="/dev/sda")
    admin.event("ack", mac=STRANGER, service="dhcp")
    lines = run("events").output.splitlines()
    assert [line.split()[2:] for line in lines] == [
        ["node1", "installer", "disk:", "/dev/sda"],
        [STRANGER, "dhcp", "ack"],
    ]
    assert len(run("events", "node1").output.splitlines()) == 1
    assert [json.loads(line)["step"] for line in run("events", "--json", "-n", "1").output.splitlines()] == ["ack"]


def test_no_terminal_is_commanded_by_what_a_machine_says(run: Any, admin: AdminPlane) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\r\u202e[red]x[/red]"
    admin.store.add_events([Event(admin.clock, NODE1, "installer", "failed", hostile, "error")])
    admin.store.save_history(NODE1, History(state=MachineState.FAILED, reason=hostile))
    admin.store.save_sightings([Sighting(STRANGER, 1.0, 2.0, 3, vendor=hostile, arch=hostile)])
    for arguments in (("events",), ("machines",), ("machines", "node1"), ("unknown",)):
        output = run(*arguments).output
        assert all(char.isprintable() or char == "\n" for char in output), arguments
        assert "\u202e" not in output
    assert "[red]x[/red]" in run("events").output, "no markup of rich's either"


def test_unknown_machines(run: Any, admin: AdminPlane) -> None:
    assert "every machine that asked is in the description" in run("unknown").output
    admin.store.save_sightings([Sighting(STRANGER, 1.0, 2.0, 3, vendor="QEMU", arch="UEFI x64")])
    assert STRANGER in run("unknown").output
    line = run("unknown", STRANGER.replace(":", "-").upper()).output
    assert f'mac: "{STRANGER}"' in line
    assert run("unknown", "52:54:00:00:00:98").exit_code == 1
    assert run("unknown", "nonsense").exit_code == 1


def test_where_no_server_is(tmp_path: Path) -> None:
    def ask(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["machines", *arguments])
        assert result.exit_code == 1
        return result.stderr

    assert "no server listens at" in ask("--state", str(tmp_path))
    assert "needs a token" in ask("--server", "https://127.0.0.1:1")
    token = tmp_path / "token"
    token.write_text("T" * 43)
    reach = ("--token-file", str(token), "--server")
    assert "no answer from 127.0.0.1:1" in ask(*reach, "http://127.0.0.1:1")
    assert "not sent in the clear" in ask(*reach, "http://192.0.2.1:8480")
    assert "is not where a server is" in ask(*reach, "ftp://192.0.2.1")
    assert "is no URL" in ask(*reach, "http://[::1")


@pytest.mark.parametrize(
    ("at", "now", "words"),
    [(0.0, 5.0, "-"), (5.0, 5.0, "now"), (5.0, 64.9, "59s"), (5.0, 65.0, "1m"), (5.0, 7205.0, "2h"),
     (5.0, 259205.0, "3d"), (9.0, 5.0, "now")],
)  # fmt: skip
def test_ages(at: float, now: float, words: str) -> None:
    assert tell_age(at, now) == words


def test_clean_leaves_ordinary_text_alone() -> None:
    assert clean("Größe: 5 µm") == "Größe: 5 µm"
    assert clean("a\tb\x00") == "a·b·"
