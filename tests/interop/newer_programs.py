"""Where the programs are that a test is run with: the distribution's, and newer ones where they have been fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SYSTEM = Path("/usr/bin")
NEWER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bootstrapper/newer/bin"

SETS = [
    pytest.param(SYSTEM, id="system"),
    pytest.param(
        NEWER,
        id="newer",
        marks=pytest.mark.skipif(not (NEWER / "etcdutl").exists(), reason="needs packaging/newer-programs.sh"),
    ),
]
