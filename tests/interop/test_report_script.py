"""report.sh, which tells of an installed system's first boot, against a real HTTPS server.

Real: bash, curl, jq. Ours for the test: systemctl and journalctl, which answer from files that the test writes, and
sleep.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_install_script import Server, make_certificate, serve_plane
from wires import wait_for

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).parents[2] / "templates" / "nodes" / "base" / "report.sh"
NEW = {
    "LoadState": "loaded", "ActiveState": "inactive", "Result": "success", "NRestarts": "0", "ExecMainStatus": "0",
    "ConditionResult": "no", "ConditionTimestampMonotonic": "0", "ActiveEnterTimestampMonotonic": "0",
    "InactiveEnterTimestampMonotonic": "0",
}  # fmt: skip
ACTIVE = {"ActiveState": "active", "ActiveEnterTimestampMonotonic": "1000000"}
PROGRAMS = {
    "systemctl": """
        case "$1" in
        is-active) [ -e "$UNITS_AT/multi-user" ] ;;
        list-units) cat "$UNITS_AT/failed" 2>/dev/null ;;
        show) for last; do :; done; cat "$UNITS_AT/$last" ;;
        esac
    """,
    "journalctl": 'for last; do :; done; cat "$UNITS_AT/$last.journal" 2>/dev/null',
    "sleep": "exec /usr/bin/sleep 0.1",
}


class Reporter:
    def __init__(self, folder: Path, server: Server, units: str) -> None:
        self.folder, self.server = folder, server
        self.units = folder / "units"
        self.units.mkdir()
        self.mark = folder / "reported"
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name, text in PROGRAMS.items():
            (self.programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (self.programs / name).chmod(0o755)
        (folder / "report.env").write_text(
            f"AUTHORITY={folder}/cert.pem\nREPORT_URL=https://127.0.0.1:{server.https_port}/m/TOKEN/report\n"
            f"GENERATION=3\nUNITS='{units}'\nNODE_URL='{self.node_url()}'\nNODE_CA={folder}/cert.pem\n"
            f"NODE_CERTIFICATE={folder}/node.pem\n"
        )
        for unit in units.split():
            self.set(unit)
        self.child: subprocess.Popen[str] | None = None

    def node_url(self) -> str:
        return f"https://127.0.0.1:{self.server.https_port}/api/v1/nodes/node1"

    def set(self, unit: str, **more: str) -> None:
        fresh = self.folder / "fresh"
        fresh.write_text("".join(f"{key}={value}\n" for key, value in (NEW | more).items()))
        fresh.rename(self.units / unit)

    def start(self) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{self.programs}:/usr/bin:/bin", "UNITS_AT": str(self.units), "BOOTSTRAPPER_MARK": str(self.mark),
            "BOOTSTRAPPER_REPORT_ENV": str(self.folder / "report.env"),
        }  # fmt: skip
        log = (self.folder / "log").open("w")
        self.child = subprocess.Popen(["bash", str(SCRIPT)], env=environment, stdout=log, stderr=log, text=True)
        return self.child

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def told(self) -> list[str]:
        return [f"{report['step']} {report['detail']}" for report in self.server.reports]


Make = Callable[[str], Reporter]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    kept = Server(log=tmp_path)
    pem, key = make_certificate(tmp_path)
    made: list[Reporter] = []

    def reporter(units: str) -> Reporter:
        made.append(Reporter(tmp_path, kept, units))
        return made[-1]

    with serve_plane(kept, pem, key):
        yield reporter
        for each in made:
            if each.child is not None and each.child.poll() is None:
                each.child.kill()
                each.child.wait()


def test_a_boot_is_told_step_by_step_and_then_never_again(make: Make, tmp_path: Path) -> None:
    reporter = make("etcd.service kubelet.service")
    child = reporter.start()
    wait_for(lambda: reporter.said() == "" and child.poll() is None)
    reporter.set("etcd.service", **ACTIVE)
    wait_for(lambda: reporter.told() == ["unit etcd.service: active"], why=reporter.said)
    (reporter.units / "multi-user").touch()
    wait_for(lambda: "booted the installed system is up" in reporter.told(), why=reporter.said)
    reporter.set("kubelet.service", **ACTIVE)
    wait_for(lambda: "unit kubelet.service: active" in reporter.told(), why=reporter.said)
    # The kubelet's certificate and key in one file, as it keeps them; the API server does not know the node yet.
    (tmp_path / "node.pem").write_bytes((tmp_path / "cert.pem").read_bytes() + (tmp_path / "key.pem").read_bytes())
    wait_for(lambda: "unit kubelet: certificate signed" in reporter.told(), why=reporter.said)
    assert child.poll() is None
    reporter.server.nodes.add("/api/v1/nodes/node1")
    assert child.wait(timeout=20) == 0
    assert reporter.told()[3:] == ["unit kubelet: certificate signed", "unit kubelet: node registered"]
    assert reporter.mark.read_text() == "reported\n"
    assert {report["generation"] for report in reporter.server.reports} == {3}
    assert all("tail" not in report for report in reporter.server.reports)


def test_a_unit_that_fails_is_told_once_with_the_end_of_its_journal(make: Make) -> None:
    fetching = "bootstrapper-download@cni.service"
    reporter = make(f"etcd.service broken.service gone.service once.service {fetching}")
    words = "http://h/assets/cni: curl: (22) The requested URL returned error: 404"
    reporter.set(fetching, ActiveState="activating", StatusText=words)
    token = "Zb3K-9xQw_7LmN0pRsTuVwXyZ1a2b3c4d5e6f7g8h9i"
    journal = "".join(f"line {number} \x1b[31m\0 \xff\n" for number in range(1000))
    (reporter.units / "etcd.service.journal").write_bytes(
        journal.encode("latin-1") + f"GET https://h/m/{token}/config\npanic: disk full \"quoted\" \\ 'x'\n".encode()
    )
    reporter.set("etcd.service", ActiveState="activating", NRestarts="3", Result="exit-code", ExecMainStatus="1")
    reporter.set("broken.service", ActiveState="failed", Result="start-limit-hit", ExecMainStatus="203")
    reporter.set("gone.service", LoadState="not-found")
    reporter.set("once.service", InactiveEnterTimestampMonotonic="5")
    reporter.start()
    wait_for(lambda: len(reporter.server.reports) == 5, why=reporter.said)
    assert reporter.told() == [
        "unit etcd.service: fails again and again (exit-code, status 1)",
        "unit broken.service: failed (start-limit-hit, status 203)",
        "unit gone.service: cannot be loaded (not-found)",
        "unit once.service: done",
        f"unit {fetching}: tries again and again: {words}",
    ]
    tail = str(reporter.server.reports[0]["tail"])
    assert tail.endswith("GET https://h/m/[masked]/config\npanic: disk full \"quoted\" \\ 'x'")
    assert tail.startswith("line ")
    assert len(tail) <= 6000
    assert "\0" not in tail
    assert "\x1b" not in tail
    assert reporter.server.reports[1]["tail"] == "its journal is empty"
    assert "tail" not in reporter.server.reports[3]
    # It is restarted and fails the same way: nothing new. It recovers: that is told.
    reporter.set("etcd.service", ActiveState="activating", NRestarts="9", Result="exit-code", ExecMainStatus="1")
    reporter.set("broken.service", **ACTIVE)
    wait_for(lambda: len(reporter.server.reports) == 6, why=reporter.said)
    assert reporter.told()[5] == "unit broken.service: active"


def test_a_download_is_told_once_for_each_cause_and_always_when_it_is_there(make: Make) -> None:
    fetching = "bootstrapper-download@cni.service"
    reporter = make(f"{fetching} etcd.service")
    reporter.start()
    for number in range(15):
        words = f"curl: (28) timed out after {10000 + number} milliseconds with {number} bytes received"
        reporter.set(fetching, ActiveState="activating", StatusText=words)
        # The end of a look is seen in another unit's: it is told after this one.
        reporter.set("etcd.service", ActiveState="failed", Result="exit-code", ExecMainStatus=str(number % 2 + 1))
        wait_for(lambda number=number: len(reporter.told()) >= min(number, 9) + 2, why=reporter.said)
    reporter.set("etcd.service", **ACTIVE)
    reporter.set(fetching, **ACTIVE)
    wait_for(lambda: f"unit {fetching}: active" in reporter.told(), why=reporter.said)
    wait_for(lambda: "unit etcd.service: active" in reporter.told(), why=reporter.said)
    assert len([line for line in reporter.told() if "tries again" in line]) == 1


def test_a_server_that_is_off_hears_how_things_stand_when_it_is_back(make: Make) -> None:
    reporter = make("etcd.service")
    (reporter.units / "multi-user").touch()
    reporter.server.report_status = 503
    reporter.set("etcd.service", ActiveState="failed", Result="exit-code", ExecMainStatus="1")
    child = reporter.start()
    wait_for(lambda: reporter.said().count("it is tried again") >= 3, why=reporter.said)
    reporter.set("etcd.service", **ACTIVE)
    reporter.server.report_status = 200
    wait_for(lambda: len(reporter.server.reports) == 2, why=reporter.said)
    assert reporter.told() == ["booted the installed system is up", "unit etcd.service: active"]
    assert child.poll() is None


def test_without_any_server_it_tries_and_nothing_else(make: Make) -> None:
    reporter = make("etcd.service")
    (reporter.units / "multi-user").touch()
    env = reporter.folder / "report.env"
    env.write_text(env.read_text().replace(str(reporter.server.https_port), "1"))
    child = reporter.start()
    wait_for(lambda: reporter.said().count("(answer: 000)") >= 3, why=reporter.said)
    assert child.poll() is None


def test_a_token_that_is_not_known_any_more_ends_it(make: Make) -> None:
    reporter = make("etcd.service")
    (reporter.units / "multi-user").touch()
    reporter.server.report_status = 404
    assert reporter.start().wait(timeout=20) == 0
    assert reporter.mark.read_text() == "the server does not know this boot's token any more\n"


def test_the_unit_holds_up_no_boot() -> None:
    text = (SCRIPT.parent / "bootstrapper-report.service").read_text()
    assert "Type=simple\n" in text
    assert "\nAfter=" not in text
    assert "\nBefore=" not in text
    assert os.access(SCRIPT, os.R_OK)
