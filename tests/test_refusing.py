"""A refused pull is an event of the machine whose address asked, and not more than a few."""

from __future__ import annotations

from pathlib import Path

import pytest
from rack import make_cluster, make_machine

from bootstrapper.boot.events import Event
from bootstrapper.refusing import RefusedPulls
from bootstrapper.servers.registry_log import Refusal, RefusalFile
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.web.senders import Senders

MACHINE = make_machine()


class Bench:
    def __init__(self, folder: Path) -> None:
        self.file = RefusalFile(folder / "refused")
        self.events: list[Event] = []
        store = SqliteStore(folder / "state.db")
        cluster = make_cluster(MACHINE)
        self.pulls = RefusedPulls(self.file, Senders(lambda: cluster, store), self.events.append)

    def refuse(
        self, image: str, status: int = 404, error: str = "manifest unknown", address: str = "", at: float = 1.0
    ):
        self.file.put(Refusal(at, address or str(MACHINE.ip), image, status, error))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_told(bench: Bench) -> None:
    bench.refuse("registry.k8s.io/pause:3.10")
    bench.refuse("unmirrored/docker.io/library/nginx:1")
    bench.refuse("ghcr.io/x@sha256:abc", 500, "filesystem: read: EIO\n\x1b[2J")
    bench.refuse("registry.k8s.io/pause:3.10", address="10.10.14.199")
    bench.refuse("registry.k8s.io/pause:3.10", address="fe80::1")
    bench.pulls.tell()
    assert [(event.mac, event.service, event.step, event.detail, event.level) for event in bench.events] == [
        (MACHINE.mac, "registry", "not mirrored", "registry.k8s.io/pause:3.10, manifest unknown", "warning"),
        (MACHINE.mac, "registry", "not mirrored",
         "docker.io/library/nginx:1, its registry is not in registry.mirror", "warning"),
        (MACHINE.mac, "registry", "failed", "ghcr.io/x@sha256:abc, filesystem: read: EIO  [2J", "error"),
    ]  # fmt: skip


def test_a_kubelet_that_asks_for_ever_leaves_room_for_other_events(bench: Bench) -> None:
    for minute in range(1000):
        bench.refuse("registry.k8s.io/pause:3.10", at=minute * 61.0)
    bench.pulls.tell()
    assert 100 < len(bench.events) < 160
    bench.events.clear()
    for number in range(1000):
        bench.refuse(f"a/b:{number}", at=70_000.0)
    bench.pulls.tell()
    assert len(bench.events) <= 20


def test_a_file_that_cannot_be_read_is_no_end(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "x").touch()
    bench.pulls.tell()
    assert bench.events == []
