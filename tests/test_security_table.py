"""docs/security.md names tests; those are there. And what no test of one part can show: nothing here runs text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(tests/[\w/]+(?:\.py)?(?:::\w+)?)/?`")
RUNS_TEXT = frozenset({"eval", "exec", "system", "popen", "getoutput", "getstatusoutput", "render_template_string"})
RUNS_DATA = frozenset({"pickle", "marshal", "shelve", "dill", "pty"})


def find_faults(text: str) -> list[str]:
    """Names of tests in `text` that are not there."""
    faults = []
    for name in NAMED.findall(text):
        file, _, function = name.partition("::")
        path = ROOT / file
        if not path.exists() or (function and f"def {function}(" not in path.read_text()):
            faults.append(name)
    return faults


def test_every_test_that_the_page_names_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    assert len(NAMED.findall(text)) > 60
    assert find_faults(text) == []


def test_one_that_is_not_there_is_found() -> None:
    assert find_faults("`tests/none.py` `tests/test_security_table.py::test_none`") == [
        "tests/none.py",
        "tests/test_security_table.py::test_none",
    ]


def find_dangers(text: str) -> list[str]:
    """What runs text as a program, or through a shell, in Python code."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in RUNS_TEXT:
                found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            found.append(f"{node.value.lineno}: shell=")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()
            found += [f"{node.lineno}: {name}" for name in sorted(names & RUNS_DATA)]
    return found


def test_no_shell_and_nothing_that_runs_text() -> None:
    package = ROOT / "bootstrapper"
    dangers = {
        str(path.relative_to(package)): found
        for path in sorted(package.rglob("*.py"))
        if (found := find_dangers(path.read_text()))
    }
    assert dangers == {}


def test_a_planted_danger_is_found() -> None:
    text = "import os, pickle\nos.system('x')\nimport subprocess\nsubprocess.run('x', shell=True)\neval('1')\n"
    assert find_dangers(text) == ["1: pickle", "2: system", "4: shell=", "5: eval"] or set(find_dangers(text)) == {
        "1: pickle", "2: system", "4: shell=", "5: eval",
    }  # fmt: skip
