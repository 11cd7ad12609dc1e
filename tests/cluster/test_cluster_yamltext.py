# ruff: noqa: E501 -- messages stand here as one line each, as the admin reads them
"""Text to a tree: what stays text, and what is refused before anything is made of it."""

from __future__ import annotations

import pytest

from bootstrapper.cluster.load import load
from bootstrapper.cluster.yamltext import Mapping, Scalar, Sequence, parse_tree
from bootstrapper.errors import ClusterProblems


def test_scalars_stay_text_with_their_lines() -> None:
    assert parse_tree("mac: 10:11:22:33:44:55\nversion: 1.10\nx: [off, '']\n") == Mapping(
        1,
        [
            (Scalar(1, "mac", True), Scalar(1, "10:11:22:33:44:55", True)),
            (Scalar(2, "version", True), Scalar(2, "1.10", True)),
            (Scalar(3, "x", True), Sequence(3, [Scalar(3, "off", True), Scalar(3, "", False)])),
        ],
    )


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"

REFUSED = [
    ("", "d: the file is empty (start from cluster-desc.example.yaml)"),
    ("# only a remark\n", "d: the file is empty (start from cluster-desc.example.yaml)"),
    ("---\n", "d: the file is empty (start from cluster-desc.example.yaml)"),
    ("just text", "d:1: expected a mapping of keys to values, found \"just text\""),
    ("a: 1\n---\nb: 2\n", "d:2: a second YAML document begins here, expected one per file"),
    (BOMB, "d:1: the anchor &a is not supported (use a profile for what machines share)"),
    ("a: *b\n", "d:1: the alias *b is not supported (write the value, or use a profile)"),
    ("a: !!int 1\n", "d:1: the tag tag:yaml.org,2002:int is not supported (leave it out: the key says what its value is)"),
    ("a: !!python/object/apply:os.system [ls]\n",
     "d:1: the tag tag:yaml.org,2002:python/object/apply:os.system is not supported "
     "(leave it out: the key says what its value is)"),
    ("a:\n" + " " + "[" * 20 + "]" * 20, "d:2: nested deeper than 20 levels"),
    ("a:\n\tb: 1\n", "d:2: not readable as YAML: found character that cannot start any token "
     "(indent with spaces; quote text that begins with @, `, % or a tab)"),
    ("a: \x00", "d:1: expected printable text, found the control character U+0000"),
    ("a: 1\nb: \x1b[0m", "d:2: expected printable text, found the control character U+001B"),
    ("a: \ud800", "d:1: expected printable text, found the control character U+D800"),
    (b"a: 1\nb: \xff\n", "d:2: expected UTF-8 text, found the byte 0xff"),
    ("x" * 10_000_001, "d: the file has 10000001 characters, expected at most 10000000"),
    (b"x" * 10_000_001, "d: the file has 10000001 bytes, expected at most 10000000"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=range(len(REFUSED)))
def test_refused_before_it_is_looked_at(text: str | bytes, expected: str) -> None:
    with pytest.raises(ClusterProblems) as caught:
        load(text, "d")
    found = [problem.text() for problem in caught.value.problems]
    assert found[0] == expected
    assert len(found) == 1 or text == "just text"


def test_deep_nesting_is_no_recursion() -> None:
    with pytest.raises(ClusterProblems):
        load("[" * 200_000)


def test_a_byte_order_mark_is_fine() -> None:
    assert parse_tree("\ufeffa: 1") == Mapping(1, [(Scalar(1, "a", True), Scalar(1, "1", True))])
