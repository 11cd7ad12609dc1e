"""The registry's configuration: it only reads, on our address, by our certificate, and asks nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from rack import make_cluster

from bootstrapper.errors import UserError
from bootstrapper.pki.authority import Identity
from bootstrapper.pki.pull_token import read_pull_token
from bootstrapper.servers import registry

IDENTITY = Identity(Path("/s/pki/server.pem"), Path("/s/pki/server.key"), "PEM")


def test_its_configuration() -> None:
    found = yaml.safe_load(registry.render_registry(make_cluster(), Path("/a/registry"), IDENTITY, "T" * 43))
    (endpoint,) = found.pop("notifications")["endpoints"]
    assert endpoint["url"] == "http://10.10.14.253/registry-events"
    assert endpoint["headers"] == {"Authorization": ["Bearer " + "T" * 43]}
    assert found == {
        "version": 0.1,
        "log": {"level": "warn", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": "/a/registry"},
            "maintenance": {"uploadpurging": {"enabled": False}, "readonly": {"enabled": True}},
            "delete": {"enabled": False},
            "redirect": {"disable": True},
        },
        "http": {
            "addr": "10.10.14.253:5000",
            "draintimeout": "8s",
            "secret": "read-only",
            "tls": {"certificate": "/s/pki/server.pem", "key": "/s/pki/server.key", "minimumtls": "tls1.2"},
            "headers": {"X-Content-Type-Options": ["nosniff"]},
        },
    }
    assert "proxy" not in found


def test_without_the_program_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.shutil, "which", lambda name, path=None: None)
    with pytest.raises(UserError, match="there is no docker-registry on this host") as refused:
        registry.find_registry()
    assert refused.value.hint == "install it (apt install docker-registry), or set registry.serve: false"


def test_what_it_is_known_by_is_for_the_server_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_registry", lambda: "/usr/bin/docker-registry")
    certificate, folder = tmp_path / "server.pem", tmp_path / "registry"
    certificate.write_text("one")
    folder.mkdir(mode=0o755)
    (folder / "config.yml").write_text("an earlier version's, which others can read")
    (folder / "config.yml").chmod(0o644)
    identity = Identity(certificate, tmp_path / "server.key", "PEM")

    def make() -> str:
        child = registry.make_registry(make_cluster(), folder, tmp_path / "images", identity)
        token = read_pull_token(folder)
        assert token is not None
        assert token in (folder / "config.yml").read_text()
        assert token not in " ".join(child.command)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
        assert modes == {"registry": 0o700, "config.yml": 0o600, "notify.token": 0o600}
        return token

    first = make()
    assert make() == first, "a reload starts no registry again for it"
    for spoil in (lambda path: path.write_text("x"), lambda path: path.chmod(0o644), lambda path: path.unlink()):
        spoil(folder / "notify.token")
        assert read_pull_token(folder) is None
        assert make() != first


def test_a_new_certificate_is_a_reason_to_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_registry", lambda: "/usr/bin/docker-registry")
    certificate = tmp_path / "server.pem"
    identity = Identity(certificate, tmp_path / "server.key", "PEM")

    def make() -> str:
        return registry.make_registry(make_cluster(), tmp_path / "registry", tmp_path / "images", identity).settings

    certificate.write_text("one")
    first = make()
    assert make() == first
    certificate.write_text("two")
    assert make() != first
