"""The admin plane over a real store and a description on disk, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from rack import make_environment
from werkzeug.test import Client, TestResponse

from bootstrapper.boot.events import Event
from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.cluster.plan import plan
from bootstrapper.errors import ClusterProblems
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.web.admin.app import create_admin_app
from bootstrapper.web.admin.editor import find_note
from bootstrapper.web.admin.parts import AdminParts, Checked

EXAMPLE = Path(__file__).parents[3] / "cluster-desc.example.yaml"
ENVIRONMENT = make_environment()
TOKEN = "T" * 43
NODE1 = "00:25:90:c0:f7:80"


@dataclass
class AdminPlane:
    """An admin plane and everything around it that a test looks at or changes."""

    store: SqliteStore
    folder: Path
    clock: float = 1_800_000_000.0
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    waited: float = 0.0
    refuses: bool = False
    "The server takes no new description, for a reason of its own."
    seed: int = 0
    _app: Flask | None = None

    def __post_init__(self) -> None:
        self.file = self.folder / "cluster-desc.yaml"
        self.file.write_text(EXAMPLE.read_text())
        self.cluster = load(self.file.read_text(), str(self.file))
        self.store.save_description(self.file.read_text(), self.clock)

    def make_parts(self) -> AdminParts:
        return AdminParts(
            cluster=lambda: self.cluster,
            store=self.store,
            description=self.file,
            state=self.folder,
            check=self.check,
            render=self.render,
            plan=plan,
            missing_assets=lambda cluster: self.missing,
            now=lambda: self.clock,
            wait=self.wait,
            random_bytes=self.random_bytes,
            token=TOKEN,
            hosts=frozenset({"admin.example.com"}),
        )

    @property
    def app(self) -> Flask:
        self._app = self._app or create_admin_app(self.make_parts())
        return self._app

    def check(self, text: str) -> Checked:
        try:
            return Checked(load(text, str(self.file)))
        except ClusterProblems as error:
            return Checked(None, error.problems)

    def render(self, output: str, cluster: Cluster, machine: Machine) -> str:
        context = Context(cluster, Links(cluster.network.bootstrapper), ENVIRONMENT, "")
        return render_output(output, context, machine).text

    def wait(self, seconds: float) -> None:
        """Time passes, and the server that watches the file does what it does."""
        self.waited += seconds
        self.clock += seconds
        text = self.file.read_text()
        found = None if self.refuses else self.check(text).cluster
        if found is not None:
            self.store.save_description(text, self.clock, find_note(self.store, text))

    def random_bytes(self, count: int) -> bytes:
        self.seed += 1
        return self.seed.to_bytes(count, "big")

    def browser(self) -> Client:
        """A client that keeps cookies, and sends no token."""
        return self.app.test_client()

    def ask(self, method: str, path: str, json: Any = None, **more: Any) -> TestResponse:
        """By the token, as a program does."""
        headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
        return self.app.test_client().open(path, method=method, json=json, headers=headers, **more)

    def get(self, path: str) -> Any:
        reply = self.ask("GET", f"/api/v1{path}")
        assert reply.status_code == 200, reply.text
        return reply.json

    def event(self, step: str, mac: str = NODE1, service: str = "installer", detail: str = "") -> None:
        self.store.add_events([Event(self.clock, mac, service, step, detail)])
