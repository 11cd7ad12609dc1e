"""A small API server on loopback, for tests: TLS with client certificates, objects in a dictionary, discovery, pages.

Server-side apply is played as a merge of what is applied, with the fields' owner kept as the API does for labels.
"""

from __future__ import annotations

import copy
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

RESOURCES = {
    "/api/v1": [
        ("nodes", "Node", False), ("nodes/status", "Node", False), ("secrets", "Secret", True),
        ("serviceaccounts", "ServiceAccount", True), ("configmaps", "ConfigMap", True), ("services", "Service", True),
    ],
    "/apis/apps/v1": [("deployments", "Deployment", True)],
    "/apis/rbac.authorization.k8s.io/v1": [
        ("clusterroles", "ClusterRole", False), ("clusterrolebindings", "ClusterRoleBinding", False),
        ("roles", "Role", True), ("rolebindings", "RoleBinding", True),
    ],
    "/apis/certificates.k8s.io/v1": [("certificatesigningrequests", "CertificateSigningRequest", False)],
}  # fmt: skip


@dataclass
class FakeApi:
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    "Path -> object."
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    "(method, path, impersonated user)"
    ready: bool = True
    refuse: dict[str, int] = field(default_factory=dict)
    "Path -> status."
    conflicts: set[str] = field(default_factory=set)
    "Paths that somebody else changes just before an update arrives."
    page: int = 2
    port: int = 0

    def names(self, under: str) -> set[str]:
        return {path.removeprefix(f"{under}/") for path in self.objects if path.startswith(f"{under}/")}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path in self.refuse:
            return self.refuse[path], {"kind": "Status", "message": f"refused {path}"}
        if path == "/readyz":
            return (200, "ok") if self.ready else (500, "[-]etcd failed")
        if not self.ready:
            return 503, {"message": "not ready"}
        if path in RESOURCES:
            kinds = [{"name": name, "kind": kind, "namespaced": scoped} for name, kind, scoped in RESOURCES[path]]
            return 200, {"kind": "APIResourceList", "resources": kinds}
        return getattr(self, f"_{method.lower()}")(path, query, body)

    def _get(self, path: str, query: dict[str, str], _body: Any) -> tuple[int, Any]:
        if path in self.objects:
            return 200, self.objects[path]
        wanted = dict(each.split("=") for each in query.get("labelSelector", "").split(",") if each)
        items = [
            value
            for name, value in sorted(self.objects.items())
            if name.rpartition("/")[0] == path and wanted.items() <= value["metadata"].get("labels", {}).items()
        ]
        start = int(query.get("continue", "0"))
        rest = start + self.page
        metadata = {"continue": str(rest)} if rest < len(items) else {}
        return 200, {"kind": "List", "metadata": metadata, "items": items[start:rest]}

    def _patch(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        there = self.objects.get(path)
        uid = body["metadata"].get("uid")
        if uid and (there is None or there["metadata"].get("uid") != uid):
            return 409, {"message": "uid mismatch"}
        merged = copy.deepcopy(there or {"metadata": {"uid": f"uid-{len(self.objects)}"}})
        labels = dict(merged["metadata"].get("labels", {}))
        managed = [
            each for each in merged["metadata"].get("managedFields", ()) if each["manager"] != query["fieldManager"]
        ]
        for old in merged["metadata"].get("managedFields", ()):
            if old["manager"] == query["fieldManager"]:
                for key in old["fieldsV1"]["f:metadata"]["f:labels"]:
                    labels.pop(key.removeprefix("f:"), None)
        merged.update({key: value for key, value in body.items() if key != "metadata"})
        merged["metadata"].update(body["metadata"])
        merged["metadata"]["labels"] = labels | body["metadata"].get("labels", {})
        owned = {f"f:{key}": {} for key in body["metadata"].get("labels", {})}
        entry = {
            "manager": query["fieldManager"],
            "operation": "Apply",
            "fieldsV1": {"f:metadata": {"f:labels": owned}},
        }
        merged["metadata"]["managedFields"] = [*managed, entry]
        self.objects[path] = merged
        return 200 if there else 201, merged

    def _put(self, path: str, _query: dict[str, str], body: Any) -> tuple[int, Any]:
        target = path.removesuffix("/approval")
        if target in self.conflicts:
            return 409, {"message": "the object has been modified"}
        if target not in self.objects:
            return 404, {"message": "not found"}
        self.objects[target] = body
        return 200, body

    def _delete(self, path: str, _query: dict[str, str], _body: Any) -> tuple[int, Any]:
        if self.objects.pop(path, None) is None:
            return 404, {"message": "not found"}
        return 200, {"status": "Success"}


@contextmanager
def serve(api: FakeApi, certificate: str, key: str, authority: str) -> Iterator[FakeApi]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment an answer: two would wait for an acknowledgement in between

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def _do(self) -> None:
            parts = urlsplit(self.path)
            path, query = unquote(parts.path), {key: values[0] for key, values in parse_qs(parts.query).items()}
            length = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            api.requests.append((self.command, path, self.headers.get("Impersonate-User", "")))
            if self.command == "PATCH":
                assert self.headers["Content-Type"] == "application/apply-patch+yaml"
            status, value = api.answer(self.command, path, query, body)
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_PATCH = do_DELETE = do_POST = _do

        def log_message(self, *_arguments: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
        pair.write(certificate + key)
        pair.flush()
        context.load_cert_chain(Path(pair.name))
    server = ThreadingHTTPServer(("127.0.0.1", api.port), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    api.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


LOOPBACK = IPv4Address("127.0.0.1")
