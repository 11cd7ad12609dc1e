"""`bootstrapper plan` as an admin sees it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from bootstrapper.cli import main

EXAMPLE = Path(__file__).parent.parent / "cluster-desc.example.yaml"


def run(folder: Path, text: str, *more: str) -> Result:
    (folder / "new.yaml").write_text(text)
    return CliRunner().invoke(main, ["plan", str(EXAMPLE), str(folder / "new.yaml"), *more])


def test_the_same_file_changes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, EXAMPLE.read_text())
    assert (result.exit_code, result.output) == (0, "5 nothing changes\n")


def test_one_machine_s_address_touches_those_that_know_it(tmp_path: Path) -> None:
    result = run(tmp_path, EXAMPLE.read_text().replace("ip: 10.10.14.12", "ip: 10.10.14.22"))
    lines = result.output.splitlines()
    assert "node2              0c:c4:7a:82:c5:bc  to be installed again" in lines
    assert "                     ip: 10.10.14.12 -> 10.10.14.22" in lines
    assert "                     /etc/hosts changes" in lines
    assert lines[-1] == "5 to be installed again"


def test_as_json(tmp_path: Path) -> None:
    text = EXAMPLE.read_text().replace("unknown_machines: ignore", "unknown_machines: discover")
    found = json.loads(run(tmp_path, text, "--json").output)
    assert found["server"] == ["unknown_machines: ignore -> discover"]
    assert found["machines"][0] == {"mac": "00:25:90:c0:f7:80", "host": "node1", "effect": "nothing", "changes": []}


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, "cluster: {}\n")
    assert result.exit_code == 1
    assert f"{tmp_path}/new.yaml" in result.stderr


def test_a_card_replaced_in_the_file_is_told_to_need_a_move(tmp_path: Path) -> None:
    result = run(tmp_path, EXAMPLE.read_text().replace("0c:c4:7a:82:c5:bc", "0c:c4:7a:82:c5:ff"))
    assert (
        "is put on hold, if the other was installed: it has the host name of node2 (0c:c4:7a:82:c5:bc), which is "
        "installed and no longer described: order `move 0c:c4:7a:82:c5:bc 0c:c4:7a:82:c5:ff` if it is that machine, or "
        "`install` if its disk is to be written" in result.output
    )
