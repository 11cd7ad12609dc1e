"""Which way imports point (design.md section 3), read from the syntax trees.

`cli`, and what it is made of (`serving`, `simulating`, `description`), wires the rooms and may import all of them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bootstrapper"

MAY_IMPORT = {
    "errors": set(),
    "templating": {"errors"},
    "outfile": {"errors"},  # what may be written over is one rule, for backups, bundles and the verbs
    "cluster": {"errors"},
    "wire": {"errors"},
    "boot": {"errors", "cluster", "templating", "wire"},
    "answers": {"errors", "cluster", "wire", "boot", "templating"},
    "nodeconfig": {"errors", "cluster", "boot", "templating"},
    "pki": {"errors", "cluster", "nodeconfig"},
    "assets": {"errors", "cluster", "boot", "nodeconfig"},
    "kube": {"errors", "cluster", "boot", "nodeconfig", "pki", "state", "templating"},
    "state": {"errors", "outfile", "cluster", "boot", "answers"},
    "servers": {"errors", "cluster", "wire", "boot", "answers", "state", "pki", "assets"},
    "web": {"errors", "cluster", "boot", "answers", "nodeconfig", "pki", "assets", "state", "templating"},
    "lab": {"errors", "cluster", "boot", "assets", "state"},
}
"Room -> the rooms it may import, besides itself. Nothing in a room imports the wiring."

PURE = {"errors", "templating", "wire", "cluster", "boot", "answers", "nodeconfig"}
FORBIDDEN = {
    "asyncio", "flask", "multiprocessing", "os", "random", "secrets", "selectors", "socket", "sqlite3", "ssl",
    "subprocess", "threading", "time", "uvloop",
}  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "bootstrapper")


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def faults(room: str, names: list[str]) -> list[str]:
    found = []
    for name in names:
        parts = name.split(".")
        if parts[0] == "bootstrapper" and len(parts) > 1:
            target = parts[1]
            if target not in {room, "__version__", *MAY_IMPORT.get(room, set())}:
                found.append(f"{room} imports {target}")
        elif room in PURE and parts[0] in FORBIDDEN:
            found.append(f"{room} imports {parts[0]}")
    return found


WIRING = {
    "__init__", "__main__", "admin_client", "approvals", "description", "doctor", "mirroring", "planning", "readying",
    "refusing", "serving", "serving_admin", "simulating",
}  # fmt: skip
"Beside every `cli*.py`, which holds verbs."
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if room_of(path) not in WIRING and not room_of(path).startswith("cli")
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_the_right_way(path: Path) -> None:
    assert faults(room_of(path), list(imports(path))) == []


@pytest.mark.parametrize(
    ("room", "name"),
    [("wire", "socket"), ("answers", "bootstrapper.cli"), ("web", "bootstrapper.servers.run"), ("boot", "time")],
)
def test_a_planted_fault_is_found(room: str, name: str) -> None:
    assert faults(room, [name]) != []
