"""The admin's files together: the description against the templates there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrapper.description import check_description, load_templates, read_lock
from bootstrapper.errors import ClusterProblems, UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock

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


def test_a_lock_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_lock(tmp_path / "d.yaml") == AssetLock()

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError) as refused:
        read_lock(tmp_path / "d.yaml")
    assert refused.value.message == f"{tmp_path}/assets.lock cannot be read: Permission denied"
    assert refused.value.hint == "let the user that the server runs as read it (chown, chmod)"
