"""The child that looks for files: what it writes down, says and records, and how it takes up a changed lock."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from rack import NODE1_MAC, load_templates, make_cluster, make_machine

from bootstrapper import readying
from bootstrapper.assets.readiness import Need, ReadinessFile
from bootstrapper.boot.events import Event
from bootstrapper.cluster.model import Registry
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import AssetLock, write_lock
from bootstrapper.readying import COMPLETE_S, WAITING_S, FileWatch, LockFile, run_file_watch
from bootstrapper.servers.logs import LOGGER

CLUSTER = replace(make_cluster(make_machine()), registry=Registry(False, 5000, ()))


class Site:
    def __init__(self, folder: Path) -> None:
        self.description, self.assets, self.result = folder / "desc.yaml", folder / "assets", folder / "readiness.json"
        self.events: list[Event] = []
        self.watch = FileWatch(
            CLUSTER, load_templates, LockFile(self.description), self.assets, folder, self.result, Need.ALL,
            self.events.append, lambda: 7.0, lambda: False,
        )  # fmt: skip
        self.names = [item.name for item in build_catalogue(CLUSTER, load_templates(), AssetLock())]

    def put(self, names: list[str]) -> None:
        for name in names:
            (self.assets / name).parent.mkdir(parents=True, exist_ok=True)
            (self.assets / name).write_bytes(name.encode())
        hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
        (self.description.parent / "assets.lock").write_text(write_lock(AssetLock(hashes)))

    def missing(self) -> tuple[str, ...]:
        return ReadinessFile(self.result).read().missing[NODE1_MAC]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_is_missing_is_written_said_and_recorded_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        assert site.watch.look() is False
        assert site.missing() == tuple(site.names)
        assert site.watch.look() is False
    assert [(event.mac, event.service, event.step, event.level) for event in site.events] == [
        (NODE1_MAC, "files", "waiting for files", "warning")
    ]
    assert len([line for line in caplog.messages if "flatcar_production_pxe.vmlinuz" in line]) == 1

    site.put(site.names)
    with caplog.at_level(logging.INFO, LOGGER):
        assert site.watch.look() is True
    assert site.missing() == ()
    assert site.events[-1].step == "files complete"
    assert caplog.messages[-1] == "every file and image that machines will ask for is here"


def test_a_lock_that_is_being_edited_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.put(site.names)
    assert site.watch.look() is True
    lock = site.description.parent / "assets.lock"
    good = lock.read_text()
    lock.write_text("half a li")
    assert site.watch.look() is True
    assert "what was read before stays in force" in caplog.text
    lock.write_text(good.replace(good.splitlines()[3][-65:-1], "ab" * 32))
    assert site.watch.look() is False
    assert len(site.missing()) == 1


def test_a_machine_that_still_waits_is_no_event(site: Site) -> None:
    site.watch.look()
    site.put(site.names[:1])
    site.watch.look()
    assert len(site.missing()) == len(site.names) - 1
    site.put(site.names)
    site.watch.look()
    assert [event.step for event in site.events] == ["waiting for files", "files complete"]


def test_a_lock_that_nobody_may_read_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lock = LockFile(tmp_path / "desc.yaml")

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    assert lock.read() == lock.read() == AssetLock()
    monkeypatch.undo()
    assert caplog.messages == [
        f"{tmp_path}/assets.lock cannot be read: Permission denied: what was read before stays in force"
    ]


def test_the_rest_is_listed_by_the_command_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(readying, "SHOWN", 3)
    site = Site(tmp_path)
    site.watch.look()
    assert len(site.names) == 9
    assert f"and 6 more files and images: bootstrapper fetch {tmp_path}/desc.yaml --list" in caplog.messages


def test_it_looks_more_often_while_something_is_missing(site: Site) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        site.put(site.names)
        return len(waits) == 2

    run_file_watch(site.watch, wait)
    assert waits == [WAITING_S, COMPLETE_S]


def test_a_fault_of_the_disk_is_said_and_asked_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.result.mkdir()
    waits: list[float] = []
    run_file_watch(site.watch, lambda seconds: waits.append(seconds) or True)  # type: ignore[func-returns-value]
    assert waits == [WAITING_S] and "the files cannot be looked at" in caplog.text
