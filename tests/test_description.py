"""The admin's files together: the description against the templates there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrapper.description import check_description, load_templates
from bootstrapper.errors import ClusterProblems

EXAMPLE = (Path(__file__).parent.parent / "cluster-desc.example.yaml").read_text()
OWN = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own, namespace: default}\n"


def test_an_add_on_without_a_folder_is_named_with_its_line() -> None:
    text = EXAMPLE.replace("addons: [coredns]", "addons: [coredns, corends]")
    with pytest.raises(ClusterProblems) as caught:
        check_description(text, "d.yaml", load_templates(None))
    line = next(number for number, each in enumerate(text.splitlines(), 1) if each.startswith("addons:"))
    assert [each.text() for each in caught.value.problems] == [
        f"d.yaml:{line}: addons[1]: there is no folder templates/addons/corends; there are coredns, rbac"
        " (did you mean `coredns`?)"
    ]


def test_a_folder_is_all_that_an_add_on_of_ones_own_is() -> None:
    templates = {**load_templates(None), "addons/own/a.yaml.j2": OWN}
    cluster = check_description(EXAMPLE.replace("addons: [coredns]", "addons: [own]"), "d.yaml", templates)
    assert cluster.addons == ("own",)
