"""The nodes' balancer with the real haproxy: over two masters, one of which goes away and comes back unready."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.templating import build_environment

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not shutil.which("haproxy") or not shutil.which("openssl"), reason="needs haproxy and openssl"),
]

DESCRIPTION = """\
version: 1
cluster: {{name: balanced, domain: balanced.internal}}
network: {{subnet: 10.9.0.0/24, bootstrapper: 10.9.0.9, routers: [], dhcp: {{mode: reservations}}}}
kubernetes: {{version: 1.35.8, api: {{port: {port}}}}}
machines:
  - {{mac: "02:00:00:00:00:01", host: m1, ip: 10.9.0.2, roles: [etcd, master]}}
  - {{mac: "02:00:00:00:00:02", host: m2, ip: 10.9.0.3, roles: [master]}}
  - {{mac: "02:00:00:00:00:03", host: w1, ip: 10.9.0.4, roles: [worker]}}
"""


class Master:
    """What a balancer sees of an API server: TLS, and whether it is ready."""

    def __init__(self, address: str, port: int, certificate: Path) -> None:
        self.ready = True
        master = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = address.encode()
                self.send_response(200 if master.ready or self.path != "/readyz" else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server = ThreadingHTTPServer((address, port), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def masters(port: int, tmp_path: Path) -> Iterator[dict[str, Master]]:
    pem = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"]
    subprocess.run([*command, "-keyout", str(pem), "-out", str(tmp_path / "cert")], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (tmp_path / "cert").read_text())
    running = {address: Master(address, port, pem) for address in ("127.0.0.2", "127.0.0.3")}
    yield running
    for master in running.values():
        master.stop()


@pytest.fixture
def balancer(port: int, tmp_path: Path) -> Iterator[int]:
    """haproxy as the worker's manifest would start it, with the worker's configuration."""
    cluster = load(DESCRIPTION.format(port=port), "balanced.yaml")
    # As the network of the machines, on the loopback.
    machines = tuple(replace(each, ip=IPv4Address(f"127.0.0.{int(each.ip or 0) & 255}")) for each in cluster.machines)
    cluster = replace(cluster, machines=machines)
    context = Context(cluster, Links(cluster.network.bootstrapper), build_environment(load_templates(None)), "")
    files = {file.path: file.content for file in build(cluster, cluster.by_host["w1"], context).files}
    path = tmp_path / "haproxy.cfg"
    path.write_bytes(files["/etc/kubernetes/balancer/haproxy.cfg"])
    checked = subprocess.run(["haproxy", "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
    process = subprocess.Popen(["haproxy", "-W", "-db", "-f", str(path)], stdout=subprocess.DEVNULL)
    yield port
    process.terminate()
    process.wait(10)


def ask(port: int) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/version", timeout=5, context=context) as reply:
            return str(reply.read().decode())
    except (urllib.error.URLError, OSError):
        return ""


def wait_for(port: int, expected: set[str]) -> set[str]:
    """Which masters answer six requests in a row, once it is the expected ones; bounded."""
    until, seen = time.monotonic() + 15, {""}
    while time.monotonic() < until and seen != expected:
        seen = {ask(port) for _ in range(6)}
        time.sleep(0.2)
    return seen


def test_it_goes_where_a_master_is_ready(masters: dict[str, Master], balancer: int) -> None:
    both, first, second = {"127.0.0.2", "127.0.0.3"}, {"127.0.0.2"}, {"127.0.0.3"}
    assert wait_for(balancer, both) == both
    masters["127.0.0.3"].ready = False
    assert wait_for(balancer, first) == first
    masters["127.0.0.3"].ready = True
    assert wait_for(balancer, both) == both
    masters["127.0.0.2"].stop()
    assert wait_for(balancer, second) == second
