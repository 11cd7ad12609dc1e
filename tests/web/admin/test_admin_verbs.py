"""The verbs that talk to a running server, over a real Unix socket, as an admin types them."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler

import pytest
from adminplane import NODE1, AdminPlane
from click.testing import CliRunner, Result

from bootstrapper.admin_client import Unreachable
from bootstrapper.boot.breaker import open_install
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cli import main
from bootstrapper.cli_admin import _follow
from bootstrapper.cli_views import Seen, clean, fit, tell_age, watch
from bootstrapper.cluster.load import load
from bootstrapper.errors import UserError
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
        path, _, environ["QUERY_STRING"] = self.path.partition("?")
        environ["PATH_INFO"] = unquote(path)
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


def test_an_order_is_taken_back_while_it_has_not_begun(run: Any, admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED, state_at=admin.clock))
    run("reinstall", "node1", "--yes")
    words = "node1: installed: an admin took the order back: its system is taken as it is\n"
    assert run("cancel", "node1").output == words
    assert not admin.store.find_history(NODE1).open
    run("reinstall", "node1", "--yes")
    begun = open_install(admin.store.find_history(NODE1), admin.clock)
    admin.store.save_history(NODE1, open_install(begun, admin.clock + 900))
    refused = run("cancel", "node1")
    assert refused.exit_code == 1
    assert "it has begun" in refused.stderr
    assert "install 2 of this order" in run("machines", "node1").output


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
    admin.store.save_sightings([Sighting(STRANGER, 1.0, 2.0, 3, vendor=hostile, arch=hostile, host_name=hostile)])
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
    [(0.0, 5.0, "-"), (5.0, 5.0, "0s"), (5.0, 64.9, "59s"), (5.0, 65.0, "1m"), (5.0, 7205.0, "2h"),
     (5.0, 259205.0, "3d"), (9.0, 5.0, "0s")],
)  # fmt: skip
def test_ages(at: float, now: float, words: str) -> None:
    assert tell_age(at, now) == words


def test_clean_leaves_ordinary_text_alone() -> None:
    assert clean("Größe: 5 µm") == "Größe: 5 µm"
    assert clean("a\tb\x00") == "a·b·"


# -- at 2 a.m. ---------------------------------------------------------------------------------------------------------
def test_only_those_that_need_somebody(run: Any, admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(state=MachineState.FAILED, state_at=admin.clock, reason="no disk"))
    lines = run("machines", "--attention").output.splitlines()
    assert [line.split()[0] for line in lines] == ["MACHINE", "node1", "1"]
    assert lines[-1] == "1 machine: 1 failed"
    assert [each["host"] for each in json.loads(run("machines", "-a", "--json").output)] == ["node1"]
    assert "no machines" in (run("release", "node1"), run("install", "node1"), run("machines", "-a"))[2].output
    assert run("machines", "node1", "-f").exit_code == 2


def test_the_rack_says_why_one_stands_still(run: Any, admin: AdminPlane) -> None:
    for step, detail in (("offer", "10.10.14.11 to UEFI x64, boots snponly.efi"),
                         ("ack", "10.10.14.11 to UEFI x64, boots snponly.efi")):  # fmt: skip
        admin.event(step, service="dhcp", detail=detail)
    admin.clock += 120
    (line,) = [each for each in run("machines", "-a").output.splitlines() if each.startswith("node1")]
    assert line.rstrip().endswith("it has an address and a file name, and never asked for the file")
    assert admin.get("/machines")[0]["stopped"] == "it has an address and a file name, and never asked for the file"


def test_files_that_are_missing_count_for_who_is_to_be_installed(run: Any, admin: AdminPlane) -> None:
    admin.missing = {NODE1: ("a/image", "a/kernel")}
    assert "2 files are missing: a/image" in run("machines", "-a").output
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED, reason="its node is Ready"))
    assert "its node is Ready" in run("machines").output
    assert "node1" not in run("machines", "-a").output.split("server:")[0]


def test_what_is_wrong_with_the_server_is_said_below_the_rack(run: Any, admin: AdminPlane) -> None:
    assert "server:" not in run("machines").output
    admin.file.write_text("cluster: [\n")
    admin.clock += 60
    last = run("machines", "-a").output.splitlines()[-1]
    assert last.startswith(f"server: {admin.file} was changed and is not in force: ")


def test_a_machine_that_was_never_heard_says_what_to_do(run: Any) -> None:
    assert "  state     armed: not heard from yet: switch it on" in run("machines", "node1").output
    assert "not heard from yet: switch it on" in run("machines").output


def test_an_install_under_way_is_told_in_percent(run: Any, admin: AdminPlane) -> None:
    admin.store.save_history(NODE1, History(state=MachineState.INSTALLING, state_at=admin.clock - 9, reason="image"))
    admin.event("image", detail="43 % written")
    assert "installing for" in run("machines", "node1").output
    assert ": image 43 %\n" in run("machines", "node1").output


def test_a_refusal_names_its_machine(run: Any) -> None:
    assert run("release", "node1").stderr.startswith("bootstrapper: node1: it is not on hold")
    assert run("move", "node1", "xx").stderr.startswith("bootstrapper: node1: 'xx' is not a MAC")
    assert run("hold", "node99").stderr.startswith("bootstrapper: there is no machine 'node99'")


def test_an_order_says_what_is_next(run: Any, admin: AdminPlane) -> None:
    restart = "next: restart it; it is installed when it boots over the network\n"
    assert run("install", "node1").stderr == restart
    admin.store.save_history(NODE1, History(done=1, state=MachineState.JOINED, state_at=admin.clock))
    assert run("reinstall", "node1", "--yes").stderr.endswith(restart)
    assert "its node, etcd member and keys go as soon as" in run("forget", "node1", "--yes").stderr


def test_nobody_types_a_name_for_a_script(run: Any, admin: AdminPlane) -> None:
    refused = run("forget", "node1", input="")
    assert refused.exit_code == 1
    assert "its host name was not typed; nothing was ordered\n  hint: --yes does not ask" in refused.stderr
    assert not admin.store.find_history(NODE1).forgotten


def test_forget_asks_nothing_where_no_server_is(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["forget", "node1", "--state", str(tmp_path)], input="node1\n")
    assert result.exit_code == 1
    assert "no server listens at" in result.stderr
    assert "Type its host name" not in result.stderr


def test_an_unknown_machine_is_put_into_the_description(run: Any, admin: AdminPlane) -> None:
    before = admin.file.read_text()
    admin.store.save_sightings([Sighting(STRANGER, 1.0, 2.0, 3)])
    shown = run("unknown", STRANGER).output
    assert shown == f'  - mac: "{STRANGER}"\n    host: node6\n    roles: [worker]\n'
    assert load(before + shown, "as pasted below the last machine").by_host["node6"].mac == STRANGER
    added = run("unknown", STRANGER, "--add", "--host", "spare", "--role", "worker", "--role", "ingress")
    assert added.exit_code == 0
    assert f'  - mac: "{STRANGER}"\n    host: spare\n' in added.stdout
    assert "saved as revision 2, and in force" in added.stderr
    machine = load(admin.file.read_text(), "saved").by_host["spare"]
    assert (machine.mac, {"worker", "ingress"} <= {role.value for role in machine.roles}) == (STRANGER, True)
    assert run("unknown", STRANGER, "--add", "--host", "node1").exit_code == 1
    for wrong in (("--add",), (STRANGER, "--host", "x"), ("--ip", "auto")):
        assert run("unknown", *wrong).exit_code == 2, wrong


def test_a_card_of_a_known_machine_says_whose(run: Any, admin: AdminPlane) -> None:
    admin.store.save_sightings([Sighting(STRANGER, 1.0, 2.0, 3)])
    assert run("unknown").output.splitlines()[-1] == "`bootstrapper unknown MAC --add` puts one into the description"
    admin.store.save_sightings([Sighting(f"{NODE1[:-1]}1", 1.0, 2.0, 3)])
    lines = run("unknown").output.splitlines()
    (told,) = [line for line in lines if "node1" in line]
    assert told.startswith(f"{NODE1[:-1]}1 asked, and ")
    assert told.endswith(": `bootstrapper move` if it was replaced")


def test_a_backup_brings_the_description_back(run: Any, admin: AdminPlane, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("correct horse battery\n")
    sealed, state, file = tmp_path / "rack.backup", tmp_path / "again", tmp_path / "desc.yaml"
    given = ("--passphrase-file", str(words))
    assert run("backup", str(sealed), *given).exit_code == 0

    def restore(backup: Path, *more: str) -> Result:
        return CliRunner().invoke(main, ["restore", str(backup), "--state", str(state), *given, *more])

    assert restore(tmp_path / "none").stderr.startswith(f"bootstrapper: there is no file {tmp_path}/none\n  hint: ")
    refused = restore(sealed, "--description", str(words))
    assert (refused.exit_code, state.exists()) == (1, False)
    assert "exists already" in refused.stderr
    done = restore(sealed, "--description", str(file))
    assert done.exit_code == 0, done.stderr
    assert file.read_text() == admin.file.read_text()
    assert done.output.splitlines()[-1] == f"next: bootstrapper serve {file} --state {state}"


def test_what_a_file_would_change_in_what_is_in_force(run: Any, admin: AdminPlane, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(admin.file.read_text().replace("host: node4", "host: node44"))
    admin.store.save_history("00:25:90:c0:f6:ee", History(done=1, state=MachineState.JOINED))
    lines = run("plan", str(new)).output.splitlines()
    assert "node44" in lines[0] and lines[0].endswith("to be installed again")
    assert {each["effect"] for each in json.loads(run("plan", str(new), "--json").output)["machines"]} >= {"reinstall"}
    new.write_text("cluster: {}\n")
    refused = run("plan", str(new))
    assert refused.exit_code == 1
    assert "  line 1: cluster.name: " in refused.stderr
    assert run("plan", str(tmp_path / "none")).exit_code == 1


def complete(folder: Path, *words: str) -> list[str]:
    """What a shell is told at the end of `words`, as bash asks."""
    environ = {"_BOOTSTRAPPER_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(("bootstrapper", *words)),
               "COMP_CWORD": str(len(words)), "BOOTSTRAPPER_STATE": str(folder)}  # fmt: skip
    output = CliRunner(env=environ).invoke(main, [], prog_name="bootstrapper").output
    return [line.split(",")[1] for line in output.splitlines() if line]


def test_a_shell_completes_names(run: Any, admin: AdminPlane, tmp_path: Path) -> None:
    admin.store.save_sightings([Sighting(STRANGER, 1.0, 2.0, 3)])
    assert complete(tmp_path, "hold", "node") == ["node1", "node2", "node3", "node4"]
    assert complete(tmp_path, "reinstall", "--wipe", "node3") == ["node3"]
    assert complete(tmp_path, "machines", "0c:c4") == ["0c:c4:7a:82:c5:bc", "0c:c4:7a:82:c5:b8"]
    assert complete(tmp_path, "unknown", "52") == [STRANGER]
    assert complete(tmp_path, "move", "node1", "") == [STRANGER]
    assert complete(tmp_path / "nobody", "hold", "node") == []


class Away:
    """A server that answers, goes away, and comes back; then the admin has seen enough."""

    def __init__(self, answers: list[Any]) -> None:
        self._answers = answers

    def __call__(self, *_path: Any, **_query: Any) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def test_following_outlives_the_server(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    gone = Unreachable("nobody listens there any more")
    client: Any = SimpleNamespace(
        follow=Away([iter([(7, {"id": 7})]), gone, iter(()), iter(()), iter([(8, {"id": 8})]), KeyboardInterrupt()]),
        get=Away([gone, gone, {}]),
    )
    seen = []
    with pytest.raises(KeyboardInterrupt):
        for each in _follow(client, "", 0):
            seen.append(each["id"])
    assert seen == [7, 8]
    assert capsys.readouterr().err.splitlines() == [
        "bootstrapper: nobody listens there any more; waiting for it",
        "bootstrapper: the server is back",
    ]


def test_following_goes_on_where_a_restored_state_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    asked = []
    answers = Away([iter([(900, None)]), iter([(41, None)]), iter([(41, None), (42, {"id": 42})]), KeyboardInterrupt()])

    def follow(*_: object, after: int, **__: object) -> Any:
        asked.append(after)
        return answers()

    client: Any = SimpleNamespace(follow=follow)
    with pytest.raises(KeyboardInterrupt):
        assert [each["id"] for each in _follow(client, "", 900)] == []
    assert asked == [900, 900, 41, 42]


def test_watching_the_rack_outlives_the_server(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rack = json.loads(run("machines", "--json").output)
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(KeyboardInterrupt):
        seen = Seen(rack, [{"text": "another DHCP server", "hint": "", "page": "events"}], 86400.0)
        watch(Away([seen, seen, Unreachable("nobody listens"), KeyboardInterrupt()]), lambda: None)
    last = capsys.readouterr().out
    assert "nobody listens: this is from " in last
    assert "waiting for it" in last
    assert "server: another DHCP server" in last
    assert "node1" in last
    with pytest.raises(UserError):
        watch(Away([Unreachable("none there")]), lambda: None)


def test_what_needs_somebody_comes_first_where_not_all_have_room(run: Any) -> None:
    rack = json.loads(run("machines", "--json").output)
    rack[3]["state"], rack[4]["state"] = "failed", "installing"
    shown, left_out = fit(rack, 2)
    assert ([each["host"] for each in shown], left_out) == (["node4", "00-25-90-c0-f6-d6"], 3)
    assert fit(rack, 5) == (rack, 0)
