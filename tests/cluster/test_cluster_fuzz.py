"""Whatever the text, the result is a Cluster or ClusterProblems, and the same one twice."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootstrapper.cluster.advice import advise
from bootstrapper.cluster.load import load
from bootstrapper.cluster.migrate import migrate
from bootstrapper.cluster.show import plan, text
from bootstrapper.errors import ClusterProblems, UserError

EXAMPLE = (Path(__file__).parents[2] / "cluster-desc.example.yaml").read_text()
SEXTANT = (Path(__file__).parent / "sextant.yaml").read_text()
SCRAPS = [
    "", "~", "null", "[]", "{}", "[{}]", "- -", "{a: {a: {a: a}}}", '""', "'", '"\\0"', "é", "\u2028", "\x7f", "&a x",
    "*a", "!!int 1", "<<", "? ", "|\n  x", "---", "...", "%YAML 1.3", "#", "0", "-1", "1e9", "9" * 40, "٣", "1_0",
    "0x10", "255.255.255.255", "0.0.0.0/0", "10.0.0.0/33", "10.10.14.11", "10.10.14.100-10.10.14.99", "storage",
    "etcd", "00:25:90:c0:f7:80", "a" * 300, "- {mac: 1}", ": :", "\t", "\r", ",", "true", "1.35.8", "os", "12h",
    "99999d",
]  # fmt: skip


def outcome(given_text: str | bytes) -> object:
    """What load makes of it; anything but the two declared results fails the test."""
    try:
        cluster = load(given_text, "f")
    except ClusterProblems as error:
        assert error.problems
        assert list(error.problems) == sorted(error.problems)
        assert all("\n" not in problem.text() for problem in error.problems)
        return error.problems
    advise(cluster)
    assert text(plan(cluster))
    return cluster


def mutate(given_text: str, seed: int) -> str:
    """A few lines, words or values of a good file gone, doubled, swapped, or replaced by scraps."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        lines = given_text.split("\n")
        at = chance.randrange(len(lines))
        kind = chance.randrange(6)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(chance.randrange(len(lines)), lines[at])
        elif kind == 2:
            lines[at] = lines[at].partition(":")[0] + ": " + chance.choice(SCRAPS)
        elif kind == 3:
            words = lines[at].split(" ")
            words[chance.randrange(len(words))] = chance.choice(SCRAPS)
            lines[at] = " ".join(words)
        elif kind == 4:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        else:
            lines[at] = " " * chance.randint(0, 9) + lines[at].strip()
        given_text = "\n".join(lines)
    return given_text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_any_text(given_text: str) -> None:
    assert outcome(given_text) == outcome(given_text)


@settings(max_examples=200, deadline=None)
@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    outcome(data)


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.text(max_size=8) | st.sampled_from(SCRAPS), lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(st.sampled_from(["version", "cluster", "network", "machines", "os", "mac", "ip",
                                                       "roles", "profiles", "kubernetes", "disk", "labels", "dhcp"]),
                                      inner, max_size=6), max_leaves=30))  # fmt: skip
def test_any_shape(value: object) -> None:
    outcome(json.dumps(value))


@pytest.mark.parametrize("seed", range(400))
def test_a_damaged_example(seed: int) -> None:
    damaged = mutate(EXAMPLE, seed)
    assert outcome(damaged) == outcome(damaged)


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_sextant_file(seed: int) -> None:
    damaged = mutate(SEXTANT, seed)
    outcome(damaged)
    with suppress(UserError):
        assert migrate(damaged).text


@pytest.mark.soak
def test_a_hundred_thousand_damaged_examples() -> None:
    for seed in range(1_000_000, 1_100_000):
        outcome(mutate(EXAMPLE, seed))
