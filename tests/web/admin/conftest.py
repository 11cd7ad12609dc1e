"""The admin plane for its tests; `adminplane` has what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from adminplane import AdminPlane

from bootstrapper.state.sqlite import SqliteStore


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[AdminPlane]:
    store = SqliteStore(tmp_path / "state.db")
    yield AdminPlane(store, tmp_path)
    store.close()
