"""A cluster's keys for tests, made once a run: the service account's RSA key takes longer than most tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bootstrapper.cluster.model import Cluster
from bootstrapper.pki.certificates import at_time
from bootstrapper.pki.cluster import ClusterPki
from bootstrapper.pki.files import make_directory, write_private
from bootstrapper.pki.keys import build_keys, make_keys


@dataclass
class Clock:
    """Wall clock that a test turns."""

    now: float

    def __call__(self) -> float:
        return self.now


def open_pki(directory: Path, cluster: Cluster, now: Callable[[], float]) -> ClusterPki:
    """As at a later start: `directory` has keys already, made at `now`."""
    if not directory.exists():
        make_directory(directory)
        write_private(directory / "keys.json", keys_made_at(now()))
    return ClusterPki(directory, cluster, now)


@cache
def keys_made_at(now: float) -> bytes:
    return build_keys(make_keys(at_time(now)))
