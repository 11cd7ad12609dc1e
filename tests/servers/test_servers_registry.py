"""The registry's configuration: it only reads, on our address, by our certificate, and asks nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from rack import make_cluster

from bootstrapper.errors import UserError
from bootstrapper.pki.authority import Identity
from bootstrapper.servers import registry

IDENTITY = Identity(Path("/s/pki/server.pem"), Path("/s/pki/server.key"), "PEM")


def test_its_configuration() -> None:
    found = yaml.safe_load(registry.render_registry(make_cluster(), Path("/a/registry"), IDENTITY))
    (endpoint,) = found.pop("notifications")["endpoints"]
    assert endpoint["url"] == "http://10.10.14.253/registry-events"
    assert found == {
        "version": 0.1,
        "log": {"level": "warn", "formatter": "text", "accesslog": {"disabled": True}},
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
