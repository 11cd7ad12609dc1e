"""`bootstrapper serve` as an admin runs it: every service answers, reloads, falls, stops; faults at start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Machine, Rack, need, run, wait_for

pytestmark = pytest.mark.interop

EXAMPLE = Path(__file__).parents[2] / "cluster-desc.example.yaml"
SERVER = "10.10.14.253"
NODE1 = "00:25:90:c0:f7:80"


class Serving:
    """The server in its namespace, and the machine node1 beside it."""

    def __init__(self, rack: Rack, folder: Path) -> None:
        self.folder = folder
        self.description = folder / "cluster-desc.yaml"
        self.description.write_text(EXAMPLE.read_text())
        self.state = folder / "state"
        self.log = folder / "serve.log"
        self.server = rack.machine("srv", f"{SERVER}/24")
        self.node = rack.machine("node1", "10.10.14.11/24", mac=NODE1)
        self.child = self.start()

    def start(self, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bootstrapper", "serve", str(self.description), "--state", str(self.state)]
        child = self.server.start(*command, "--log", "json", *more, log=self.log)
        wait_for(lambda: child.poll() is not None or self.get("/healthz").startswith('{"ok": true'), timeout=30)
        return child

    def get(self, path: str, scheme: str = "http", who: Machine | None = None) -> str:
        return (who or self.node).run(
            "curl", "-sk", "--max-time", "5", "--globoff", f"{scheme}://{SERVER}{path}", check=False
        )

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def messages(self) -> str:
        return "\n".join(str(line.get("message", "")) for line in self.lines())

    def children(self) -> dict[int, str]:
        """pid -> command line of the supervisor's own children."""
        listing = run("ps", "--ppid", str(self.child.pid), "-o", "pid=,args=", check=False)
        return {int(line.split()[0]): line.split(None, 1)[1] for line in listing.splitlines()}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    need("curl", "dig", "ip", "chronyd", "docker-registry")
    with Rack("ls") as rack:
        made = Serving(rack, tmp_path)
        assert made.child.poll() is None, made.log.read_text()
        yield made


def test_one_command_serves_everything_and_stops_cleanly(serving: Serving) -> None:
    node = serving.node
    assert serving.get("/healthz") == '{"ok": true, "description": 1}\n'
    assert serving.get("/healthz", "https") == '{"ok": true, "description": 1}\n'
    assert "#!ipxe" in serving.get(f"/boot.ipxe?mac={NODE1}&uuid=&arch=7")
    assert node.run("dig", "+short", f"@{SERVER}", "node2.prod.example.com").strip() == "10.10.14.12"
    got = serving.folder / "undionly.kpxe"
    node.run("curl", "-s", f"tftp://{SERVER}/undionly.kpxe", "-o", str(got))
    assert got.read_bytes() == Path("/usr/lib/ipxe/undionly.kpxe").read_bytes()
    assert "bootstrapper_machines" in serving.get("/metrics")
    # chronyd as a client, one question
    answer = node.run(
        "chronyd", "-Q", "-t", "8", "-f", "/dev/null", f"server {SERVER} iburst maxsamples 1", check=False
    )
    assert "System clock wrong by" in answer, answer
    assert serving.server.stop(serving.child) == 0
    assert serving.messages().splitlines()[-1] == "stopped"
    assert serving.server.pids() == []


def test_children_have_no_power_but_low_ports(serving: Serving) -> None:
    for pid in [serving.child.pid, *serving.children()]:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["CapEff"].strip() == "0000000000000400"
        assert status["NoNewPrivs"].strip() == "1"


def test_a_saved_file_is_in_force_at_once(serving: Serving) -> None:
    text = serving.description.read_text().replace("host: node2", "host: renamed")
    fresh = serving.folder / "new"
    fresh.write_text(text)
    fresh.replace(serving.description)
    wait_for(lambda: serving.get("/healthz") == '{"ok": true, "description": 2}\n', timeout=20)
    found = serving.node.run("dig", "+short", f"@{SERVER}", "renamed.prod.example.com").strip()
    assert found == "10.10.14.12"


def test_a_bad_file_is_refused_whole_and_the_last_good_one_stays(serving: Serving) -> None:
    good = serving.description.read_text()
    serving.description.write_text(
        good.replace("ip: 10.10.14.12", "ip: 10.10.14.999").replace("host: node3", "hots: x")
    )
    os.kill(serving.child.pid, signal.SIGHUP)
    wait_for(lambda: "the last good description stays in force" in serving.messages(), timeout=20)
    said = serving.messages()
    assert "machines[1].ip" in said
    assert "machines[2].hots" in said
    assert serving.node.run("dig", "+short", f"@{SERVER}", "node2.prod.example.com").strip() == "10.10.14.12"
    # And so after a restart: the rack is not left without DHCP because of a typing error.
    serving.server.stop(serving.child)
    serving.child = serving.start()
    assert serving.get("/healthz") == '{"ok": true, "description": 1}\n'


def test_a_change_that_needs_a_restart_says_so(serving: Serving) -> None:
    text = serving.description.read_text().replace("bootstrapper: 10.10.14.253", "bootstrapper: 10.10.14.252")
    serving.description.write_text(text)
    os.kill(serving.child.pid, signal.SIGHUP)
    wait_for(lambda: "restart this server" in serving.messages(), timeout=20)
    assert serving.get("/healthz") == '{"ok": true, "description": 1}\n'


def test_every_child_that_is_killed_comes_back(serving: Serving) -> None:
    before = serving.children()
    assert len(before) == 10
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(serving.children()) == 10 and not set(serving.children()) & set(before), timeout=20)
    wait_for(lambda: serving.get("/healthz").startswith('{"ok": true'), timeout=20)
    wait_for(lambda: serving.node.run("dig", "+short", f"@{SERVER}", "node1.prod.example.com", check=False).strip())


def test_a_killed_supervisor_leaves_nothing_behind_and_can_start_again(serving: Serving) -> None:
    serving.child.kill()
    serving.child.wait()
    wait_for(lambda: serving.server.pids() == [], timeout=30)
    serving.child = serving.start()
    assert serving.child.poll() is None


def test_a_download_goes_on_through_a_reload(serving: Serving) -> None:
    image = serving.state / "assets" / "big.bin"
    image.parent.mkdir(exist_ok=True)
    image.write_bytes(os.urandom(1 << 20) * 24)
    target = serving.folder / "got"
    download = serving.node.start(
        "curl", "-s", "--limit-rate", "4M", "-o", str(target), f"http://{SERVER}/assets/big.bin"
    )
    wait_for(lambda: target.exists() and target.stat().st_size > 0)
    serving.description.write_text(serving.description.read_text() + "\n# edited\n")
    wait_for(lambda: serving.get("/healthz") == '{"ok": true, "description": 2}\n', timeout=20)
    assert download.wait(timeout=60) == 0
    assert target.read_bytes() == image.read_bytes()


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (("10.10.14.253", "10.10.14.250"), "no interface has the address", "there is: "),
        (("bootstrapper: ", "interface: eth9\n  bootstrapper: "), "there is no interface eth9", "there is: "),
    ],
)
def test_faults_at_start(tmp_path: Path, change: tuple[str, str], message: str, hint: str) -> None:
    need("ip")
    with Rack("lf") as rack:
        server = rack.machine("srv", f"{SERVER}/24")
        desc = tmp_path / "desc.yaml"
        text = EXAMPLE.read_text()
        if "eth9" in change[1]:
            text = "\n".join(line for line in text.splitlines() if not line.strip().startswith("interface:"))
        text = text.replace("vip: 10.10.14.250", "vip: 10.10.14.240")
        desc.write_text(text.replace(*change, 1))
        said = server.run(
            sys.executable, "-m", "bootstrapper", "serve", str(desc), "--state", str(tmp_path), check=False
        )
        assert message in said, said
        assert hint in said
        assert "Traceback" not in said


def test_a_taken_port_names_who_has_it(tmp_path: Path) -> None:
    need("ip", "dnsmasq")
    with Rack("lp") as rack:
        server = rack.machine("srv", f"{SERVER}/24")
        server.start(
            "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--dhcp-range=10.10.14.100,10.10.14.110"
        )
        wait_for(lambda: ":67" in server.run("ss", "-lnup"))
        said = server.run(
            sys.executable, "-m", "bootstrapper", "serve", str(EXAMPLE), "--state", str(tmp_path), check=False
        )
        assert "UDP port 67 (DHCP) is taken by dnsmasq" in said, said


def test_without_privileges_it_says_which(tmp_path: Path) -> None:
    need("ip", "setpriv")
    with Rack("lu") as rack:
        server = rack.machine("srv", f"{SERVER}/24")
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")
        serve = (sys.executable, "-m", "bootstrapper", "serve", str(EXAMPLE), "--state", str(tmp_path / "state"))
        said = server.run(*nobody, *serve, check=False)
        assert "CAP_NET_BIND_SERVICE and CAP_NET_RAW" in said, said
        assert "Traceback" not in said


def test_stopping_takes_a_moment_only(serving: Serving) -> None:
    started = time.monotonic()
    assert serving.server.stop(serving.child) == 0
    assert time.monotonic() - started < 8
