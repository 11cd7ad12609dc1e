"""A real Prometheus scrapes `/metrics`, and every query of the dashboard and every alert of the docs runs there."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from rack import NODE4_MAC

from bootstrapper.boot.history import History, MachineState
from bootstrapper.pki.authority import load_identity

pytestmark = pytest.mark.interop
ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "packaging" / "grafana-dashboard.json").read_text())
CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: bootstrapper
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


def find_program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (packaging/dependencies.sh interop)")
    return found


def list_queries() -> list[str]:
    """With the variables as Grafana puts them in for "All" and a scrape each 15 s."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return [text.replace("$job", ".+").replace("$__rate_interval", "1m") for text in found]


def list_alerts() -> list[str]:
    told = (ROOT / "docs" / "admin-api.md").read_text().split("An alert worth having:")[1]
    return [line for line in told.split("```")[1].splitlines() if line]


def wait_for(what: Callable[[], Any], timeout: float = 60) -> Any:
    until = time.monotonic() + timeout
    while not (value := what()):
        assert time.monotonic() < until, f"nothing after {timeout} s"
        time.sleep(0.2)
    return value


class Prometheus:
    def __init__(self, folder: Path, target: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.place = f"127.0.0.1:{free.getsockname()[1]}"
        (folder / "prometheus.yml").write_text(CONFIG % target)
        self._log = (folder / "prometheus.log").open("wb")
        self.child = subprocess.Popen(
            [find_program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
             f"--web.listen-address={self.place}", "--log.level=warn"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def ask(self, query: str) -> Any:
        """(samples, warnings); what is no PromQL is an HTTPError."""
        with urlopen(f"http://{self.place}/api/v1/query?{urlencode({'query': query})}", timeout=10) as reply:
            found = json.load(reply)
        assert found["status"] == "success"
        assert not found.get("warnings")
        return found["data"]["result"]

    def has(self, query: str) -> bool:
        try:
            return bool(self.ask(query))
        except OSError:  # it does not listen yet
            assert self.child.poll() is None
            return False

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait(20)
        self._log.close()


@pytest.fixture
def metrics(plane: Any, tmp_path: Path) -> Iterator[str]:
    """A rack with one machine that failed, and one that booted."""
    plane.state = tmp_path
    load_identity(tmp_path / "pki", "bootstrapper.prod.example.com", [], plane.clock)
    plane.store.save_history(NODE4_MAC, History(state=MachineState.FAILED, state_at=plane.clock - 60, reason="no disk"))
    plane.install()
    plane.clock += 2
    plane.get("/nothing")
    yield plane.get("/metrics").text


@pytest.fixture
def prometheus(metrics: str, tmp_path: Path) -> Iterator[Prometheus]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = metrics.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    started = Prometheus(tmp_path, server.server_port)
    try:
        yield started
    finally:
        started.stop()
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_our_metrics_have_the_form_that_prometheus_wants(metrics: str) -> None:
    checked = subprocess.run(
        [find_program("promtool"), "check", "metrics"], input=metrics, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_each_query_of_the_dashboard_runs(prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.has("count_over_time(up[1m]) >= 3"))
    assert prometheus.ask("up")[0]["value"][1] == "1"
    queries = list_queries()
    assert len(queries) > 25
    for query in queries:
        found = prometheus.ask(query)
        shown = [name for name in re.findall(r"bootstrapper_[a-z_]+", query) if prometheus.has(name)]
        # What counts nothing yet has no series; a comparison keeps what is above it.
        assert bool(found) is bool(shown), query
    failed = prometheus.ask('bootstrapper_machines{job=~".+",state="failed"}')
    assert [each["value"][1] for each in failed] == ["1"]
    assert sum(float(each["value"][1]) for each in prometheus.ask("bootstrapper_machines_stopped")) == 1


def test_the_alerts_of_the_docs_fire_when_they_should(prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.has("count_over_time(up[1m]) >= 3"))
    failed, ends, *counted, server = list_alerts()
    assert [each["metric"]["state"] for each in prometheus.ask(failed)] == ["failed"]
    assert prometheus.ask(ends) == []
    assert prometheus.ask(ends.replace("7 *", "7000 *"))
    for alert in counted:
        (name,) = re.findall(r"bootstrapper_[a-z_]+", alert)
        assert prometheus.ask(alert) == [], alert
        assert prometheus.ask(name), "its first one is seen: it begins with 0"
    assert prometheus.ask(server) == []
    assert prometheus.ask(server.replace("== 0", "== 1"))
