"""The API client and what it stands on, against a server on loopback."""

from __future__ import annotations

import http.server
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi
from kube_rack import make_node, make_pki, make_rack, running

from bootstrapper.kube.client import ApiClient
from bootstrapper.kube.connection import Connection, ServerRefusal, Unreachable, describe
from bootstrapper.kube.tls import client_context
from bootstrapper.pki.leaves import Signer

pytestmark = pytest.mark.loopback


def connect(directory: Path, *ports: int) -> Connection:
    pki = make_pki(directory, make_rack())
    pair = pki.own("bootstrapper")
    tls = client_context(pki.bundle(Signer.CLUSTER), pair.certificate, pair.key)
    return Connection([("127.0.0.1", port) for port in ports], tls)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_collection_is_read_in_pages(tmp_path: Path) -> None:
    api = FakeApi(page=2)
    for number in range(5):
        api.objects[f"/api/v1/nodes/n{number}"] = make_node(f"n{number}")
    with running(tmp_path, api):
        client = ApiClient(connect(tmp_path, api.port))
        assert [each["metadata"]["name"] for each in client.list("/api/v1/nodes")] == ["n0", "n1", "n2", "n3", "n4"]
    assert len(api.requests) == 3


def test_the_next_master_answers_when_one_is_down(tmp_path: Path) -> None:
    api = FakeApi()
    with running(tmp_path, api):
        connection = connect(tmp_path, closed_port(), api.port)
        assert ApiClient(connection).is_ready() is True
        connection.close()
        assert connection._addresses[0] == ("127.0.0.1", api.port), "the one that answered is asked first next time"


def test_a_connection_that_the_server_closed_is_made_again(tmp_path: Path) -> None:
    api = FakeApi()
    with running(tmp_path, api):
        connection = connect(tmp_path, api.port)
        assert ApiClient(connection).is_ready()
        assert connection._open is not None and connection._open.sock is not None
        connection._open.sock.shutdown(socket.SHUT_RDWR)
        assert ApiClient(connection).is_ready()


def test_nobody_answers(tmp_path: Path) -> None:
    port = closed_port()
    with pytest.raises(Unreachable) as caught:
        connect(tmp_path, port).ask("GET", "/")
    assert str(caught.value) == f"127.0.0.1:{port}: Connection refused"


def test_what_each_did_is_said_in_an_order_that_stays() -> None:
    faults = {("10.0.0.2", 6443): "no answer", ("10.0.0.1", 6443): "Connection refused"}
    assert describe(faults) == "10.0.0.1:6443: Connection refused; 10.0.0.2:6443: no answer"
    assert describe({}) == "no address to ask at"


def test_a_refusal_carries_the_servers_words(tmp_path: Path) -> None:
    api = FakeApi(refuse={"/api/v1/nodes": 403})
    with running(tmp_path, api), pytest.raises(ServerRefusal) as caught:
        list(ApiClient(connect(tmp_path, api.port)).list("/api/v1/nodes"))
    assert (caught.value.status, caught.value.message) == (403, "refused /api/v1/nodes")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}, "/api/v1/nodes/n"),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "kube-system"}},
         "/api/v1/namespaces/kube-system/secrets/s"),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}, "/api/v1/namespaces/default/secrets/s"),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "x"}},
         "/apis/apps/v1/namespaces/x/deployments/d"),
        ({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:a/b"}},
         "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a%2Fb"),
    ],
)  # fmt: skip
def test_where_an_object_is(tmp_path: Path, value: dict[str, Any], path: str) -> None:
    api = FakeApi()
    with running(tmp_path, api):
        assert ApiClient(connect(tmp_path, api.port)).find_path(value) == path


def test_a_kind_is_looked_up_once_and_one_that_is_not_there_each_time(tmp_path: Path) -> None:
    """An operator brings its kinds after it has started."""
    api = FakeApi()
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    with running(tmp_path, api):
        client = ApiClient(connect(tmp_path, api.port))
        for _ in range(3):
            client.find_path(node)
        assert len(api.requests) == 1
        for _ in range(2):
            with pytest.raises(ServerRefusal, match="v1 has no kind Gadget"):
                client.find_path({**node, "kind": "Gadget"})
        assert len(api.requests) == 3


def test_removing_what_is_not_there_is_no_fault(tmp_path: Path) -> None:
    api = FakeApi()
    api.objects["/api/v1/nodes/n"] = make_node("n")
    with running(tmp_path, api):
        client = ApiClient(connect(tmp_path, api.port))
        assert client.delete("/api/v1/nodes/n") is True
        assert client.delete("/api/v1/nodes/n") is False


def test_a_server_without_tls_is_told_as_unreachable(tmp_path: Path) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    with pytest.raises(Unreachable):
        connect(tmp_path, server.server_port).ask("GET", "/")
    thread.join(5)
    server.server_close()


@pytest.mark.parametrize(("status", "text"), [(200, "<html>"), (204, "")])
def test_an_answer_that_is_not_json(tmp_path: Path, status: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    monkeypatch.setattr(api, "answer", lambda *_: (status, text))
    with running(tmp_path, api):
        connection = connect(tmp_path, api.port)
        if text:
            with pytest.raises(Unreachable, match="an answer that is not JSON"):
                connection.ask("GET", "/api/v1/nodes")
        else:
            assert connection.ask("GET", "/api/v1/nodes") is None
