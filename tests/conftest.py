"""Fixtures every test may use: the example cluster, golden files, and no sockets unless marked."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
NETWORK_MARKERS = ("loopback", "interop", "boots", "soak", "cluster")

# No test is timed: a busy machine fails none.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files; the test fails all the same")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: text equals tests/golden/NAME. --update-golden rewrites it and still fails."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        kept = path.read_text() if path.exists() else None
        if kept != text and request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            pytest.fail(f"golden file {name} was rewritten: look at the difference, then run again", pytrace=False)
        assert text == kept, f"golden file {name} differs (pytest --update-golden rewrites it)"

    return compare


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests are pure: a socket is refused unless the test is marked as one that uses the network."""
    if any(request.node.get_closest_marker(name) for name in NETWORK_MARKERS):
        return

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("this test opens a socket; mark it `loopback` or `interop`")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
