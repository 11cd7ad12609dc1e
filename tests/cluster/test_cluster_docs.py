"""Every key is in the reference page and in the example, and the editor's schema accepts the example."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from bootstrapper.cluster.jsonschema import json_schema, list_keys
from bootstrapper.cluster.reference import reference

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "description.md"
EXAMPLE = ROOT / "cluster-desc.example.yaml"
NAMES = sorted({key.name for _, key in list_keys()})


def test_the_page_holds_the_table(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text()
    written, _, kept = text.partition("# All keys\n\n")
    if kept != reference() and request.config.getoption("--update-golden"):
        PAGE.write_text(f"{written}# All keys\n\n{reference()}")
        pytest.fail("docs/description.md was rewritten: look at the difference, then run again", pytrace=False)
    assert kept == reference(), "docs/description.md differs from the table (pytest --update-golden rewrites it)"


@pytest.mark.parametrize("name", NAMES)
def test_each_key_is_explained(name: str) -> None:
    assert f"| `{name}` |" in PAGE.read_text()
    assert re.search(rf"(^|[\s{{#]){re.escape(name)}:", EXAMPLE.read_text(), re.MULTILINE), "not in the example"


def test_every_key_has_a_sentence() -> None:
    assert [path for path, key in list_keys() if not re.search(r"[.;]$", key.help)] == []


def test_links_lead_somewhere() -> None:
    text = PAGE.read_text()
    headings = {re.sub(r"[^a-z0-9_-]", "", line[3:].lower()) for line in text.splitlines() if line.startswith("## `")}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - headings == set()


def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_the_schema_accepts_the_example() -> None:
    assert [error.message for error in validator().iter_errors(yaml.safe_load(EXAMPLE.read_text()))] == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"colour": "red"}, "Additional properties are not allowed ('colour' was unexpected)"),
        ({"unknown_machines": "accept"}, "'accept' is not one of ['ignore', 'discover', 'worker']"),
        ({"machines": []}, "[] should be non-empty"),
        ({"registry": {"port": 70000}}, "70000 is greater than the maximum of 65535"),
        ({"cluster": {"name": "x"}}, "'domain' is a required property"),
    ],
)
def test_the_schema_refuses(edit: dict[str, object], message: str) -> None:
    given = {**yaml.safe_load(EXAMPLE.read_text()), **edit}
    assert [error.message for error in validator().iter_errors(given)] == [message]


def test_the_schema_tells_defaults() -> None:
    lease = json_schema()["properties"]["network"]["properties"]["dhcp"]["properties"]["lease"]
    assert lease == {
        "type": ["string", "number"],
        "pattern": "^([0-9]+[dhms])+$",
        "description": "How long an address is lent. Default: 12h.",
    }
