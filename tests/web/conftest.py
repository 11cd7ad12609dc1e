"""The machine plane over a real store, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from rack import LINKS, NODE1_MAC, make_cluster, make_environment
from werkzeug.test import TestResponse

from bootstrapper.answers.leases import Lease
from bootstrapper.boot.events import Event
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context, Output
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.web.app import create_app
from bootstrapper.web.parts import Parts

ENVIRONMENT = make_environment()


@dataclass
class Plane:
    """A machine plane and everything around it that a test looks at or changes."""

    store: SqliteStore
    assets: Path
    cluster: Cluster = field(default_factory=make_cluster)
    clock: float = 1_800_000_000.0
    events: list[Event] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    render_fails: bool = False
    state: Path | None = None
    "For metrics of certificates."
    require_hashes: bool = False
    waiting: dict[str, str] = field(default_factory=dict)
    "First MAC -> why no install is opened for it."
    client: FlaskClient | None = None
    apps: list[Flask] = field(default_factory=list)
    render: Callable[[str, Context, Machine], Output] | None = None
    "The real renderer, for tests of texts; otherwise a stand-in that says what it was asked for."

    def make_parts(self) -> Parts:
        return Parts(
            cluster=lambda: self.cluster,
            store=self.store,
            environment=ENVIRONMENT,
            links=LINKS,
            authority_pem="-----BEGIN CERTIFICATE-----\n",
            assets=self.assets,
            now=lambda: self.clock,
            new_token=self._new_token,
            render=self._render,
            record=self.events.append,
            state=self.state,
            find_waiting=lambda mac: self.waiting.get(mac, ""),
            require_hashes=self.require_hashes,
        )

    def make_app(self) -> Flask:
        app = create_app(self.make_parts())
        app.testing = False
        self.apps.append(app)
        return app

    def close(self) -> None:
        """The counters' thread must not find the store closed."""
        for app in self.apps:
            app.extensions["count"].__self__.flush(5.0)
        self.store.close()

    def _new_token(self) -> str:
        self.tokens.append(f"{len(self.tokens):043d}")
        return self.tokens[-1]

    def _render(self, name: str, context: Context, machine: Machine) -> Output:
        if self.render is not None:
            return self.render(name, context, machine)
        if self.render_fails:
            raise RenderProblem("templates/nodes/x.j2:3: 'frob' is undefined")
        return Output(f"{name} of {machine.host}, token {context.token}, wipe {context.wipe}\n", "text/plain")

    def get(self, url: str, source: str = "10.10.14.11", method: str = "GET", **more: object) -> TestResponse:
        base = "https://s" if url.startswith("https:") else "http://s"
        environ = {"REMOTE_ADDR": source}
        self.client = self.client or self.make_app().test_client()
        path = url.removeprefix("https:")
        return self.client.open(path, base_url=base, method=method, environ_overrides=environ, **more)  # type: ignore[arg-type]

    def boot(self, mac: str = NODE1_MAC, source: str = "10.10.14.11", arch: str = "7") -> str:
        return self.get(f"/boot.ipxe?mac={mac}&arch={arch}", source).text

    def report(self, token: str, step: str, generation: int = 1, source: str = "10.10.14.11") -> TestResponse:
        body = {"step": step, "detail": "said so", "generation": generation}
        return self.get(f"https:/m/{token}/report", source, "POST", json=body)

    def install(self) -> str:
        """node1 boots, claims and reports its install done; returns its token."""
        self.boot()
        token = self.tokens[-1]
        assert self.get(f"https:/m/{token}/config").status_code == 200
        assert self.report(token, "installed").status_code == 200
        return token

    def lease(self, address: str, mac: str) -> None:
        self.store.save_leases([Lease(IPv4Address(address), mac, self.clock + 3600)])


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    store = SqliteStore(tmp_path / "state.db")
    (tmp_path / "assets").mkdir()
    plane = Plane(store, tmp_path / "assets")
    yield plane
    plane.close()
