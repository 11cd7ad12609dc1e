from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.flags import list_flags, merge_flags, quote_command, quote_exec


def test_the_admins_value_wins() -> None:
    merged = merge_flags({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    assert list_flags(merged) == ["--a=1", "--b=3", "--c=4"]


def test_lists_are_joined_so_that_ours_stand() -> None:
    ours = {"enable-admission-plugins": "NodeRestriction", "controllers": "*,tokencleaner"}
    extra = {"enable-admission-plugins": "AlwaysPullImages", "controllers": "-ttl", "feature-gates": "A=true"}
    assert merge_flags(ours, extra) == {
        "enable-admission-plugins": "NodeRestriction,AlwaysPullImages",
        "controllers": "*,tokencleaner,-ttl",
        "feature-gates": "A=true",
    }


def test_words_of_a_pod_are_not_expanded() -> None:
    assert quote_command(["--a=$(HOME)", "--b=$x"]) == ["--a=$$(HOME)", "--b=$x"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--a=b", "--a=b"),
        ("--a=b c", '"--a=b c"'),
        ("--a=100%", "--a=100%%"),
        ("--a=$HOME", "--a=$$HOME"),
        ('--a="x"', '"--a=\\"x\\""'),
        ("--a=x\\n", '"--a=x\\\\n"'),
        ("--a=b;c", '"--a=b;c"'),
    ],
)
def test_words_of_a_unit(word: str, expected: str) -> None:
    assert quote_exec([word], "node1") == expected


def test_a_unit_takes_no_second_line() -> None:
    with pytest.raises(RenderProblem, match="node1: the flag '--a=b"):
        quote_exec(["--a=b\nExecStart=/bin/sh"], "node1")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_the_words_as_they_were(tmp_path: Path) -> None:
    words = ["/bin/echo", "--a=b c", "--b=100%", "--c=$HOME", '--d="x"', "--e=\\t", "--f=b;c", "--g='"]
    unit = tmp_path / "words.service"
    unit.write_text(f"[Service]\nExecStart={quote_exec(words, 'node1')}\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
